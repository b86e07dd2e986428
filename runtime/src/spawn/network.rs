//! A container's network namespace, made beside everything else: nothing of a container takes the kernel as long.

use std::os::fd::OwnedFd;

use pillbox_init::plan::Turn;
use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};

use crate::error::{Context, Error, Result};
use crate::sys::{NetworkStep, NetworkThread};

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
        NetworkThread::begin(channel, Turn::Network as u8, request).map(Making).context(|| MAKE)
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
            Err(errno).context(|| match step {
                NetworkStep::Make => MAKE,
                NetworkStep::Loopback => "set the loopback interface up",
                NetworkStep::Send => "hand init its network namespace",
            })
        })
    }
}

/// Sets the loopback of the socket's namespace up.
pub fn set_loopback_up(socket: &mut Socket) -> Result<()> {
    let up = link::set_up(LOOPBACK_INDEX).and_then(|up| socket.request(&[up]));
    up.map_err(failed)
}

fn failed(error: pillbox_netlink::Error) -> Error {
    Error::formatted(format_args!("set the loopback interface up: {error}"))
}
