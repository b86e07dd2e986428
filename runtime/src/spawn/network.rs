//! A container's network namespace. It is made in parallel with everything else, because nothing takes the
//! kernel longer.

use std::os::fd::{AsFd, OwnedFd};

use pillbox_init::plan::Turn;
use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
use rustix::process::Pid;

use crate::error::{Context, Error, Kind, Result};
use crate::plan::Plan;
use crate::spawn::net_device;
use crate::sys::{self, NetworkStep, NetworkThread};
use crate::validate::NamespaceKind;

const MAKE: &str = "linux.namespaces: make a network namespace (of user.max_net_namespaces at most)";

/// A network namespace that is being made, with its loopback up, and sent to init: [`Turn::Network`]. Only
/// the thread that makes it, which then ends, is ever inside.
pub struct Making(NetworkThread);

impl Making {
    /// Begins to make it. The namespace, or an end of file, arrives at the other end of `channel`.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn begin(channel: &OwnedFd) -> Result<Making> {
        let request = link::set_up(LOOPBACK_INDEX).and_then(|up| up.encode(1)).map_err(failed)?;
        NetworkThread::begin(channel, Turn::Network as u8, request)
            .map(Making)
            .context(|| MAKE)
            .map_err(of_network)
    }

    /// The thread, for a process that is cloned meanwhile.
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

/// Configures the network namespace of init, whose pid is `pid` and in which `socket` was opened: sets up the
/// loopback of a new namespace (not of a joined one), then moves interfaces into it.
///
/// # Errors
/// What the kernel refuses.
pub fn configure(socket: OwnedFd, plan: &Plan, pid: Pid) -> Result<Socket> {
    let mut socket = Socket::from_fd(socket)
        .map_err(|error| Error::formatted(format_args!("init's netlink socket: {error}")))?;
    if plan.namespaces.makes(NamespaceKind::Network) && !plan.namespaces.network_meanwhile {
        let up = link::set_up(LOOPBACK_INDEX).and_then(|up| socket.request(&[up]));
        up.map_err(failed)?;
    }
    if !plan.net_devices.is_empty() {
        net_device::move_into(&plan.net_devices, pid, &mut socket)?;
    }
    Ok(socket)
}

/// The network namespace in which the socket was opened.
///
/// # Errors
/// The caller has no CAP_NET_ADMIN there.
pub fn namespace_of(socket: &Socket) -> Result<OwnedFd> {
    sys::network_of(socket.as_fd()).context(|| "ask a socket for its network namespace").map_err(of_network)
}

fn failed(error: pillbox_netlink::Error) -> Error {
    of_network(Error::formatted(format_args!("set the loopback interface up: {error}")))
}

fn of_network(error: Error) -> Error {
    error.or_kind(Kind::Network)
}
