//! Waits for the end of a process, but never for ever.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use crate::error::{Context, Result};
use crate::sys;

/// How long a process may take to end after it was killed or has closed its channel, in milliseconds.
pub const PATIENCE_MS: i64 = 10_000;

/// Whether all children of this process are the runtime's: true in the command, but not in a program that
/// embeds it.
static CHILDREN_ARE_OWN: AtomicBool = AtomicBool::new(false);

/// Declares that this process has only children that the runtime makes.
#[doc(hidden)]
pub fn own_all_children() {
    CHILDREN_ARE_OWN.store(true, Ordering::Relaxed);
}

/// Collects clones of init whose pid was never reported, because the process that should have done so was
/// killed or had no memory. They end by themselves, but in a container's namespaces they would keep those
/// from ending. In a program that has other children they cannot be told apart, and are left until it ends.
pub fn collect_strays() {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut looks = if CHILDREN_ARE_OWN.load(Ordering::Relaxed) { 100 } else { 0 };
    while looks > 0 {
        match rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            // In `run` the container's init is a child as well, and still runs.
            Ok(None) => std::thread::sleep(PAUSE),
            Err(_) => return,
        }
        looks -= 1;
    }
}

/// Whether this process has other children than the runtime's. Then another part of the program may wait for
/// any child, and collect one before the runtime does.
pub fn children_may_be_collected() -> bool {
    !CHILDREN_ARE_OWN.load(Ordering::Relaxed)
}

/// Collects a child that has ended or is about to; returns how it ended, as wait(2) encodes it.
///
/// # Errors
/// `ECHILD` if another waiter got the status and the kernel does not report it twice.
pub fn collect(process: &OwnedFd) -> rustix::io::Result<i32> {
    let id = || WaitId::PidFd(process.as_fd());
    match rustix::io::retry_on_intr(|| rustix::process::waitid(id(), WaitIdOptions::EXITED)) {
        // Another part of this process waits for all children, or has SIGCHLD ignored.
        Err(Errno::CHILD) => code_of_collected(process).ok_or(Errno::CHILD),
        status => status?.map(code).ok_or(Errno::CHILD),
    }
}

/// How a process ended that another waiter has collected, or is about to. Its pidfd knows this since Linux
/// 6.15.
pub fn code_of_collected(process: &OwnedFd) -> Option<i32> {
    const COLLECTED_WITHIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    // Polls for nothing but POLLHUP, which comes when it is collected; POLLIN would come as soon as it ends.
    let hang_up = || poll(&mut [PollFd::new(process, PollFlags::empty())], Some(&COLLECTED_WITHIN));
    let _ = rustix::io::retry_on_intr(hang_up);
    sys::exit_code(process.as_fd()).unwrap_or(None)
}

/// Encodes a status as wait(2) does.
pub fn code(status: WaitIdStatus) -> i32 {
    status.exit_status().map_or_else(|| status.terminating_signal().unwrap_or_default(), |code| code << 8)
}

/// Waits for at most `milliseconds` until the process of a pidfd is gone.
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
