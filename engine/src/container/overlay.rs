//! The overlay of a container that is kept, as long as it is mounted. Unmounting it syncs the whole disk, for which nobody is to wait
//! who only wants to know how the program ended.

use std::os::fd::OwnedFd;
use std::path::Path;

use pillbox::Container;
use rustix::fs::{Mode, OFlags};

use crate::error::{Kind, Result};
use crate::store::{Lock, Sharing};

/// Whoever keeps it decides when the overlay is unmounted: when the value is dropped, or later, with the container's last process.
#[derive(Debug)]
pub struct Overlay {
    // The first field is dropped first: the lock goes when it is unmounted.
    mount: Option<OwnedFd>,
    _lock: Lock,
}

impl Overlay {
    /// Of a container that is not mounted yet. As long as an earlier overlay with the same folder for its work is there, that is waited
    /// for: the kernel would let both write to the container's changes.
    ///
    /// # Errors
    /// The folder is not there.
    pub fn begin(work: &Path) -> Result<Overlay> {
        let lock =
            Lock::at(work, Sharing::Exclusive, "the container's root, until the disk has its changes")?;
        Ok(Overlay { mount: None, _lock: lock })
    }

    /// Waits until an earlier one is unmounted; one that was never there is no error. The caller holds the container's lock, so that there
    /// is no other one then.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn await_end(work: &Path) -> Result<()> {
        match Overlay::begin(work) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            begun => begun.map(drop),
        }
    }

    /// Keeps the mount that is the root of a container. One that cannot be reached goes with the container's last process.
    pub fn keep_root_of(&mut self, container: &Container) {
        if self.mount.is_none()
            && let Ok(pid) = container.pid()
        {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty());
            self.mount = root.ok();
        }
    }
}
