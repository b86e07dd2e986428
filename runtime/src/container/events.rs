//! Watching a container: its resource usage, and processes that the kernel kills because memory has run out.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::processes::{live_cgroup, not_running};
use crate::cgroup::{Cgroup, MemoryEvents, Statistics};
use crate::error::{Context, Result};
use crate::oci::ContainerId;
use crate::state::Root;

/// An event in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'w> {
    /// The interval is over: the statistics, as a JSON document on one line.
    Stats(&'w str),
    /// The kernel has killed a process of the container because memory has run out.
    OutOfMemory,
}

/// How many processes of a container the kernel has killed because memory had run out; also of one that has
/// ended. None where that is not counted.
///
/// # Errors
/// There is no such container; its cgroup cannot be read.
pub fn out_of_memory_kills(root: &Root, id: &ContainerId) -> Result<Option<u64>> {
    match root.find(id)?.load()?.open_cgroup()? {
        Some(cgroup) => Statistics::default().oom_kills(&cgroup),
        None => Ok(None),
    }
}

/// A container that is being watched.
pub struct Watch {
    process: OwnedFd,
    cgroup: Cgroup,
    memory: Option<MemoryEvents>,
    statistics: Statistics,
    kills: u64,
    interval: Duration,
    next: Instant,
}

impl Watch {
    /// Watches a container that has not ended; the first statistics come after `interval`.
    ///
    /// # Errors
    /// There is no such container, it has ended or has no cgroup.
    pub fn new(root: &Root, id: &ContainerId, interval: Duration) -> Result<Watch> {
        let record = root.find(id)?.load()?;
        let cgroup = live_cgroup(&record, "watch")?;
        let process = record.open_process()?.ok_or_else(|| not_running("watch", &record.id))?;
        let memory = cgroup.memory_events()?;
        let mut statistics = Statistics::new(&cgroup)?;
        let kills = statistics.oom_kills(&cgroup)?.unwrap_or(0);
        let next = Instant::now() + interval;
        Ok(Watch { process, cgroup, memory, statistics, kills, interval, next })
    }

    /// The current statistics.
    pub fn stats(&mut self) -> Result<&str> {
        self.statistics.read(&self.cgroup)
    }

    /// Waits for the next event; `None` when the container has ended.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>> {
        loop {
            let left = self.next.saturating_duration_since(Instant::now());
            let has_ended = self.sleep(left)?;
            // Also at the end: the last process that the kernel killed may have been init.
            let kills = self.statistics.oom_kills(&self.cgroup)?.unwrap_or(self.kills);
            if kills > self.kills {
                self.kills = kills;
                return Ok(Some(Event::OutOfMemory));
            }
            if has_ended {
                return Ok(None);
            }
            if Instant::now() >= self.next {
                self.next += self.interval;
                return Ok(Some(Event::Stats(self.stats()?)));
            }
        }
    }

    /// Sleeps until something may have happened, but not longer than `at_most`; true if the container has
    /// ended.
    fn sleep(&self, at_most: Duration) -> Result<bool> {
        let timeout =
            Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        let memory = self.memory.as_ref().map(|memory| PollFd::new(memory, PollFlags::PRI));
        let process = PollFd::new(&self.process, PollFlags::IN);
        let count = 1 + usize::from(memory.is_some());
        let mut polled = [process.clone(), memory.unwrap_or(process)];
        match poll(&mut polled[..count], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for events"),
        }
        let has_ended = polled[0].revents().contains(PollFlags::IN);
        if let Some(memory) = &self.memory {
            // Reading arms the notification again.
            memory.rearm();
        }
        Ok(has_ended)
    }
}
