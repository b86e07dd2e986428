//! `linux.netDevices`: network interfaces of the host that move into the container (config-linux.md, "Network
//! Devices"). They keep their permanent global addresses, are set up, and are never moved back: the kernel
//! decides what becomes of them when the container ends.

use std::os::fd::{AsFd, OwnedFd};

use pillbox_netlink::address;
use pillbox_netlink::{Cause, Error as NetlinkError, Socket, link};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Context, Error, Result};
use crate::plan::NetDevice;

/// Moves interfaces from the runtime's network namespace into that of `pid`, where `inside` was opened.
///
/// # Errors
/// An interface is missing, may not be moved, or its name is taken in the container. Interfaces that were
/// moved before it stay in the container.
pub fn move_into(devices: &[NetDevice], pid: Pid, inside: &mut Socket) -> Result<()> {
    let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
    let namespace = rustix::fs::openat(CWD, &*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("linux.netDevices: open {path}"))?;
    let mut outside =
        Socket::open().map_err(|error| Error::formatted(format_args!("linux.netDevices: {error}")))?;
    for device in devices {
        move_one(device, &namespace, &mut outside, inside).map_err(|error| {
            Error::formatted(format_args!("linux.netDevices.{}: {error}{}", device.name, hint(&error)))
        })?;
    }
    Ok(())
}

fn move_one(
    device: &NetDevice,
    namespace: &OwnedFd,
    outside: &mut Socket,
    inside: &mut Socket,
) -> pillbox_netlink::Result<()> {
    let NetDevice { name, new_name } = device;
    let index = link::index_of(outside, name)?;
    // The move removes its addresses.
    let addresses = address::list(outside)?;
    let kept = addresses.iter().filter(|assigned| assigned.index == index && assigned.is_permanent_global());
    let before = link::list(inside)?;
    let wanted = new_name.as_ref().unwrap_or(name);
    // The kernel would move it first and refuse the name then: it would be lost with the failed container's
    // namespace.
    if before.iter().any(|known| known.name == *wanted) {
        return Err(Cause::Invalid(format!("the container has an interface {wanted:?} already")).into());
    }
    outside.request(&[link::move_to_namespace(index, namespace.as_fd(), new_name.as_deref())?])?;
    // The kernel may have given it another index and name in there. It is the interface that was not there
    // before.
    let after = link::list(inside)?;
    let Some(moved) = after.iter().find(|link| before.iter().all(|known| known.index != link.index)) else {
        return Err(Cause::Unanswered(format!("move link {name}")).into());
    };
    let add = kept
        .map(|assigned| address::add_as_assigned(moved.index, assigned))
        .collect::<pillbox_netlink::Result<Vec<_>>>()?;
    add.chunks(pillbox_netlink::MAX_BATCH).try_for_each(|batch| inside.request(batch))
}

fn hint(error: &NetlinkError) -> &'static str {
    match error.refused() {
        Some(Errno::NODEV) => ": there is no such interface where pillbox runs",
        Some(Errno::PERM) => ": moving interfaces needs CAP_NET_ADMIN",
        Some(Errno::INVAL) => ": it may be of a kind that cannot leave its network namespace",
        _ => "",
    }
}
