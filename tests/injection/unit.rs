//! A unit: one command with one kind of container. It first runs undisturbed, to learn which system calls it
//! makes, and then once for each fault at each of them.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bundle::Bundle;
use crate::fault::{Fault, call_name, plausible};
use crate::judge::{Injected, Violation, judge};
use crate::place::Place;
use crate::tracer::{self, Call, Role, Spot, Trace};
use crate::verb::{Before, VERBS, Verb, must};

/// A command with a kind of container.
#[derive(Clone, Copy)]
pub struct Unit {
    pub verb: Verb,
    pub bundle: Bundle,
}

impl Unit {
    pub fn all() -> Vec<Unit> {
        let with =
            |bundle| VERBS.iter().filter(move |verb| verb.goes_with(bundle)).map(move |verb| (*verb, bundle));
        let known = Bundle::ALL.into_iter().filter(|bundle| bundle.is_known());
        known.flat_map(with).map(|(verb, bundle)| Unit { verb, bundle }).collect()
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.verb.name, self.bundle.name())
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (verb, bundle) = text.split_once(':').ok_or_else(|| format!("{text}: not COMMAND:CONTAINER"))?;
        Ok(Unit { verb: verb.parse()?, bundle: bundle.parse()? })
    }
}

/// A fault at one place of a unit.
#[derive(Clone)]
pub struct Case {
    pub unit: Unit,
    pub spot: Spot,
    pub fault: Fault,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.unit, self.spot.who, self.spot.index, self.fault)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(':').collect();
        let [verb, bundle, who, index, fault] = parts[..] else {
            return Err(format!("{text}: not COMMAND:CONTAINER:PROCESS:NUMBER:FAULT"));
        };
        let index = index.parse().map_err(|_| format!("{index}: not a number"))?;
        let unit = Unit { verb: verb.parse()?, bundle: bundle.parse()? };
        Ok(Case { unit, spot: Spot { who: who.to_string(), index }, fault: fault.parse()? })
    }
}

/// The result of a case.
pub enum Outcome {
    /// The call was not made this time.
    Unreached,
    /// What was wrong, if anything, and at which call.
    Judged(Call, Vec<Violation>),
}

/// The name of the traced command's output.
const TRACED: &str = "traced";

/// Runs a unit's cases in one place.
pub struct Runner {
    pub unit: Unit,
    pub place: Place,
}

impl Runner {
    /// The system calls of the unit if nothing goes wrong.
    ///
    /// # Errors
    /// It fails without a fault.
    pub fn record(&mut self) -> Result<Vec<Call>, String> {
        let trace = self.trace(None)?;
        let ended = self.place.ended(tracer::code(trace.status), trace.hung.clone(), TRACED);
        // Everything that is demanded after a fault is demanded here as well.
        let injected = Injected {
            fault: Fault::Fails(rustix::io::Errno::INTR),
            role: Role::Runtime,
            after_the_end: false,
        };
        let violations = judge(&self.place, &self.unit.verb, injected, &ended);
        if let Some(violation) = violations.first() {
            return Err(format!("without a fault: {}: {}", violation.kind, violation.detail));
        }
        if ended.code != self.unit.verb.success && self.unit.verb.name != "check" {
            return Err(format!("without a fault: {ended:?}"));
        }
        Ok(trace.calls)
    }

    /// Runs one case.
    ///
    /// # Errors
    /// It could not be set up.
    pub fn run(&mut self, case: &Case) -> Result<Outcome, String> {
        let verb = self.unit.verb;
        let trace = self.trace(Some((&case.spot, case.fault)))?;
        let ended = self.place.ended(tracer::code(trace.status), trace.hung.clone(), TRACED);
        let Some((call, after_the_end)) = trace.injected else {
            must(&self.place, &["delete", "--force", crate::place::ID])?;
            return Ok(Outcome::Unreached);
        };
        // When init receives the last word and waits at the gate, it is on its own: whether create has ended
        // by then is a matter of moments.
        let last = ["recvfrom", "accept4"].contains(&call_name(call.number).as_str());
        let alone = verb.name == "create" && ended.code == 0 && call.role == Role::Init && last;
        let after_the_end = after_the_end || alone;
        let injected = Injected { fault: case.fault, role: call.role, after_the_end };
        let mut violations = judge(&self.place, &verb, injected, &ended);
        if let Err(text) = self.id_is_free() {
            violations.push(Violation { kind: "the id is not free", detail: text });
            self.place.clear();
        }
        Ok(Outcome::Judged(call, violations))
    }

