//! A container's network namespace, made by the runtime while init mounts: nothing of a container takes the kernel as
//! long.

use std::os::fd::OwnedFd;

use linux_raw_sys::general::CLONE_NEWNET;
use pillbox_init::sys::{setns, unshare_namespaces};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Makes a network namespace with its loopback up. The calling thread stands in it for the time; others never do.
///
/// # Errors
/// The kernel refuses it, or lets the thread not back.
pub fn make() -> Result<OwnedFd> {
    let step = || "linux.namespaces: make a network namespace (of user.max_net_namespaces at most)";
    let home = open_own().context(step)?;
    unshare_namespaces(CLONE_NEWNET).context(step)?;
    let made = open_own().context(step).and_then(|made| {
        set_loopback_up(&mut Socket::open_plain().map_err(failed)?)?;
        Ok(made)
    });
    setns(&home, CLONE_NEWNET).context(step)?;
    made
}

/// Sets the loopback of the socket's namespace up.
pub fn set_loopback_up(socket: &mut Socket) -> Result<()> {
    let up = link::set_up(LOOPBACK_INDEX).and_then(|up| socket.request(&[up]));
    up.map_err(failed)
}

fn failed(error: pillbox_netlink::Error) -> Error {
    Error::formatted(format_args!("set the loopback interface up: {error}"))
}

fn open_own() -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
