//! The cases of a single container: `run`, its life step by step, `exec`, `--version`.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::course::{Course, FLOOR, Figure, Line, Subject};
use crate::error::{Context, Result, error};
use crate::figures::Samples;
use crate::runtime::{Runtime, peak};

/// `run` with the default configuration.
pub const RUN: &str = "run";
/// `run` with Docker's configuration.
pub const RUN_DOCKER: &str = "run, Docker's config";

/// The steps of a container's life, in order.
pub const STEPS: [&str; 5] = ["create", "start", "state", "kill", "delete"];

/// The memory of init while it waits for `start`.
pub const INIT_MEMORY: &str = "memory of a created container's process";
/// The file that a created container's process executes.
pub const INIT_SIZE: &str = "program of a created container's process";

/// Runs them all.
pub fn measure(course: &Course<'_>) -> Vec<Line> {
    let mut lines = course.interleave(&[RUN], None, &course.everybody(), |subject, samples| {
        samples[0].add(course.run(subject, "true"));
    });
    lines.extend(course.interleave(&[RUN_DOCKER], None, &course.runtimes(), |subject, samples| {
        samples[0].add(course.run(subject, "docker"));
    }));
    lines.extend(course.interleave(&["--version"], None, &course.runtimes(), |subject, samples| {
        if let Subject::Runtime(runtime) = subject {
            samples[0].add(runtime.time(&["--version"]));
        }
    }));
    lines.extend(course.interleave(&STEPS, None, &course.runtimes(), |subject, samples| {
        if let Subject::Runtime(runtime) = subject {
            let id = course.id();
            live(course, runtime, &id, samples);
            runtime.discard(&id);
        }
    }));
    lines.extend(exec(course));
    lines
}

/// Takes one container through its life, up to a step that fails.
fn live(course: &Course<'_>, runtime: &Runtime, id: &str, samples: &mut [Samples]) {
    let pid_file = course.scratch.file("pid");
    for (step, samples) in STEPS.into_iter().zip(samples) {
        let outcome = match step {
            "create" => runtime.create(&course.scratch.bundle("pause"), &pid_file, id),
            "kill" => runtime.time(&["kill", id, "KILL"]),
            step => runtime.time(&[step, id]),
        };
        // A killed container can only be deleted once it is dead, which `kill` does not wait for.
        let outcome =
            outcome.and_then(|cost| if step == "kill" { reap(&pid_file).map(|()| cost) } else { Ok(cost) });
        let failed = outcome.is_err();
        samples.add(outcome);
        if failed {
            break;
        }
    }
}

/// `exec` of a program that only exits, in a running container.
fn exec(course: &Course<'_>) -> Vec<Line> {
    let (bundle, pid_file) = (course.scratch.bundle("pause"), course.scratch.file("pid"));
    let start = |runtime: &Runtime| {
        let id = course.id();
        let made = runtime.create(&bundle, &pid_file, &id).and_then(|_| runtime.time(&["start", &id]));
        (id, made.map_err(|error| error.to_string()))
    };
    let containers: Vec<_> = course.runtimes.iter().map(start).collect();
    let lines = course.interleave(&["exec"], None, &course.runtimes(), |subject, samples| {
        let found =
            course.runtimes.iter().zip(&containers).find(|(runtime, _)| runtime.name == subject.name());
        if let Some((runtime, (id, made))) = found {
            samples[0].add(match made {
                Ok(_) => runtime.time(&["exec", id, "/bin/true"]),
                Err(said) => Err(error(said.clone())),
            });
        }
    });
    course.runtimes.iter().zip(&containers).for_each(|(runtime, (id, _))| runtime.discard(id));
    lines
}

/// The peak memory of commands.
pub const PEAK_MEMORY: [&str; 3] = ["peak memory of create", "peak memory of run", "peak memory of exec"];

/// The peak memory of each runtime's commands, and as [`FLOOR`] that of a program that uses next to nothing:
/// smaller values cannot be measured.
fn weigh_commands(course: &Course<'_>) -> Result<Vec<Figure>> {
    let scratch = course.scratch;
    let (pause, short) = (scratch.bundle("pause"), scratch.bundle("true"));
    let least = peak(&mut Command::new(short.join("rootfs/bin/true")), &scratch.file("stderr"))?;
    let mut figures = Vec::new();
    for what in PEAK_MEMORY {
        figures.push(Figure { what, subject: FLOOR.to_string(), kib: least as f64 });
    }
    for runtime in course.runtimes {
        let (first, second) = (course.id(), course.id());
        let create = ["create".as_ref(), "--bundle".as_ref(), pause.as_os_str(), first.as_ref()];
        let run = ["run".as_ref(), "--bundle".as_ref(), short.as_os_str(), second.as_ref()];
        let exec = ["exec".as_ref(), first.as_ref(), "/bin/true".as_ref()];
        let peaks = runtime.peak(&create).and_then(|create| {
            runtime.time(&["start", &first])?;
            Ok([create, runtime.peak(&run)?, runtime.peak(&exec)?])
        });
        [first, second].iter().for_each(|id| runtime.discard(id));
        match peaks {
            Ok(peaks) => figures.extend(PEAK_MEMORY.iter().zip(peaks).map(|(what, peak)| Figure {
                what,
                subject: runtime.name.clone(),
                kib: peak as f64,
            })),
            Err(error) => eprintln!("bench: {}: {error}", runtime.name),
        }
    }
    Ok(figures)
}

/// The memory of commands, and the memory and program size of a container's process that waits for `start`.
pub fn weigh(course: &Course<'_>) -> Result<Vec<Figure>> {
    let pid_file = course.scratch.file("pid");
    let mut figures = weigh_commands(course)?;
    for runtime in course.runtimes {
        let id = course.id();
        let weighed = runtime
            .create(&course.scratch.bundle("pause"), &pid_file, &id)
            .and_then(|_| read_pid(&pid_file))
            .and_then(|pid| Ok((resident_kib(pid)?, executable_kib(pid)?)));
        runtime.discard(&id);
        match weighed {
            Ok((memory, size)) => {
                let figure = |what, kib| Figure { what, subject: runtime.name.clone(), kib };
                figures.extend([figure(INIT_MEMORY, memory), figure(INIT_SIZE, size)]);
            }
            Err(error) => eprintln!("bench: {}: {error}", runtime.name),
        }
    }
    Ok(figures)
}

/// VmRSS in /proc/PID/status (proc_pid_status(5)): all memory that the process has touched, shared or not.
fn resident_kib(pid: Pid) -> Result<f64> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(&path).context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| error(format!("{path}: no VmRSS")))
}

fn executable_kib(pid: Pid) -> Result<f64> {
    let path = format!("/proc/{}/exe", pid.as_raw_nonzero());
    Ok(fs::metadata(&path).context(|| format!("stat {path}"))?.len() as f64 / 1024.0)
}

pub fn read_pid(pid_file: &Path) -> Result<Pid> {
    let text = fs::read_to_string(pid_file).context(|| "read the pid file")?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| error(format!("pid file: {text:?} is no pid")))
}

/// Waits for the container's process. Its parent has ended, so that it is a child of the subreaper, which is
/// the benchmark.
pub fn reap(pid_file: &Path) -> Result<()> {
    match waitpid(Some(read_pid(pid_file)?), WaitOptions::empty()) {
        // ECHILD: it has been reaped elsewhere already.
        Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno).context(|| "waitpid"),
    }
}
