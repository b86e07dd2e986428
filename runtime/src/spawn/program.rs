//! Programs of the host that the runtime runs to their end: hooks, and its own helpers (newuidmap(1), ps(1)).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use super::{Init, Opened, spawn};
use crate::error::{Context, Error, Result};
use crate::oci::spec::Hook;
use crate::oci::spec::json::{List, Text};
use crate::plan::{self, Host, Intent, Plan};
use crate::sys::process_end::collect;
use crate::sys::surroundings;

/// How many bytes at the end of a helper's output are kept.
const KEPT: usize = 1 << 24;

/// Looks a program up in the folders that `surroundings` names.
pub fn find(name: &str) -> Option<String> {
    let path = surroundings::search_path().and_then(OsStr::to_str).unwrap_or("/usr/bin:/bin");
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| rustix::fs::access(path.as_str(), Access::EXEC_OK).is_ok())
}

/// Runs the program at `path` with the caller's rights and an empty stdin. The result is its output on stdout
/// and stderr.
///
/// # Errors
/// It could not be run, or failed; the error has the end of its output.
pub fn run(path: &str, arguments: &[String], environment: &[String]) -> Result<Vec<u8>> {
    Running::start(path, arguments, environment)?.finish()
}

/// A program that runs.
pub struct Running {
    process: Init,
    plan: Plan,
    ends: Ends,
}

impl Running {
    /// Starts the program at `path` with the caller's rights and an empty stdin.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(path: &str, arguments: &[String], environment: &[String]) -> Result<Running> {
        let (ends, [input, output]) = Ends::open()?;
        let errors = rustix::io::fcntl_dupfd_cloexec(&output, 3).context(|| "duplicate a descriptor")?;
        let (mut process, plan) = begin(path, arguments, environment, [input, output, errors])?;
        release(&mut process, &plan)?;
        Ok(Running { process, plan, ends })
    }

    /// Waits for its end. The result is its output on stdout and stderr.
    ///
    /// # Errors
    /// It could not be executed, or failed; the error has the end of its output.
    pub fn finish(self) -> Result<Vec<u8>> {
        let Running { process, plan, ends } = self;
        await_end(process, &plan, ends, &Visit { input: "", timeout: None, kept: KEPT, what: "" })
    }
}

/// Spawns the program at `path` with the caller's rights and these streams.
fn begin(
    path: &str,
    arguments: &[String],
    environment: &[String],
    streams: [OwnedFd; 3],
) -> Result<(Init, Plan)> {
    let arguments = [path].into_iter().chain(arguments.iter().map(String::as_str));
    let program = Hook {
        path: path.into(),
        args: List(arguments.map(Text::from).collect()),
        env: List(environment.iter().map(|variable| variable.as_str().into()).collect()),
        timeout: None,
    };
    let plan = plan::compile_hook(&program, None, 0, &Host::look(), &Intent::default())?;
    // Only the program may hold them, once it is spawned: when it closes one, that end is closed.
    let mut opened = Opened::inside(streams.map(Some).into(), None);
    let process = spawn(&plan, &mut opened, None, None, None)?;
    Ok((process, plan))
}

/// Runs the program at `path` with the caller's rights and without arguments, and keeps stdout and stderr
/// apart: all of the one, and the last `QUOTED` bytes of the other. The result is how it ended, as wait(2)
/// encodes it. When it takes longer than `limit`, or has more than `most` bytes to say on stdout, it is
/// killed with its children, and `word` says so with what it had said.
///
/// # Errors
/// It could not be run, or was killed.
#[cfg(feature = "network")]
pub fn run_apart(
    path: &str,
    environment: &[String],
    input: &str,
    (limit, most): (Duration, usize),
    word: &mut dyn FnMut(&[Vec<u8>; 2]) -> Error,
) -> Result<(i32, [Vec<u8>; 2])> {
    let (ends, [stdin, stdout]) = Ends::open()?;
    let (errors, stderr) = pipe()?;
    let ends = Ends { errors: Some(errors), ..ends };
    let (mut process, plan) = begin(path, &[], environment, [stdin, stdout, stderr])?;
    release(&mut process, &plan)?;
    let visit = Visit { input, timeout: Some(limit.as_secs() as i64), kept: most + 1, what: "" };
    let (process, said) = serve(process, &plan, ends, &visit, most, word)?;
    Ok((collect(&process.process).context(|| "wait")?, said))
}

/// The runtime's ends of a program's stdin and output.
pub struct Ends {
    input: OwnedFd,
    output: OwnedFd,
    /// Of its stderr, if that is no part of the output.
    errors: Option<OwnedFd>,
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "pipe")
}

impl Ends {
    /// Makes both, and the program's ends: one to read from, one to write to.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn open() -> Result<(Ends, [OwnedFd; 2])> {
        let ((read, input), (output, write)) = (pipe()?, pipe()?);
        Ok((Ends { input, output, errors: None }, [read, write]))
    }
}

/// The input of a program, and its limits.
pub struct Visit<'a> {
    /// What it can read from its stdin.
    pub input: &'a str,
    /// The number of seconds after which it is killed.
    pub timeout: Option<i64>,
    /// How many bytes at the end of its output are kept.
    pub kept: usize,
    /// The beginning of errors, before "failed" or "was killed".
    pub what: &'a str,
}

/// Lets a program that was spawned as `process` begin.
///
/// # Errors
/// Something failed before it; it is gone then.
fn release(process: &mut Init, plan: &Plan) -> Result<()> {
    let released = process.await_ready_unrecorded(plan).and_then(|()| process.release());
    released.map_err(|error| process.kill_after(error))
}

