//! A container's network namespace, made by the runtime while init mounts: nothing of a container takes the kernel as
//! long.

use std::os::fd::OwnedFd;

use linux_raw_sys::general::CLONE_NEWNET;
use pillbox_init::sys::{set_loopback_up, setns, unshare_namespaces};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Makes a network namespace with its loopback up. The calling thread stands in it for the time; others never do.
///
/// # Errors
/// The kernel refuses it, or lets the thread not back.
pub fn make() -> Result<OwnedFd> {
    make_from_home()
        .context(|| "linux.namespaces: make a network namespace (of user.max_net_namespaces at most)")
}

fn make_from_home() -> std::result::Result<OwnedFd, Errno> {
    let home = open_own()?;
    let made = unshare_namespaces(CLONE_NEWNET).and_then(|()| set_loopback_up()).and_then(|()| open_own());
    setns(&home, CLONE_NEWNET)?;
    made
}

fn open_own() -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
