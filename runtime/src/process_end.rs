//! Waiting for the end of a process, never for ever.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// How long a process may take to go that was killed, or has closed its channel, in milliseconds.
pub const PATIENCE_MS: i64 = 10_000;

/// Waits until the process that a pidfd stands for is gone, at most for `milliseconds`.
pub fn wait_until_gone(process: &OwnedFd, milliseconds: i64) -> Result<bool> {
    let timeout = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    loop {
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Err(Errno::INTR) => {}
            ready => return ready.map(|count| count > 0).context(|| "wait for init"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::wait_until_gone;

    #[test]
    fn it_ends_with_the_process_or_with_the_time() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("pidfd");
        assert!(!wait_until_gone(&process, 20).expect("poll"));
        child.kill().expect("kill");
        assert!(wait_until_gone(&process, 10_000).expect("poll"));
        child.wait().expect("wait");
    }
}
