//! The processes of a cgroup: listing, killing and freezing them.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::events::{Events, State};
use super::file::{read_file, write_file};
use super::{Cgroup, PATIENCE, tree};
use crate::error::{Context, Error, Kind, Result};

impl Cgroup {
    /// Kills every process in it and below, frozen ones as well; returns before they are gone.
    ///
    /// Linux before 5.14 has no cgroup.kill: there each process is sent SIGKILL, and this waits until all are
    /// gone.
    pub fn kill(&self) -> Result<()> {
        match write_file(self.fd(), "cgroup.kill", "1") {
            Ok(()) | Err(Errno::NODEV) => Ok(()),
            Err(Errno::NOENT) => self.kill_each(),
            errno => errno.context(|| format!("write '1' to cgroup.kill of cgroup {}", self.path)),
        }
    }

    /// Freezes the cgroup first: a frozen process can't fork, and SIGKILL still works.
    pub(super) fn kill_each(&self) -> Result<()> {
        match write_file(self.fd(), "cgroup.freeze", "1") {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            written => written.context(|| format!("write '1' to cgroup.freeze of cgroup {}", self.path))?,
        }
        let killed = self.kill_until_empty();
        // Thaw even after a failure: the remaining processes must not stay frozen for ever.
        let thawed = write_file(self.fd(), "cgroup.freeze", "0")
            .context(|| format!("write '0' to cgroup.freeze of cgroup {}", self.path));
        killed.and(thawed)
    }

    fn kill_until_empty(&self) -> Result<()> {
        let step = || format!("read cgroup.events of cgroup {}", self.path);
        let events = Events::open(self.fd()).context(step)?;
        let deadline = Instant::now() + PATIENCE;
        while events.state().context(step)?.populated && Instant::now() < deadline {
            for pid in self.pids()? {
                match kill_process(pid, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => return Err(errno).context(|| format!("kill {}", pid.as_raw_pid())),
                }
            }
            events.poll(Duration::from_millis(10)).context(step)?;
        }
        Ok(())
    }

    /// Freezes every process in it and below, and waits until they are frozen.
    ///
    /// # Errors
    /// They are not frozen after 5 seconds; the cgroup is then thawed again.
    pub fn freeze(&self) -> Result<()> {
        let frozen = self.set_frozen(true);
        if frozen.is_err() {
            let _ = write_file(self.fd(), "cgroup.freeze", "0");
        }
        frozen
    }

    /// Lets the processes run again.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let value = if frozen { "1" } else { "0" };
        let step = || format!("write '{value}' to cgroup.freeze of cgroup {}", self.path);
        let events = Events::open(self.fd()).context(step)?;
        write_file(self.fd(), "cgroup.freeze", value).context(step)?;
        let waited = events.wait(Instant::now() + PATIENCE, |state| state.frozen == frozen);
        match waited.context(|| format!("read cgroup.events of cgroup {}", self.path)) {
            Ok(true) => Ok(()),
            // The cgroup is thawed; only reading its state failed.
            Err(_) if !frozen => Ok(()),
            Err(error) => Err(error),
            Ok(false) => Err(Error::formatted(format_args!(
                "cgroup {}: its processes did not {} within {} s",
                self.path,
                if frozen { "stop" } else { "continue" },
                PATIENCE.as_secs()
            ))
            .or_kind(Kind::Timeout)),
        }
    }

    /// Whether all processes are frozen.
    pub fn is_frozen(&self) -> Result<bool> {
        Ok(self.state()?.frozen)
    }

    /// Whether it is frozen or about to be: the last value written to cgroup.freeze.
    pub fn is_freezing(&self) -> Result<bool> {
        match read_file(self.fd(), "cgroup.freeze") {
            Ok(value) => Ok(value.trim_end() == "1"),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(errno).context(|| format!("read cgroup.freeze of cgroup {}", self.path)),
        }
    }

    /// Whether there are processes in it or below; false if it is gone.
    pub fn is_populated(&self) -> Result<bool> {
        Ok(self.state()?.populated)
    }

    pub(super) fn state(&self) -> Result<State> {
        match Events::open(self.fd()).and_then(|events| events.state()) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(State::default()),
            state => state.context(|| format!("read cgroup.events of cgroup {}", self.path)),
        }
    }

    /// The processes in it and below, numbered as in the caller's pid namespace.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        let read = |cgroup: BorrowedFd<'_>| {
            match read_file(cgroup, "cgroup.procs") {
                // Processes outside the caller's pid namespace are listed as 0, which kill(2) would take for
                // the caller's own group.
                Ok(list) => pids.extend(list.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?))),
                // Removed in between; or threaded, and then its processes are listed in a cgroup above.
                Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
            Ok(())
        };
        match tree::for_each(self.fd(), read) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(pids),
            Err(errno) => Err(errno).context(|| format!("read cgroup.procs of cgroup {}", self.path)),
        }
    }
}
