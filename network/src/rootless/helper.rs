//! What is recorded of a program that runs.

use std::os::fd::{AsFd as _, OwnedFd};

use pillbox_json::{List, object};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::Serialize;

use super::Program;
use super::process::{LIMIT, errno, is_readable};
use crate::attachment::hash;
use crate::error::{Context, Error, Result};
use crate::port::Port;

object! {
    /// A program that connects a container.
    #[derive(Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Helper {
        "program" required => program: Program,
        "pid" required => pid: i32,
        /// What distinguishes it from any other process that has or had the pid: a hash of the boot's id and
        /// of the inode of its pidfds (before Linux 6.9, where all share one, of its start time).
        "identity" required => identity: u64,
        /// pasta from before August 2024.
        "old" => old: bool,
        /// The ports that it publishes.
        "ports" => ports: List<Port>,
    }
}

impl Helper {
    /// Identifies a process.
    pub(super) fn of(program: Program, pid: Pid, ports: &[Port]) -> Result<Helper> {
        let pid = pid.as_raw_pid();
        let found = open(pid).and_then(|found| found.ok_or(Errno::SRCH));
        let (_, identity) = found.context(format_args!("open process {pid}"))?;
        Ok(Helper { program, pid, identity, old: false, ports: ports.to_vec().into() })
    }

    /// Reads what is recorded of one.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &[u8]) -> Result<Helper> {
        pillbox_json::parse(text).map_err(|error| Error::invalid(format_args!("{error}")))
    }

    /// What the user should know of published ports.
    pub fn warning(&self) -> Option<&'static str> {
        if self.ports.is_empty() {
            return None;
        }
        match self.program {
            Program::Slirp4netns => Some(
                "slirp4netns publishes ports on IPv4 addresses only, and UDP from the host's 127.0.0.1 gets no answer; pasta \
                 (package passt) can do both",
            ),
            Program::Pasta if self.old => Some(
                "this pasta is older than August 2024; such have faults with published ports: a server that speaks first, as \
                 with SSH and SMTP, is not heard before its client has spoken; IPv6 gets in only after the container has used \
                 it; UDP from the host itself gets no answer if the port is another one inside; a newer package passt has \
                 none of them",
            ),
            Program::Pasta => None,
        }
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.open()?.is_some_and(|process| !is_readable(&process, 0)))
    }

    /// Ends it, and waits for that. Nothing happens if it has ended, or somebody else has its pid.
    ///
    /// # Errors
    /// It belongs to somebody else, or does not end.
    pub fn end(&self) -> Result<()> {
        let Some(process) = self.open()? else { return Ok(()) };
        let ended = match rustix::process::pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) if is_readable(&process, LIMIT) => Ok(()),
            Ok(()) | Err(Errno::SRCH) => Err(Errno::TIMEDOUT),
            refused => refused,
        };
        ended.context(format_args!("end {} (process {})", self.program.name(), self.pid))?;
        // It may be a child of this process.
        let _ = rustix::process::waitid(
            WaitId::PidFd(process.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        Ok(())
    }

    /// A pidfd for it, if it has not been waited for.
    fn open(&self) -> Result<Option<OwnedFd>> {
        let found = open(self.pid).context(format_args!("open process {}", self.pid))?;
        Ok(found.filter(|(_, identity)| *identity == self.identity).map(|(process, _)| process))
    }
}

/// The process that has a pid now, and its identity.
fn open(pid: i32) -> rustix::io::Result<Option<(OwnedFd, u64)>> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
    let process = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        // Unused, or the id of a thread, for which older and newer kernels have different errors.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
        process => process?,
    };
    // Opened first and identified afterwards: from then on the pidfd can't mean another process.
    let status = rustix::fs::fstat(&process)?;
    let mut text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(errno)?;
    // Inodes of pidfs are executable by their owner. The one that all pidfds shared before is not.
    if cfg!(target_pointer_width = "64") && status.st_mode & 0o100 != 0 {
        text.push_str(&status.st_ino.to_string());
    } else {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(errno) {
            // It is gone by now.
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            stat => text.push_str(start_time(&stat?)),
        }
    }
    Ok(Some((process, hash(text.as_bytes()))))
}

/// Field 22 of /proc/PID/stat (proc_pid_stat(5)). The second is a name in parentheses, which may contain
/// anything.
fn start_time(stat: &str) -> &str {
    let (_, behind) = stat.rsplit_once(')').unwrap_or_default();
    behind.split_ascii_whitespace().nth(19).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat =
            "4711 (a) b (c)) S 1 4711 4711 0 -1 4194368 348 0 0 0 1 2 3 4 20 0 1 0 142967 75857920 5007";
        assert_eq!(start_time(stat), "142967");
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(start_time(&own).parse::<u64>().is_ok_and(|ticks| ticks > 0), "{own}");
        assert_eq!(start_time("4711 (a) S 1"), "");
    }
}
