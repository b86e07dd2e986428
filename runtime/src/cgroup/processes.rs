//! The processes of a cgroup: listing, killing, freezing.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::events::{Events, State};
use super::file::{read_file, write_file};
use super::{Cgroup, PATIENCE, tree};
use crate::error::{Context, Error, Result};

impl Cgroup {
    /// Kills every process in it and below, also when it is frozen; returns before they are gone.
    ///
    /// Before Linux 5.14 there is no cgroup.kill: then each process gets its SIGKILL, and they are waited for.
    pub fn kill(&self) -> Result<()> {
        match write_file(self.fd(), "cgroup.kill", "1") {
            Ok(()) | Err(Errno::NODEV) => Ok(()),
            Err(Errno::NOENT) => self.kill_each(),
            errno => errno.context(|| format!("write '1' to cgroup.kill of cgroup {}", self.path)),
        }
    }

    /// Freezes first: who stands still can't fork, and SIGKILL works all the same.
    pub(super) fn kill_each(&self) -> Result<()> {
        match write_file(self.fd(), "cgroup.freeze", "1") {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            written => written.context(|| format!("write '1' to cgroup.freeze of cgroup {}", self.path))?,
        }
        let killed = self.kill_until_empty();
        // Also after a failure: what is left must not stand still for ever.
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

    /// Stops every process in it and below, and waits until they stand still.
    ///
    /// # Errors
    /// They do not within 5 seconds; it is thawed again then.
    pub fn freeze(&self) -> Result<()> {
        let frozen = self.set_frozen(true);
        if frozen.is_err() {
            let _ = write_file(self.fd(), "cgroup.freeze", "0");
        }
        frozen
    }

    /// Lets them run again.
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
            // Nothing keeps them from going on now; only the look at it failed.
            Err(_) if !frozen => Ok(()),
            Err(error) => Err(error),
            Ok(false) => Err(Error::formatted(format_args!(
                "cgroup {}: its processes did not {} within {} s",
                self.path,
                if frozen { "stop" } else { "continue" },
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Whether all processes stand still.
    pub fn is_frozen(&self) -> Result<bool> {
        Ok(self.state()?.frozen)
    }

    /// Whether it is frozen or about to be: what was written to cgroup.freeze.
    pub fn is_freezing(&self) -> Result<bool> {
        match read_file(self.fd(), "cgroup.freeze") {
            Ok(value) => Ok(value.trim_end() == "1"),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(errno).context(|| format!("read cgroup.freeze of cgroup {}", self.path)),
        }
    }

    /// Whether there are processes in it or below; not when it is gone.
    pub fn is_populated(&self) -> Result<bool> {
        Ok(self.state()?.populated)
    }

    pub(super) fn state(&self) -> Result<State> {
        match Events::open(self.fd()).and_then(|events| events.state()) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(State::default()),
            state => state.context(|| format!("read cgroup.events of cgroup {}", self.path)),
        }
    }

    /// The processes in it and below, as the caller's pid namespace numbers them.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        let read = |cgroup: BorrowedFd<'_>| {
            match read_file(cgroup, "cgroup.procs") {
                // Those of another pid namespace are 0, which kill(2) would take for the caller's own group.
                Ok(list) => pids.extend(list.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?))),
                // Removed in between; or threaded, so that its processes are those of a cgroup above.
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
