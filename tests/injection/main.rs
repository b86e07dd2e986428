//! Faults injected by ptrace(2): at every system call of every command, and of the inits that it makes, the
//! process is killed, or the call fails in each way in which it can. Then the command must end within ten
//! seconds; it must have said in one line what failed, or have done its work; `delete --force` must leave
//! nothing; and the id must be free.
//!
//! Without arguments it runs a sample, always the same, which `PILLBOX_INJECTION_SEED` changes. `--all` runs
//! everything; `--unit COMMAND:CONTAINER` runs one command with one kind of container; `--only CASE` runs one
//! case, in the notation of failures; `--calls COMMAND:CONTAINER` lists the calls that are made if nothing
//! goes wrong. `PILLBOX_TEST_RUNTIME` selects another binary than the one built with this test.

mod bundle;
mod connection;
mod fault;
mod judge;
mod place;
mod report;
// What the tests of networks show of the packet filter.
#[path = "../networks/rules.rs"]
mod rules;
mod surroundings;
mod tracer;
mod unit;
mod verb;
mod watchdog;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, thread};

use lexopt::{Arg, Parser, ValueExt};

use place::Place;
use report::Report;
use unit::{Case, Runner, Unit, Work, milliseconds};

/// The seed of the sample, unless `PILLBOX_INJECTION_SEED` sets another one.
const SEED: u64 = 10;

/// How long the sample may take.
const SAMPLE: Duration = Duration::from_secs(150);

/// How many cases of each unit are in a sample.
const SAMPLED: u64 = 30;

/// What the arguments ask for.
enum Request {
    /// Runs units; with a seed, only a limited number of cases of each.
    Units {
        units: Vec<Unit>,
        seed: Option<u64>,
    },
    Only(Case),
    /// Lists the system calls of a unit if nothing goes wrong.
    Calls(Unit),
    /// Runs in a unit's own surroundings: this program calls itself like this.
    Work {
        unit: Unit,
        cgroup: String,
        work: Work,
    },
    /// Does nothing: a filter of libtest's selects another test.
    Nothing,
}

fn main() -> ExitCode {
    let request = match parse() {
        Ok(request) => request,
        Err(error) => {
            eprintln!("injection: {error}");
            return ExitCode::FAILURE;
        }
    };
    let succeeded = match request {
        Request::Nothing => return ExitCode::SUCCESS,
        Request::Work { unit, cgroup, work } => work_on(unit, cgroup, &work),
        Request::Units { units, seed } => surroundings::isolated().map(|is| !is || run_units(&units, seed)),
        Request::Only(case) => {
            let work = Work::Case(case.clone());
            surroundings::isolated().map(|is| !is || report(1, &surroundings::work(0, case.unit, &work)))
        }
        Request::Calls(unit) => {
            surroundings::isolated().map(|is| !is || list(&surroundings::work(0, unit, &Work::Calls)))
        }
    };
    match succeeded {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("injection: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Request, lexopt::Error> {
    let seed = match env::var("PILLBOX_INJECTION_SEED") {
        Ok(text) => text.parse().map_err(|_| format!("PILLBOX_INJECTION_SEED={text}: not a whole number"))?,
        Err(_) => SEED,
    };
    let mut request = Request::Units { units: Unit::all(), seed: Some(seed) };
    let mut parser = Parser::from_env();
    let mut filters = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("all") => request = Request::Units { units: Unit::all(), seed: None },
            Arg::Long("unit") => {
                let unit = parser.value()?.parse()?;
                request = Request::Units { units: vec![unit], seed: None };
            }
            Arg::Long("only") => request = Request::Only(parser.value()?.parse()?),
            Arg::Long("calls") => request = Request::Calls(parser.value()?.parse()?),
            Arg::Long("work") => request = parse_work(&mut parser)?,
            Arg::Long("list") => {
                println!("injection: test");
                return Ok(Request::Nothing);
            }
            Arg::Value(filter) => filters.push(filter.string()?),
            // Other options that cargo passes to every test program.
            Arg::Long("test-threads" | "format" | "color" | "skip") => _ = parser.value()?,
            Arg::Long(_) | Arg::Short(_) => {}
        }
    }
    if filters.iter().all(|filter| "injection".contains(filter.as_str())) {
        Ok(request)
    } else {
        Ok(Request::Nothing)
    }
}

/// `--work UNIT CGROUP WORK`.
fn parse_work(parser: &mut Parser) -> Result<Request, lexopt::Error> {
    let (unit, cgroup) = (parser.value()?.parse()?, parser.value()?.string()?);
    Ok(Request::Work { unit, cgroup, work: parser.value()?.parse()? })
}

fn work_on(unit: Unit, cgroup: String, work: &Work) -> Result<bool, String> {
    let runtime = env::var("PILLBOX_TEST_RUNTIME").unwrap_or_else(|_| env!("CARGO_BIN_EXE_pillbox").into());
    let place =
        Place::new(Path::new(&runtime), unit.bundle, cgroup).map_err(|error| format!("{unit}: {error}"))?;
    let mut runner = Runner { unit, place };
    if let Err(text) = unit::work(&mut runner, work) {
        println!("{unit}\t{text}");
    }
    Ok(true)
}

/// Runs the units on all processors, and prints the results.
fn run_units(units: &[Unit], seed: Option<u64>) -> bool {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let report = Mutex::new(Report::default());
    let queue = Mutex::new(units.iter().rev().copied().collect::<Vec<_>>());
    let begun = Instant::now();
    thread::scope(|scope| {
        for worker in 0..workers {
            let (report, queue) = (&report, &queue);
            scope.spawn(move || {
                loop {
                    let (unit, left) = {
                        let mut queue = queue.lock().expect("queue");
                        let Some(unit) = queue.pop() else { return };
                        (unit, queue.len() + 1)
                    };
                    // Each unit gets its share of the remaining time, so that none is starved by those before
                    // it.
                    let share = SAMPLE.saturating_sub(begun.elapsed()).as_millis() as u64 * workers as u64
                        / left as u64;
                    let work = match seed {
                        Some(seed) => Work::Sample { seed, until: milliseconds() + share, most: SAMPLED },
                        None => Work::All,
                    };
                    let lines = surroundings::work(worker, unit, &work);
                    let mut report = report.lock().expect("report");
                    let before = report.violations;
                    lines.iter().for_each(|line| report.take(line));
                    if seed.is_none() {
                        let (wrong, seconds) = (report.violations - before, begun.elapsed().as_secs());
                        println!(
                            "{unit}: {} cases, {wrong} violations, after {seconds} s",
                            lines.len().saturating_sub(1)
                        );
                    }
                }
            });
        }
    });
    let report = report.into_inner().expect("report");
    report.print(seed)
}

fn report(cases: usize, lines: &[String]) -> bool {
    let mut report = Report::default();
    report.cases = cases;
    lines.iter().for_each(|line| report.take(line));
    report.print(None)
}

fn list(lines: &[String]) -> bool {
    lines.iter().for_each(|line| println!("{line}"));
    true
}
