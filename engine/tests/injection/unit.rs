//! One command: it first runs undisturbed, to learn which system calls it makes, and then once for each of them.

use std::time::{Duration, Instant};

use crate::fault::{Fault, call_name};
use crate::place::Place;
use crate::tracer::{self, Call, Spot, Trace};
use crate::verb::Verb;

/// The name of the traced command's output.
const TRACED: &str = "traced";

/// How many cases of a sample run even on a machine that is slow.
const LEAST: usize = 2;

/// A command in a place, with the calls that it makes.
pub struct Unit<'p> {
    verb: Verb,
    place: &'p mut Place,
    pub calls: Vec<Call>,
}

impl<'p> Unit<'p> {
    /// Runs it without a fault.
    ///
    /// # Errors
    /// Even then something is wrong.
    pub fn new(verb: Verb, place: &'p mut Place) -> Result<Self, String> {
        let mut unit = Unit { verb, place, calls: Vec::new() };
        let trace = unit.trace(None)?;
        let ended = unit.place.ended(tracer::code(trace.status), trace.hung, TRACED);
        if ended.code != 0 || ended.hung.is_some() {
            return Err(format!("{}: without a fault: {ended}", verb.name));
        }
        unit.judge().map_err(|error| format!("{}: without a fault: {error}", verb.name))?;
        unit.calls = trace.calls;
        Ok(unit)
    }

    /// All places.
    pub fn spots(&self) -> Vec<Spot> {
        self.calls.iter().map(|call| call.spot.clone()).collect()
    }

    /// Some places, spread over the command's course; which ones, the seed decides.
    pub fn sample(&self, seed: u64, count: usize) -> Vec<Spot> {
        let spots = self.spots();
        // A multiplicative sequence covers the course evenly, in any part of it.
        let place = |number: usize| ((seed as f64 + number as f64) * 0.618_033_988_749).fract();
        let chosen = (0..count.min(spots.len())).map(|number| place(number) * spots.len() as f64);
        chosen.map(|place| spots[place as usize].clone()).collect()
    }

    /// Kills it at these places, as far as there is time.
    pub fn run(self, spots: &[Spot], limit: Option<Duration>, report: &mut Report) {
        let began = Instant::now();
        report.calls += self.calls.len();
        for (number, spot) in spots.iter().enumerate() {
            if number >= LEAST && limit.is_some_and(|limit| began.elapsed() > limit) {
                break;
            }
            report.ran += 1;
            let case = format!("{}:{}:{}", self.verb.name, spot.who, spot.index);
            match self.kill_at(spot) {
                Ok(true) => {}
                Ok(false) => report.unreached += 1,
                Err(error) => report.wrong.push(format!("{case}: {error}")),
            }
        }
    }

    /// Whether the place was reached.
    fn kill_at(&self, spot: &Spot) -> Result<bool, String> {
        let outcome = self.trace(Some((spot, Fault::Kill))).and_then(|trace| {
            let judged = match trace.hung {
                Some(doing) => Err(format!("hangs: {doing}")),
                None => self.judge(),
            };
            let call = trace.injected.map(|(call, _)| call);
            let name = call.as_ref().map_or_else(String::new, |call| call_name(call.number));
            judged.map_err(|error| format!("{name}: {error}")).map(|()| call.is_some())
        });
        if outcome.is_err() {
            self.place.renew().map_err(|error| format!("{outcome:?}; and then {error}"))?;
        }
        outcome
    }

    fn trace(&self, fault: Option<(&Spot, Fault)>) -> Result<Trace, String> {
        self.verb.prepare(self.place)?;
        let arguments = (self.verb.arguments)(self.place);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut command = self.place.command(&arguments, TRACED).map_err(|error| error.to_string())?;
        tracer::trace(fault, &mut command, None, &self.place.watchdog)
            .map_err(|error| format!("trace: {error}"))
    }

    /// The store is legal, what was wanted can be had, and nothing is left of it.
    fn judge(&self) -> Result<(), String> {
        self.place.is_legal()?;
        (self.verb.again)(self.place)?;
        self.place.is_legal()?;
        self.place.tidy().map_err(|error| format!("left: {error}"))
    }
}

/// `COMMAND:PROCESS:NUMBER`
pub fn parse_case(text: &str) -> Result<(Verb, Spot), String> {
    let parts: Vec<_> = text.split(':').collect();
    let [verb, who, index] = parts[..] else { return Err(format!("{text}: not COMMAND:PROCESS:NUMBER")) };
    let index = index.parse().map_err(|_| format!("{index}: not a number"))?;
    Ok((verb.parse()?, Spot { who: who.to_string(), index }))
}

/// The results of all cases.
#[derive(Default)]
pub struct Report {
    calls: usize,
    ran: usize,
    unreached: usize,
    wrong: Vec<String>,
}

impl Report {
    pub fn violations(&self) -> usize {
        self.wrong.len()
    }

    /// Prints what is wrong; returns whether everything is right.
    pub fn print(&self) -> bool {
        for text in &self.wrong {
            println!("{}", text.replace('\n', " "));
        }
        let Report { calls, ran, unreached, wrong } = self;
        println!(
            "\ntest result: {}. killed at {ran} of {calls} system calls; {} violations; {unreached} were not made again",
            if wrong.is_empty() { "ok" } else { "FAILED" },
            wrong.len()
        );
        if !wrong.is_empty() {
            println!(
                "to repeat one: cargo test --package pillbox-engine --test injection -- --only COMMAND:PROCESS:NUMBER"
            );
        }
        wrong.is_empty()
    }
}
