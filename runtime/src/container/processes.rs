//! The processes of a container, found through its cgroup.

use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::oci::ContainerId;
use crate::state::{Record, Root, StateDirectory};

/// The processes of a container, including those in cgroups that it has made itself, with their pids in the
/// caller's pid namespace; none if it has ended.
///
/// # Errors
/// There is no such container; it has no cgroup.
pub fn pids(root: &Root, id: &ContainerId) -> Result<Vec<Pid>> {
    let directory = root.find(id)?;
    let record = directory.load()?;
    let is_alive = record.is_alive()?;
    match open_cgroup(&directory, &record, is_alive)? {
        Some(cgroup) => cgroup.pids(),
        None if !is_alive => Ok(Vec::new()),
        None => Err(without_cgroup(&record, "list the processes of")),
    }
}

/// Opens the container's cgroup. While the first process lives, all processes in it are the container's;
/// after that, it may have become another's, which [`StateDirectory::open_left_cgroup`] finds out.
pub(super) fn open_cgroup(
    directory: &StateDirectory,
    record: &Record,
    is_alive: bool,
) -> Result<Option<Cgroup>> {
    if is_alive { record.open_cgroup() } else { directory.open_left_cgroup(record) }
}

/// The cgroup of a container that has not ended; `verb` says in the error what cannot be done.
pub(super) fn live_cgroup(record: &Record, verb: &str) -> Result<Cgroup> {
    if !record.is_alive()? {
        return Err(not_running(verb, &record.id));
    }
    record.open_cgroup()?.ok_or_else(|| without_cgroup(record, verb))
}

/// The error if a container has ended, with the words that callers look for; `verb` says what cannot be done.
pub(super) fn not_running(verb: &str, id: &str) -> Error {
    Error::of(Kind::Status, format!("cannot {verb} container {id}: container not running"))
}

fn without_cgroup(record: &Record, verb: &str) -> Error {
    Error::formatted(format_args!(
        "cannot {verb} container {}: it has no cgroup (--cgroup-manager=disabled, or its user may not make one)",
        record.id
    )).or_kind(Kind::Cgroup)
}
