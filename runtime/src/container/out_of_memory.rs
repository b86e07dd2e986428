//! An init that the container's own memory limit has killed.

use crate::cgroup::{Cgroup, Statistics};
use crate::error::{Error, Kind};

/// Adds "out of memory" to the error of a killed init, if the cgroup says so. Other errors stay as they are.
pub(super) fn explain_kill(error: Error, cgroup: Option<&Cgroup>) -> Error {
    let Some(cgroup) = cgroup.filter(|_| error.kind() == Kind::Killed) else { return error };
    let mut statistics = Statistics::default();
    // If the statistics cannot be read, the reason is not known.
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
