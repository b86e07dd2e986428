//! A container's network namespace, made beside everything else: nothing of a container takes the kernel as long.

use std::os::fd::OwnedFd;

use pillbox_init::plan::Turn;
use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
use rustix::process::Pid;

use crate::error::{Context, Error, Kind, Result};
use crate::plan::Plan;
use crate::spawn::net_device;
use crate::sys::{NetworkStep, NetworkThread};
use crate::validate::NamespaceKind;

const MAKE: &str = "linux.namespaces: make a network namespace (of user.max_net_namespaces at most)";

/// A network namespace with its loopback up, on its way to init: [`Turn::Network`]. Only the thread that makes it, and
/// goes, ever stands in it.
pub struct Making(NetworkThread);

impl Making {
    /// Begins to make it; the namespace comes out at the other end of `channel`, or the end of file.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn begin(channel: &OwnedFd) -> Result<Making> {
        let request = link::set_up(LOOPBACK_INDEX).and_then(|up| up.encode(1)).map_err(failed)?;
        NetworkThread::begin(channel, Turn::Network as u8, request)
            .map(Making)
            .context(|| MAKE)
            .map_err(of_network)
    }

    /// The thread, for whoever is cloned meanwhile.
    pub fn thread(&self) -> &NetworkThread {
        &self.0
    }

    /// Waits until it is made and sent.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn finish(&self) -> Result<()> {
        self.0.finish().or_else(|(step, errno)| {
            Err(errno)
                .context(|| match step {
                    NetworkStep::Make => MAKE,
                    NetworkStep::Loopback => "set the loopback interface up",
                    NetworkStep::Send => "hand init its network namespace",
                })
                .map_err(of_network)
        })
    }
}

/// What a plan wants in the network namespace of init, number `pid`, in which `socket` was opened: a new one gets its
/// loopback, one that is joined has what it needs; then come the interfaces that move.
///
/// # Errors
/// What the kernel refuses, by its field.
pub fn configure(socket: OwnedFd, plan: &Plan, pid: Pid) -> Result<()> {
    let mut socket = Socket::from_fd(socket)
        .map_err(|error| Error::formatted(format_args!("init's netlink socket: {error}")))?;
    if plan.namespaces.makes(NamespaceKind::Network) {
        let up = link::set_up(LOOPBACK_INDEX).and_then(|up| socket.request(&[up]));
        up.map_err(failed)?;
    }
    if plan.net_devices.is_empty() {
        return Ok(());
    }
    net_device::move_into(&plan.net_devices, pid, &mut socket)
}

fn failed(error: pillbox_netlink::Error) -> Error {
    of_network(Error::formatted(format_args!("set the loopback interface up: {error}")))
}

fn of_network(error: Error) -> Error {
    error.or_kind(Kind::Network)
}
