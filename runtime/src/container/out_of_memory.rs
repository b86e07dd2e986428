//! An init that the container's own memory limit has killed.

use crate::cgroup::{Cgroup, Statistics};
use crate::error::{Error, Kind};

/// The error of an init that was killed, with the reason where the cgroup knows it; any other error as it is.
pub(super) fn explain_kill(error: Error, cgroup: Option<&Cgroup>) -> Error {
    let Some(cgroup) = cgroup.filter(|_| error.kind() == Kind::Killed) else { return error };
    let mut statistics = Statistics::default();
    // What cannot be read explains nothing.
    match statistics.ooms(cgroup) {
        Ok(Some(1..)) => {
            let limit = statistics.memory_max(cgroup).ok().flatten().unwrap_or_default();
            let text = format!(
                "{error}: out of memory: the cgroup may use {limit} bytes: raise linux.resources.memory.limit"
            );
            Error::of(Kind::OutOfMemory, text).with_status(error.status())
        }
        _ => error,
    }
}
