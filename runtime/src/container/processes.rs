//! The processes of a container, by its cgroup.

use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::container_id::ContainerId;
use crate::error::{Error, Kind, Result};
use crate::state::{Record, Root};

/// The processes of a container, those in cgroups of its own making as well, as the caller's pid namespace numbers
/// them; none when it has ended.
///
/// # Errors
/// There is no such container; it has no cgroup.
pub fn pids(root: &Root, id: &ContainerId) -> Result<Vec<Pid>> {
    let record = root.find(id)?.load()?;
    match record.open_cgroup()? {
        Some(cgroup) => cgroup.pids(),
        None if !record.is_alive()? => Ok(Vec::new()),
        None => Err(without_cgroup(&record, "list the processes of")),
    }
}

/// The cgroup of a container that has not ended; `verb` is what is to be done, for the error.
pub(super) fn live_cgroup(record: &Record, verb: &str) -> Result<Cgroup> {
    if !record.is_alive()? {
        return Err(not_running(verb, &record.id));
    }
    record.open_cgroup()?.ok_or_else(|| without_cgroup(record, verb))
}

/// What callers look for when a container has ended; `verb` is what was to be done.
pub(super) fn not_running(verb: &str, id: &str) -> Error {
    Error::of(Kind::Status, format!("cannot {verb} container {id}: container not running"))
}

fn without_cgroup(record: &Record, verb: &str) -> Error {
    Error::formatted(format_args!(
        "cannot {verb} container {}: it has no cgroup (--cgroup-manager=disabled, or its user may not make one)",
        record.id
    ))
}
