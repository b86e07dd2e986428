//! Following init through the clones of its entry.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use pillbox_init::plan::EntryStep;
use pillbox_init::report::Report;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::init::DURING_SET_UP;
use super::report::Message;
use super::{Init, SpawnError, entry};
use crate::error::{Context, Error};
use crate::sys::process_end::{PATIENCE_MS, children_may_be_collected, wait_until_gone};

impl Init {
    /// Follows init through the clones of its entry; the last one is init from then on. It is a child of the
    /// runtime, so its pid cannot pass to another process before it is waited for.
    pub(super) fn follow(&mut self, steps: &[EntryStep]) -> Result<(), SpawnError> {
        let mut unheld = Vec::new();
        let mut followed = self.hear_of_clones(steps, &mut unheld);
        for (pid, errno) in unheld {
            end_by_number(pid);
            let cause = Err(errno).context(|| "open init's pidfd").map_err(SpawnError::Other);
            followed = followed.and(cause);
        }
        followed
    }

    /// Adds to `unheld` the clones for which no pidfd could be opened, with the cause. They may be killed
    /// only when all clones have been reported: if one is killed earlier, nobody learns of the next clone.
    fn hear_of_clones(
        &mut self,
        steps: &[EntryStep],
        unheld: &mut Vec<(Pid, Errno)>,
    ) -> Result<(), SpawnError> {
        let is_clone = |step: &EntryStep| matches!(step, EntryStep::Clone { .. });
        let mut ahead = None;
        for (index, _) in (0..).zip(steps).filter(|(_, step)| is_clone(step)) {
            let pid = match ahead.take() {
                Some(pid) => pid,
                None => self.await_clone(steps, index, &mut ahead)?,
            };
            self.pid = Pid::from_raw(pid).ok_or_else(|| Error::new("init cloned itself into nothing"))?;
            match rustix::process::pidfd_open(self.pid, PidfdFlags::empty()) {
                Ok(process) if !children_may_be_collected() || is_child(&process) => {
                    self.lost = false;
                    self.forerunners.push(std::mem::replace(&mut self.process, process));
                }
                // It has ended, and the program that embeds the library has collected it; its last message is
                // read next.
                Ok(_) | Err(Errno::SRCH) => self.lost = true,
                Err(errno) => unheld.push((self.pid, errno)),
            }
        }
        Ok(())
    }

    /// Waits for the pid of the clone at step `index`; `ahead` gets the pid of a later clone whose report
    /// came first.
    fn await_clone(
        &mut self,
        steps: &[EntryStep],
        index: u32,
        ahead: &mut Option<i32>,
    ) -> Result<i32, SpawnError> {
        loop {
            match self.hear()? {
                Message::Report(Report::Forked { index: said, pid }, ..) if said == index => return Ok(pid),
                Message::Report(Report::Forked { pid, .. }, ..) => *ahead = Some(pid),
                Message::Report(Report::NotEntered { index, errno }, ..) => {
                    return Err(entry::word_failure(steps, index, Errno::from_raw_os_error(errno)));
                }
                message @ Message::Report(..) => self.early.push_back(message),
                Message::Closed | Message::Reset => {
                    return Err(self.describe_death(DURING_SET_UP).into());
                }
            }
        }
    }

    /// Collects the processes from which init has cloned itself: they end right after that.
    pub(super) fn reap_forerunners(&mut self) {
        for process in self.forerunners.drain(..) {
            let collect = || {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                rustix::process::waitid(WaitId::PidFd(process.as_fd()), options)
            };
            // Usually it has ended by now.
            if let Ok(None) = collect()
                && wait_until_gone(&process, PATIENCE_MS).unwrap_or(false)
            {
                let _ = collect();
            }
        }
    }
}

/// Whether it is a child that nobody has collected. If it is not, its pid may have passed to another process,
/// which must not be killed.
fn is_child(process: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(WaitId::PidFd(process.as_fd()), options), Err(Errno::CHILD))
}

/// Kills a clone of init for which there is no pidfd: it could be in a container's namespaces, and keep the
/// container from ending. As long as it can be waited for, its pid is its own.
fn end_by_number(pid: Pid) {
    const PAUSE: Duration = Duration::from_millis(5);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    for _ in 0..PATIENCE_MS / 5 {
        match rustix::process::waitid(WaitId::Pid(pid), options) {
            Ok(None) => {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                std::thread::sleep(PAUSE);
            }
            Err(Errno::INTR) => {}
            _ => return,
        }
    }
}
