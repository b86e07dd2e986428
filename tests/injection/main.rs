//! Faults injected by ptrace(2): at every system call of every command, and of the inits that it makes, the process is
//! killed or the call fails in each way in which it can. Then the command has ended in ten seconds; it has said in one
//! line what failed, or has done its work; `delete --force` leaves nothing; the id is free.
//!
//! Without arguments it runs a sample, the same each time, which `PILLBOX_INJECTION_SEED` changes. `--all` runs
//! everything; `--unit COMMAND:CONTAINER` one command with one kind of container; `--only CASE` one case, as a failure
//! names it; `--calls COMMAND:CONTAINER` lists the calls that are made when nothing goes wrong. `PILLBOX_TEST_RUNTIME` is
//! another binary than the one that was built with it.

mod bundle;
mod fault;
mod judge;
mod place;
mod report;
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

/// The sample's, unless `PILLBOX_INJECTION_SEED` says another one.
const SEED: u64 = 10;

/// How long the sample may take.
const SAMPLE: Duration = Duration::from_secs(150);

/// How many cases of a unit are in a sample.
const SAMPLED: u64 = 30;

/// What the arguments ask for.
enum Request {
    /// Units, of each only so many cases where there is a seed.
    Units {
        units: Vec<Unit>,
        seed: Option<u64>,
    },
    Only(Case),
    /// The system calls that a unit makes undisturbed.
    Calls(Unit),
    /// In a unit's own surroundings: this program calls itself so.
    Work {
        unit: Unit,
        cgroup: String,
        work: Work,
    },
    /// A filter of libtest's that means another test.
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
            // The others that cargo passes to every test program.
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

/// Runs the units on all processors, and prints what came of them.
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
                    // Each gets its share of the time that is left: none is starved by those before it.
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
