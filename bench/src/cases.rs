//! The cases: `--version`, `run`, and the life of a container step by step.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::bundle::Scratch;
use crate::error::{Context, Result, error};
use crate::figures::Samples;
use crate::runtime::{Cost, Runtime, time};
use crate::{floor, host};

/// The floor's names in the report.
pub const FLOOR: &str = "floor";
/// The floor without a process of its own for each container.
pub const FLOOR_IN_PROCESS: &str = "floor, in one process";

/// The steps of a container's life, in order.
const STEPS: [&str; 5] = ["create", "start", "state", "kill", "delete"];

/// One line of the report.
pub struct Line {
    /// What was run: `run`, `create` …
    pub case: &'static str,
    /// The runtime's name, or the floor's.
    pub subject: String,
    /// What was measured.
    pub samples: Samples,
}

/// Who is measured in one round of a case.
enum Subject<'a> {
    Runtime(&'a Runtime),
    Floor,
    FloorInProcess,
}

impl Subject<'_> {
    fn name(&self) -> &str {
        match self {
            Subject::Runtime(runtime) => &runtime.name,
            Subject::Floor => FLOOR,
            Subject::FloorInProcess => FLOOR_IN_PROCESS,
        }
    }
}

/// Runs all cases, `runs` times each, and tells on stderr which one is going on.
pub fn measure(runtimes: &[Runtime], scratch: &Scratch, runs: usize) -> Result<Vec<Line>> {
    let subjects = |floors: bool| {
        let runtimes = runtimes.iter().map(Subject::Runtime);
        let floors = floors.then_some([Subject::FloorInProcess, Subject::Floor]);
        floors.into_iter().flatten().chain(runtimes).collect::<Vec<_>>()
    };
    let mut numbers = 0..;
    let mut id = move || format!("{}-{}", scratch.prefix(), numbers.next().unwrap_or(0));

    let mut lines = interleave(&["run"], &subjects(true), runs, |subject, samples| {
        samples[0].add(run(subject, scratch, &id()));
    });
    lines.extend(interleave(&["--version"], &subjects(false), runs, |subject, samples| {
        if let Subject::Runtime(runtime) = subject {
            samples[0].add(runtime.time(&["--version"]));
        }
    }));
    lines.extend(interleave(&STEPS, &subjects(false), runs, |subject, samples| {
        if let Subject::Runtime(runtime) = subject {
            let id = id();
            live(runtime, scratch, &id, samples);
            runtime.discard(&id);
        }
    }));
    Ok(lines)
}

/// Rounds in the order ABBA: a machine that slows down or heats up slows everybody alike. One round ahead is not
/// counted: it fills the caches.
fn interleave(
    cases: &[&'static str],
    subjects: &[Subject<'_>],
    runs: usize,
    mut once: impl FnMut(&Subject<'_>, &mut [Samples]),
) -> Vec<Line> {
    eprintln!("bench: {} …", cases.join(", "));
    let empty = || cases.iter().map(|_| Samples::default()).collect::<Vec<_>>();
    let mut samples: Vec<Vec<Samples>> = subjects.iter().map(|_| empty()).collect();
    subjects.iter().for_each(|subject| once(subject, &mut empty()));
    for round in 0..runs {
        let count = subjects.len();
        for turn in 0..count {
            let turn = if round % 2 == 0 { turn } else { count - 1 - turn };
            once(&subjects[turn], &mut samples[turn]);
        }
    }
    let named = subjects.iter().zip(samples).flat_map(|(subject, samples)| {
        let line = |(&case, samples)| Line { case, subject: subject.name().to_string(), samples };
        cases.iter().zip(samples).map(line)
    });
    let mut lines: Vec<Line> = named.collect();
    lines.sort_by_key(|line| cases.iter().position(|case| *case == line.case));
    lines
}

fn run(subject: &Subject<'_>, scratch: &Scratch, id: &str) -> Result<Cost> {
    let bundle = scratch.bundle("true");
    let cgroup = Path::new(host::CGROUP).join(id);
    match subject {
        Subject::Runtime(runtime) => {
            let arguments = ["run".as_ref(), "--bundle".as_ref(), bundle.as_os_str(), id.as_ref()];
            let cost = runtime.time(&arguments);
            if cost.is_err() {
                runtime.discard(id);
            }
            cost
        }
        Subject::Floor => {
            let this = std::env::current_exe().context(|| "find the benchmark's own program")?;
            let mut command = Command::new(this);
            command.arg("floor").arg(bundle.join("rootfs")).arg(cgroup);
            time(&mut command, &scratch.file("stderr"))
        }
        Subject::FloorInProcess => {
            let begin = Instant::now();
            floor::run(&bundle.join("rootfs"), &cgroup)?;
            Ok(Cost { time: begin.elapsed(), peak_kib: 0 })
        }
    }
}

/// Takes one container through its life; the step that fails is its last.
fn live(runtime: &Runtime, scratch: &Scratch, id: &str, samples: &mut [Samples]) {
    let (bundle, pid_file) = (scratch.bundle("pause"), scratch.file("pid"));
    for (step, samples) in STEPS.into_iter().zip(samples) {
        let outcome = match step {
            "create" => runtime.time(&[
                "create".as_ref(),
                "--bundle".as_ref(),
                bundle.as_os_str(),
                "--pid-file".as_ref(),
                pid_file.as_os_str(),
                id.as_ref(),
            ]),
            "kill" => runtime.time(&["kill", id, "KILL"]),
            step => runtime.time(&[step, id]),
        };
        // A container that was killed is deleted when it is dead, which `kill` doesn't wait for.
        let outcome =
            outcome.and_then(|cost| if step == "kill" { reap(&pid_file).map(|()| cost) } else { Ok(cost) });
        let failed = outcome.is_err();
        samples.add(outcome);
        if failed {
            break;
        }
    }
}

/// Waits for the container's process: its parent has gone, so it is the subreaper's, which the benchmark is.
fn reap(pid_file: &Path) -> Result<()> {
    let text = fs::read_to_string(pid_file).context(|| "read the pid file")?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| error(format!("pid file: {text:?} is no pid")))?;
    match waitpid(Some(pid), WaitOptions::empty()) {
        // ECHILD: it was reaped by somebody else already.
        Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno).context(|| "waitpid"),
    }
}
