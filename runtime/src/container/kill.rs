//! Signals to a container.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::delete::matching;
use super::processes::{not_running, open_cgroup};
use crate::cgroup::Cgroup;
use crate::error::{Context, Result};
use crate::oci::ContainerId;
use crate::state::{Root, send_signal};
use crate::text::order;

/// The processes that get the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Init alone.
    Init,
    /// Every process of the container.
    All,
}

/// Sends a signal. `None` is like signal 0 of kill(2): nothing is sent, but the errors are the same.
///
/// # Errors
/// There is no such container, or it is not running (which is no error with [`Target::All`]).
pub fn kill(root: &Root, id: &ContainerId, signal: Option<Signal>, target: Target) -> Result<()> {
    let directory = root.find(id)?;
    let record = directory.load()?;
    let process = record.open_process()?;
    let (process, signal) = match (target, process, signal) {
        (Target::Init, None, _) => return Err(not_running("kill", &record.id)),
        (_, _, None) => return Ok(()),
        (Target::Init, Some(process), Some(signal)) => return send_signal(&process, signal),
        (Target::All, process, Some(signal)) => (process, signal),
    };
    match (open_cgroup(&directory, &record, process.is_some())?, process) {
        (Some(cgroup), _) if signal == Signal::KILL => cgroup.kill(),
        (Some(cgroup), _) => signal_each(&cgroup, signal),
        (None, Some(process)) => send_signal(&process, signal),
        (None, None) => Ok(()),
    }
}

/// Signals by pidfd, and only processes that are still in the cgroup after their pidfd was opened: a pid may
/// have passed to an unrelated process since it was read.
fn signal_each(cgroup: &Cgroup, signal: Signal) -> Result<()> {
    /// How many pidfds are open at once.
    const AT_ONCE: usize = 64;
    for pids in cgroup.pids()?.chunks(AT_ONCE) {
        let mut opened = Vec::with_capacity(pids.len());
        for &pid in pids {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(process) => opened.push((pid.as_raw_pid(), process)),
                // It has ended, and its pid may have passed to a thread: see `ProcessId`.
                Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("open process {}", pid.as_raw_pid())),
            }
        }
        let mut still: Vec<_> = cgroup.pids()?.into_iter().map(Pid::as_raw_pid).collect();
        order::sort(&mut still, |left, right| left < right);
        for (_, process) in opened.iter().filter(|(pid, _)| still.binary_search(pid).is_ok()) {
            match pidfd_send_signal(process, signal) {
                // One that has ended meanwhile needs no signal.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno).context(|| format!("send signal {}", signal.as_raw())),
            }
        }
    }
    Ok(())
}

/// [`kill`]s every container whose id matches `pattern`, a POSIX extended regular expression that need not
/// match all of it.
///
/// # Errors
/// The pattern is not such an expression, or a container could not be signalled: the first error, after all
/// others have been.
pub fn kill_matching(root: &Root, pattern: &str, signal: Option<Signal>, target: Target) -> Result<()> {
    let mut first_error = Ok(());
    for id in matching(root, pattern)? {
        first_error = first_error.and(kill(root, &id, signal, target));
    }
    first_error
}
