//! A container's network namespace, made by the runtime while init mounts: nothing of a container takes the kernel as
//! long.

use std::os::fd::OwnedFd;

use linux_raw_sys::general::CLONE_NEWNET;
use pillbox_init::sys::{set_loopback_up, setns, unshare_namespaces};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result, describe_errno};

/// Makes a network namespace with its loopback up. The calling thread stands in it for the time; others never do.
///
/// # Errors
/// The kernel refuses it, or lets the thread not back.
pub fn make() -> Result<OwnedFd> {
    let home = open_own().context(|| "linux.namespaces: network: look up the runtime's own")?;
    let made = make_here();
    setns(&home, CLONE_NEWNET).context(|| "linux.namespaces: network: go back to the runtime's own")?;
    made.map_err(|errno| {
        let hint = match errno {
            Errno::NOSPC => ": a limit is reached (/proc/sys/user/max_net_namespaces)",
            _ => "",
        };
        Error::new(format!("linux.namespaces: network: {}{hint}", describe_errno(errno)))
    })
}

fn make_here() -> std::result::Result<OwnedFd, Errno> {
    unshare_namespaces(CLONE_NEWNET)?;
    set_loopback_up()?;
    open_own()
}

fn open_own() -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