/// Starts the program that was spawned as `process`, and serves it until it has ended. The result is the end
/// of its output.
///
/// # Errors
/// It could not be executed, failed or took too long; if it failed, the error has the end of its output.
pub fn see_out(mut process: Init, plan: &Plan, ends: Ends, visit: &Visit<'_>) -> Result<Vec<u8>> {
    release(&mut process, plan)?;
    await_end(process, plan, ends, visit)
}

fn await_end(process: Init, plan: &Plan, ends: Ends, visit: &Visit<'_>) -> Result<Vec<u8>> {
    let seconds = visit.timeout.unwrap_or_default();
    let mut late = |_: &[Vec<u8>; 2]| {
        Error::formatted(format_args!("killed: it took longer than its timeout of {seconds} s"))
    };
    let (process, [output, _]) = serve(process, plan, ends, visit, usize::MAX, &mut late)?;
    word_end(process, output, visit.what)
}

/// Serves the program until it has ended; the result has what it said. When the deadline comes
/// first, or more than `most` bytes of output, `word` makes the error.
fn serve(
    mut process: Init,
    plan: &Plan,
    ends: Ends,
    visit: &Visit<'_>,
    most: usize,
    word: &mut dyn FnMut(&[Vec<u8>; 2]) -> Error,
) -> Result<(Init, [Vec<u8>; 2])> {
    let deadline = visit.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.max(0) as u64));
    // If the program cannot be executed, the channel says why. A process that stands still before that is
    // timed out, too.
    let executed = match await_one_of(&mut [PollFd::new(&process.channel(), PollFlags::IN)], deadline) {
        Ok(true) => process.await_exec(plan).map(|()| true),
        other => other,
    };
    let mut said = [Vec::new(), Vec::new()];
    let ended = match executed {
        Ok(true) => converse(&process.process, ends, visit, most, deadline, &mut said),
        other => other,
    };
    let error = match ended {
        Ok(true) => return Ok((process, said)),
        Ok(false) => word(&said),
        Err(error) => error,
    };
    // It leads a process group of its own, which has the processes that it started.
    let _ = rustix::process::kill_process_group(process.pid, Signal::KILL);
    Err(process.kill_after(error))
}

/// How many bytes of its output errors quote.
const QUOTED: usize = 1024;

/// The output of a program that succeeded; otherwise an error that says how it ended.
fn word_end(process: Init, output: Vec<u8>, what: &str) -> Result<Vec<u8>> {
    let code = collect(&process.process).context(|| "wait")?;
    let how = match (code & 0x7f, code >> 8) {
        (0, 0) => return Ok(output),
        (0, code) => format!("{what}failed with exit code {code}"),
        (signal, _) => format!("{what}was killed by signal {signal}"),
    };
    let end = &output[output.len().saturating_sub(QUOTED)..];
    let output = String::from_utf8_lossy(end).trim().replace('\n', "; ");
    Err(Error::new(if output.is_empty() { how } else { format!("{how}: {output}") }))
}

/// Writes the program's input and reads its output until it has ended; false if the deadline comes first, or
/// more than `most` bytes of output. It does not wait for the end of the pipes: a daemon that the program
/// leaves behind may keep them open.
fn converse(
    process: &OwnedFd,
    ends: Ends,
    visit: &Visit<'_>,
    most: usize,
    deadline: Option<Instant>,
    said: &mut [Vec<u8>; 2],
) -> Result<bool> {
    let Ends { input, output, errors } = ends;
    for end in [&input, &output].into_iter().chain(&errors) {
        rustix::io::ioctl_fionbio(end, true).context(|| "make a pipe non-blocking")?;
    }
    let mut rest = visit.input.as_bytes();
    let mut input = Some(input);
    let mut outputs = [Some(output), errors];
    loop {
        let mut polled = vec![PollFd::new(process, PollFlags::IN)];
        for output in outputs.iter().flatten() {
            polled.push(PollFd::new(output, PollFlags::IN));
        }
        if let Some(end) = &input {
            polled.push(PollFd::new(end, PollFlags::OUT));
        }
        if !await_one_of(&mut polled, deadline)? {
            return Ok(false);
        }
        let ended = !polled[0].revents().is_empty();
        drop(polled);
        if let Some(end) = &input {
            match rustix::io::write(end, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN) => {}
                // The program does not read it.
                Err(_) => rest = &[],
            }
            if rest.is_empty() {
                input = None;
            }
        }
        for ((output, said), kept) in outputs.iter_mut().zip(&mut *said).zip([visit.kept, QUOTED]) {
            if output.as_ref().is_some_and(|output| !read_output(output, kept, said)) {
                *output = None;
            }
        }
        if said[0].len() > most {
            return Ok(false);
        }
        if ended {
            return Ok(true);
        }
    }
}

/// Whether one of them is ready before the deadline. After the deadline it is false, even if one is ready.
fn await_one_of(polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left
            .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        match poll(polled, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            ready => return ready.map(|count| count > 0).context(|| "wait for it"),
        }
    }
}

/// Reads output and keeps the end of it; `false` if nobody can write any more. It reads at most what a pipe
/// holds, so that a program that writes for ever does not keep it from returning.
fn read_output(output: &OwnedFd, kept: usize, said: &mut Vec<u8>) -> bool {
    const READS: usize = 16;
    let mut buffer = [0u8; 4096];
    for _ in 0..READS {
        match rustix::io::read(output, &mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                said.extend_from_slice(&buffer[..length]);
                let excess = said.len().saturating_sub(kept);
                said.drain(..excess);
                if length < buffer.len() {
                    return true;
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
    true
}
