//! Pausing and resuming: the freezer of the container's cgroup.

use super::processes::live_cgroup;
use crate::error::{Error, Kind, Result};
use crate::oci::ContainerId;
use crate::state::Root;

/// Freezes every process of a created or running container, and returns when they stand still.
///
/// # Errors
/// There is no such container, it has ended or is paused already; it has no cgroup.
pub fn pause(root: &Root, id: &ContainerId) -> Result<()> {
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let cgroup = live_cgroup(&directory.load()?, "pause")?;
    if cgroup.is_frozen()? {
        return Err(Error::of(Kind::Status, format!("cannot pause container {id}: it is paused already")));
    }
    cgroup.freeze()
}

/// Lets a paused container go on.
///
/// # Errors
/// There is no such container, it has ended or is not paused; it has no cgroup.
pub fn resume(root: &Root, id: &ContainerId) -> Result<()> {
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let cgroup = live_cgroup(&directory.load()?, "resume")?;
    // What `pause` wrote counts, not whether all processes are frozen: one may have been moved in since.
    if !cgroup.is_freezing()? {
        return Err(Error::of(Kind::Status, format!("cannot resume container {id}: it is not paused")));
    }
    cgroup.thaw()
}
