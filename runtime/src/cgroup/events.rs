//! cgroup.events: waiting for a cgroup to become empty or frozen. memory.events: noticing an out-of-memory
//! kill.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use super::Cgroup;
use super::file::open_file;
use crate::error::{Context, Result as Outcome};

/// The content of cgroup.events; both fields count the cgroups below as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// There are processes.
    pub populated: bool,
    /// All of them are frozen.
    pub frozen: bool,
}

/// An open cgroup.events.
pub struct Events(OwnedFd);

impl Events {
    /// Opens a cgroup's file.
    pub fn open(cgroup: impl AsFd) -> Result<Events, Errno> {
        Events::open_at(cgroup, "cgroup.events")
    }

    /// Opens the file at a path below a cgroup.
    pub fn open_at(cgroup: impl AsFd, path: &str) -> Result<Events, Errno> {
        open_file(cgroup, path, OFlags::RDONLY).map(Events)
    }

    /// The state now; a cgroup that is gone has no processes.
    pub fn state(&self) -> Result<State, Errno> {
        let mut content = [0; 256];
        match pread(&self.0, &mut content, 0) {
            Ok(length) => Ok(parse(&content[..length])),
            Err(Errno::NODEV) => Ok(State::default()),
            Err(errno) => Err(errno),
        }
    }

    /// Waits until `reached` holds; false if it does not by the deadline.
    pub fn wait(&self, deadline: Instant, reached: impl Fn(State) -> bool) -> Result<bool, Errno> {
        loop {
            // Reading arms the notification: any change after it ends the poll.
            if reached(self.state()?) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.poll(left)?;
        }
    }

    /// Sleeps until the file changes, but at most this long.
    pub fn poll(&self, at_most: Duration) -> Result<(), Errno> {
        let timeout =
            Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.0, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// An open memory.events. It becomes ready for `PollFlags::PRI` when a counter changes.
#[derive(Debug)]
pub struct MemoryEvents(OwnedFd);

impl MemoryEvents {
    /// Arms the notification: only changes after this call end a poll.
    pub fn rearm(&self) {
        // An error means that the cgroup is gone, and then nothing will change.
        let _ = pread(&self.0, &mut [0; 256], 0);
    }
}

impl AsFd for MemoryEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Cgroup {
    /// Opens memory.events, armed; `None` without the memory controller.
    pub fn memory_events(&self) -> Outcome<Option<MemoryEvents>> {
        match open_file(self.fd(), "memory.events", OFlags::RDONLY) {
            Ok(file) => {
                let events = MemoryEvents(file);
                events.rearm();
                Ok(Some(events))
            }
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("open memory.events of cgroup {}", self.path())),
        }
    }
}

fn parse(content: &[u8]) -> State {
    let says = |line: &[u8]| content.split(|byte| *byte == b'\n').any(|found| found == line);
    State { populated: says(b"populated 1"), frozen: says(b"frozen 1") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_keys_in_any_order() {
        assert_eq!(parse(b"populated 1\nfrozen 0\n"), State { populated: true, frozen: false });
        assert_eq!(parse(b"frozen 1\nnew 1\npopulated 0\n"), State { populated: false, frozen: true });
        assert_eq!(parse(b""), State::default());
    }
}