    fn trace(&mut self, fault: Option<(&Spot, Fault)>) -> Result<Trace, String> {
        let Unit { verb, .. } = self.unit;
        if let Err(text) = verb.prepare(&mut self.place) {
            self.place.clear();
            return Err(text);
        }
        let follows_init = verb.name == "start";
        let init = if follows_init { self.place.pid() } else { None };
        let mut command =
            self.place.command(&verb.arguments(&self.place), TRACED).map_err(|error| error.to_string())?;
        let traced = tracer::trace(fault, &mut command, init, &self.place.watchdog);
        traced.map_err(|error| {
            self.place.clear();
            format!("trace: {error}")
        })
    }

    /// If the next case begins with a container, it checks this; otherwise it is checked here.
    fn id_is_free(&mut self) -> Result<(), String> {
        if self.unit.verb.before != Before::Nothing {
            return Ok(());
        }
        self.place.begin("exit 0").map_err(|error| error.to_string())?;
        let create = VERBS[0].arguments(&self.place);
        must(&self.place, &create.iter().map(String::as_str).collect::<Vec<_>>())?;
        must(&self.place, &["delete", "--force", crate::place::ID])
    }
}

/// Every fault at every call; with `seed`, in a random but repeatable order.
pub fn cases(unit: Unit, calls: &[Call], seed: Option<u64>) -> Vec<Case> {
    let case = |call: &Call, fault| Case { unit, spot: call.spot.clone(), fault };
    let faults = |call: &Call| {
        let fails = plausible(call.number).iter().map(|errno| Fault::Fails(*errno));
        std::iter::once(Fault::Kill).chain(fails).collect::<Vec<_>>()
    };
    let mut cases: Vec<_> =
        calls.iter().flat_map(|call| faults(call).into_iter().map(move |fault| case(call, fault))).collect();
    if let Some(seed) = seed {
        // FNV-1a, so that each unit has an order of its own.
        let name = unit.to_string();
        let own = name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        shuffle(&mut cases, own);
    }
    cases
}

/// The Fisher-Yates shuffle, with numbers from SplitMix64.
fn shuffle<T>(items: &mut [T], mut state: u64) {
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = word ^ word >> 31;
        items.swap(last, (word % (last as u64 + 1)) as usize);
    }
}

/// The work for a unit, given in the arguments of its process.
pub enum Work {
    /// Every case.
    All,
    /// Some, in an order that the seed decides, until a time in milliseconds since 1970.
    Sample {
        seed: u64,
        until: u64,
        most: u64,
    },
    Case(Case),
    /// Lists the calls.
    Calls,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::All => f.write_str("all"),
            Work::Sample { seed, until, most } => write!(f, "{seed} {until} {most}"),
            Work::Case(case) => case.fmt(f),
            Work::Calls => f.write_str("calls"),
        }
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<u64> = text.split(' ').filter_map(|number| number.parse().ok()).collect();
        Ok(match (text, &numbers[..]) {
            ("all", _) => Work::All,
            ("calls", _) => Work::Calls,
            (_, &[seed, until, most]) => Work::Sample { seed, until, most },
            _ => Work::Case(text.parse()?),
        })
    }
}

/// Does the work, and prints a line for each case, which [`crate::report`] reads: the case, what is wrong,
/// which process made the call, and which call it was.
///
/// # Errors
/// The command fails without a fault.
pub fn work(runner: &mut Runner, work: &Work) -> Result<(), String> {
    // The first container of a machine makes more calls than the next.
    runner.record()?;
    if let Work::Case(case) = work {
        run_and_print(runner, case);
        return Ok(());
    }
    let calls = runner.record()?;
    let (seed, until, most) = match work {
        Work::Sample { seed, until, most } => (Some(*seed), *until, *most),
        Work::Calls => {
            for Call { spot, role, number } in calls {
                println!("{}:{} {} {}", spot.who, spot.index, role.name(), call_name(number));
            }
            return Ok(());
        }
        _ => (None, u64::MAX, u64::MAX),
    };
    let cases = cases(runner.unit, &calls, seed);
    println!("cases\t{}", cases.len());
    for (count, case) in (0..).zip(&cases) {
        if count == most || milliseconds() > until {
            break;
        }
        run_and_print(runner, case);
    }
    Ok(())
}

/// Runs one case, and prints its result.
fn run_and_print(runner: &mut Runner, case: &Case) {
    match runner.run(case) {
        Ok(Outcome::Unreached) => println!("unreached\t{case}"),
        Ok(Outcome::Judged(_, violations)) if violations.is_empty() => println!("right\t{case}"),
        Ok(Outcome::Judged(call, violations)) => {
            for violation in violations {
                let detail = violation.detail.replace(['\n', '\t'], " ");
                let (call, role) = (call_name(call.number), call.role.name());
                println!("wrong\t{case}\t{}\t{role}\t{call}\t{detail}", violation.kind);
            }
        }
        Err(text) => println!("broken\t{case}\t{}", text.replace(['\n', '\t'], " ")),
    }
}

pub fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
