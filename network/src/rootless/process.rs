//! A program that was started, until it is ready.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::error::{Context, Error, Kind, Result};

/// How long anything may take, in seconds.
pub(super) const LIMIT: i64 = 10;

/// How much of a complaint is kept, in bytes.
const COMPLAINT_MAX: usize = 1 << 14;

/// A child.
pub(super) struct Process {
    child: Child,
    stderr: OwnedFd,
    complaint: Vec<u8>,
}

impl Process {
    /// Starts a program that has nothing of the caller's but the folder. None of its arguments has a space.
    pub fn spawn(
        path: &Path,
        folder: &Path,
        arguments: &str,
        stdin: Stdio,
        stdout: OwnedFd,
    ) -> Result<Process> {
        let (stderr, end) = pipe().context(format_args!("make a pipe"))?;
        let child = Command::new(path)
            .args(arguments.split(' '))
            .env_clear()
            .current_dir(folder)
            // Control-C in the caller's terminal is not for it.
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(end)
            .spawn()
            .map_err(errno)
            .context(format_args!("execute {}", path.display()))?;
        Ok(Process { child, stderr, complaint: Vec::new() })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Listens to what it complains of until it ends, or goes on in a child that closes stderr; false if that
    /// takes too long. It has to be read: a user with many pipes may get one of 8 KB, and a help text is
    /// longer.
    pub fn listen(&mut self) -> bool {
        let mut buffer = [0; 1024];
        while is_readable(&self.stderr, LIMIT) {
            let length = rustix::io::read(&self.stderr, &mut buffer).unwrap_or(0);
            if length == 0 {
                return true;
            }
            if self.complaint.len() < COMPLAINT_MAX {
                self.complaint.extend_from_slice(&buffer[..length]);
            }
        }
        false
    }

    /// Waits for its end.
    pub fn succeeds(&mut self) -> bool {
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Ends it, if it still runs.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it, and tells what it has complained of; the kind is `Invalid` if it does not know an option.
    pub fn failed(mut self) -> Error {
        self.end();
        self.listen();
        let mut text = one_line(&self.complaint);
        if text.is_empty() {
            text = format!("was not ready within {LIMIT} s, and does not say why");
        }
        if text.contains("No external routable interface") {
            text.push_str(
                ": without a default route on the host there is no way out: add one, or do without a network",
            );
        }
        // getopt_long(3) of all C libraries.
        let is_unknown = text.as_bytes().windows(19).any(|part| part == b"unrecognized option");
        Error::new(if is_unknown { Kind::Invalid } else { Kind::Host }, text)
    }
}

/// The errno of an error; the standard library has few without.
#[cold]
pub(super) fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// A pipe: where it is read, and where it is written.
pub(super) fn pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC)
}

/// Waits until there is something to read, an end of file, or the end of a pidfd's process; false if it takes
/// more seconds.
pub(super) fn is_readable(fd: &impl AsFd, seconds: i64) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| poll(&mut polled, Some(&limit))).is_ok_and(|ready| ready > 0)
}

/// What a program has written, without its help text and what it always says, in one line.
pub(super) fn one_line(said: &[u8]) -> String {
    let mut text = String::new();
    for line in String::from_utf8_lossy(said).lines() {
        // Debian 12's pasta says the first where there is no system logger.
        if line.starts_with("Failed to send ") || line.starts_with("WARNING: Support for ") {
            continue;
        }
        if line.starts_with("Usage:") || text.len() > 400 {
            break;
        }
        if !(text.is_empty() || line.is_empty()) {
            text.push_str("; ");
        }
        text.extend(line.chars().filter(|character| !character.is_control()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line_without_help_and_noise() {
        let stderr = b"Failed to send 45 bytes to syslog\nNo external routable interface for IPv6\n\nIt \x1bfailed\r\n";
        assert_eq!(one_line(stderr), "No external routable interface for IPv6; It failed");
        let stderr = b"pasta: unrecognized option '--x'\nUsage: pasta [OPTION]...\n  more\n";
        assert_eq!(one_line(stderr), "pasta: unrecognized option '--x'");
        assert_eq!(one_line(b""), "");
        assert!(one_line(&b"much\n".repeat(300)).len() < 420);
    }
}
