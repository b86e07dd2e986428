//! Running a program by the standard library, for callers that have no way of their own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::program::{Ended, Execution, OUTPUT_MAX, STDERR_KEPT, quote_stderr};
use crate::error::{Context, Error, Kind, Result};

/// Runs a program to its end. If this process is killed meanwhile the program goes on, and a DEL by another
/// process may then overtake ADD. A caller that can let the program die with itself should do that instead.
///
/// # Errors
/// It cannot be executed, takes longer than its limit, or prints more than [`OUTPUT_MAX`].
pub fn execute(execution: &Execution<'_>) -> Result<Ended> {
    let Execution { path, environment, input, limit } = *execution;
    let mut command = Command::new(path);
    command
        .env_clear()
        .envs(environment.iter().filter_map(|variable| variable.split_once('=')))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // What it has started can be killed with it.
        .process_group(0);
    let mut child = spawn(&mut command).context(format_args!("execute {path}"))?;
    let error = match listen(&mut child, input.as_bytes(), limit) {
        Ok(Heard::All([stdout, stderr])) => {
            let status = child.wait().context(format_args!("wait for {path}"))?;
            return Ok(Ended { status, stdout, stderr });
        }
        Ok(Heard::Late(stderr)) => {
            let limit = format!("took longer than {} s and was killed", limit.as_secs());
            Error::new(Kind::Host, limit + &quote_stderr(&stderr))
        }
        Ok(Heard::TooMuch) => {
            Error::of(Kind::Host, format_args!("printed more than {OUTPUT_MAX} bytes and was killed"))
        }
        Err(error) => error,
    };
    let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = child.wait();
    Err(error)
}

/// A file that is still being written cannot be executed, for a moment.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..TRIES {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::sleep(PAUSE),
            spawned => return spawned,
        }
    }
    command.spawn()
}

/// What was heard of a plugin.
enum Heard {
    /// Its stdout and stderr; it has ended.
    All([Vec<u8>; 2]),
    /// The limit has come first; its stderr until then.
    Late(Vec<u8>),
    /// It prints without an end.
    TooMuch,
}

/// Writes a plugin's input and reads its stdout and stderr until it has ended. It does not wait for the end
/// of the pipes: a daemon that the plugin leaves behind may keep them open.
fn listen(child: &mut Child, mut input: &[u8], limit: Duration) -> Result<Heard> {
    let start = Instant::now();
    let context = format_args!("listen to the plugin");
    let process =
        rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty()).context(context)?;
    let mut stdin = child.stdin.take().map(OwnedFd::from);
    let outputs = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut open = outputs.each_ref().map(|output| output.as_ref().map(OwnedFd::as_fd));
    for end in open.into_iter().flatten().chain(stdin.as_ref().map(OwnedFd::as_fd)) {
        rustix::io::ioctl_fionbio(end, true).context(context)?;
    }
    let mut said = [Vec::new(), Vec::new()];
    loop {
        let mut polled = vec![PollFd::new(&process, PollFlags::IN)];
        polled.extend(open.iter().flatten().map(|end| PollFd::from_borrowed_fd(*end, PollFlags::IN)));
        polled.extend(stdin.as_ref().map(|end| PollFd::new(end, PollFlags::OUT)));
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            let [_, stderr] = said;
            return Ok(Heard::Late(stderr));
        }
        let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut polled, Some(&timeout)) {
            Err(Errno::INTR) => continue,
            ready => ready.context(context)?,
        };
        let has_ended = !polled[0].revents().is_empty();
        drop(polled);
        if let Some(end) = &stdin {
            match rustix::io::write(end, input) {
                Ok(written) => input = &input[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                // It does not read it.
                Err(_) => input = &[],
            }
            if input.is_empty() {
                stdin = None;
            }
        }
        for (end, said) in open.iter_mut().zip(&mut said) {
            if end.is_some_and(|end| !read(end, said)) {
                *end = None;
            }
        }
        let [stdout, stderr] = &mut said;
        if stdout.len() > OUTPUT_MAX {
            return Ok(Heard::TooMuch);
        }
        stderr.drain(..stderr.len().saturating_sub(STDERR_KEPT));
        if has_ended {
            return Ok(Heard::All(said));
        }
    }
}

/// Reads what is there, at most a little more than what a plugin may print; false if nobody can write any
/// more.
fn read(end: BorrowedFd<'_>, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    while said.len() <= OUTPUT_MAX {
        match rustix::io::read(end, &mut buffer) {
            Ok(0) => return false,
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return error == Errno::AGAIN,
        }
    }
    true
}
