//! Commands of box that are killed at every system call that they make, and so are their monitors and the inits of their
//! containers. Then the store must be legal: the next command works, `system check` finds everything whole, and when
//! containers and images are removed nothing is left.
//!
//! Without arguments it runs a sample, always the same, which `PILLBOX_INJECTION_SEED` changes. `--all` runs everything,
//! `--unit COMMAND` one command, `--only COMMAND:PROCESS:NUMBER` one case; `--calls COMMAND` lists the calls.

#[allow(dead_code)]
#[path = "../../../tests/injection/fault.rs"]
mod fault;
#[allow(dead_code)]
#[path = "../../../tests/blackbox/harness/host.rs"]
mod host;
mod place;
#[allow(dead_code)]
#[path = "../engine/registry.rs"]
mod registry;
#[allow(dead_code)]
#[path = "../../../tests/injection/tracer.rs"]
mod tracer;
mod unit;
mod verb;
#[path = "../../../tests/injection/watchdog.rs"]
mod watchdog;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs};

use lexopt::{Arg, Parser, ValueExt};
use rustix::mount::{MountFlags, mount};

use place::Place;
use tracer::Spot;
use unit::{Report, Unit};
use verb::{VERBS, Verb};

/// The seed of the sample, unless `PILLBOX_INJECTION_SEED` sets another one.
const SEED: u64 = 13;

/// How long the sample may take.
const SAMPLE: Duration = Duration::from_secs(40);

/// How many cases of each command are in a sample.
const SAMPLED: usize = 12;

/// Set in the process that is in namespaces of its own, to the pid that it had outside.
const ISOLATED: &str = "PILLBOX_INJECTION_ISOLATED";

/// What the arguments ask for.
enum Request {
    /// Runs commands; with a seed, only a limited number of cases of each.
    Units(Vec<Verb>, Option<u64>),
    Only(Verb, Spot),
    Calls(Verb),
    /// Does nothing: a filter of libtest's selects another test.
    Nothing,
}

fn main() -> ExitCode {
    match parse().map_err(|error| error.to_string()).and_then(run) {
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
    let mut request = Request::Units(VERBS.to_vec(), Some(seed));
    let mut parser = Parser::from_env();
    let mut filters = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("all") => request = Request::Units(VERBS.to_vec(), None),
            Arg::Long("unit") => request = Request::Units(vec![parser.value()?.parse()?], None),
            Arg::Long("only") => {
                let (verb, spot) = unit::parse_case(&parser.value()?.string()?)?;
                request = Request::Only(verb, spot);
            }
            Arg::Long("calls") => request = Request::Calls(parser.value()?.parse()?),
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
    match filters.iter().all(|filter| "injection".contains(filter.as_str())) {
        true => Ok(request),
        false => Ok(Request::Nothing),
    }
}

fn run(request: Request) -> Result<bool, String> {
    if matches!(request, Request::Nothing) || !isolated()? {
        return Ok(true);
    }
    let mut place = Place::new(&env::var(ISOLATED).unwrap_or_default())?;
    let mut report = Report::default();
    match request {
        Request::Nothing => {}
        Request::Calls(verb) => {
            for call in Unit::new(verb, &mut place)?.calls {
                println!("{}:{} {}", call.spot.who, call.spot.index, fault::call_name(call.number));
            }
        }
        Request::Only(verb, spot) => Unit::new(verb, &mut place)?.run(&[spot], None, &mut report),
        Request::Units(verbs, seed) => {
            let began = Instant::now();
            for (done, verb) in verbs.iter().enumerate() {
                let unit = Unit::new(*verb, &mut place)?;
                let left =
                    SAMPLE.saturating_sub(began.elapsed()) / u32::try_from(verbs.len() - done).unwrap_or(1);
                let (spots, limit) = match seed {
                    Some(seed) => (unit.sample(seed, SAMPLED), Some(left)),
                    None => (unit.spots(), None),
                };
                let before = report.violations();
                unit.run(&spots, limit, &mut report);
                if seed.is_none() {
                    println!(
                        "{}: {} calls, {} violations, after {} s",
                        verb.name,
                        spots.len(),
                        report.violations() - before,
                        began.elapsed().as_secs()
                    );
                }
            }
        }
    }
    Ok(report.print())
}

/// Whether the test can run here. The first call executes the program again as the first process of a pid namespace, with
/// mounts, links and a /run of its own.
fn isolated() -> Result<bool, String> {
    const HIERARCHY: &str = "/sys/fs/cgroup";
    /// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
    const CGROUP2: i64 = 0x6367_7270;
    let reason = match (rustix::process::geteuid().is_root(), cfg!(target_arch = "x86_64")) {
        (true, true) => None,
        (false, _) => Some("needs root"),
        (_, false) => Some("needs x86-64"),
    };
    if let Some(reason) = reason {
        if env::var_os("PILLBOX_TEST_NO_SKIP").is_some() {
            return Err(format!("skipped: {reason}"));
        }
        eprintln!("skipped: injection: {reason}");
        return Ok(false);
    }
    if env::var_os(ISOLATED).is_none() {
        let this = env::current_exe().map_err(|error| error.to_string())?;
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "-p", "-f", "-n", "-i", "-u", "--kill-child", "--mount-proc"]).arg(this);
        unshare.args(env::args_os().skip(1)).env(ISOLATED, std::process::id().to_string());
        return Err(format!("unshare: {}", unshare.exec()));
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", "/run", "tmpfs", flags, c"mode=755").map_err(|error| format!("mount /run: {error}"))?;
    fs::create_dir(host::SCRATCH).map_err(|error| format!("{}: {error}", host::SCRATCH))?;
    if rustix::fs::statfs(HIERARCHY).is_ok_and(|found| found.f_type == CGROUP2) {
        return Ok(true);
    }
    mount("cgroup2", HIERARCHY, "cgroup2", flags | MountFlags::NOEXEC, c"")
        .map_err(|error| format!("mount cgroup2: {error}"))?;
    Ok(true)
}
