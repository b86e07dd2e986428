//! The gate: a listening socket that init waits at for `start`.

use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::{GATE, StateDirectory};
use crate::error::{Context, Result};

impl StateDirectory {
    /// A listening socket at `gate`, for init: of packets, so that each of its reports is read by itself.
    pub fn make_gate() -> Result<OwnedFd> {
        socket(SocketType::SEQPACKET).context(|| "make the gate")
    }

    /// Gives the gate its name, and lets others come: init, which has inherited it, takes nobody in before it is ready.
    pub fn open_gate(&self, gate: &OwnedFd) -> Result<()> {
        let step = || format!("listen on {}/{GATE}", self.path.display());
        let address = self.gate_address().context(step)?;
        rustix::net::bind(gate, &address).context(step)?;
        rustix::net::listen(gate, 8).context(step)
    }

    /// Whether init waits at the gate.
    pub(super) fn is_gate_watched(&self) -> Result<bool> {
        if !self.has_gate().context(|| format!("stat {}/{GATE}", self.path.display()))? {
            return Ok(false);
        }
        self.gate_address()
            .and_then(|gate| is_watched(&probe()?, &gate))
            .context(|| format!("connect to {}/{GATE}", self.path.display()))
    }

    fn has_gate(&self) -> rustix::io::Result<bool> {
        match rustix::fs::statat(&self.directory, GATE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn gate_address(&self) -> rustix::io::Result<SocketAddrUnix> {
        gate_address(&self.directory)
    }

    /// Connects to init's gate; `None` when init does not wait there (any more).
    pub fn connect_gate(&self) -> Result<Option<OwnedFd>> {
        let connect = || {
            let socket = socket(SocketType::SEQPACKET)?;
            match rustix::net::connect(&socket, &self.gate_address()?) {
                Ok(()) => Ok(Some(socket)),
                Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(None),
                Err(errno) => Err(errno),
            }
        };
        connect().context(|| format!("connect to {}/{GATE}", self.path.display()))
    }

    /// Opens the gate: the byte that init waits for.
    pub fn send_start(gate: &OwnedFd) -> rustix::io::Result<()> {
        rustix::net::send(gate, b"s", SendFlags::NOSIGNAL).map(drop)
    }

    /// The gate has served.
    pub fn remove_gate(&self) {
        // Left behind it costs a connect at the next look, nothing else.
        let _ = rustix::fs::unlinkat(&self.directory, GATE, AtFlags::empty());
    }
}

/// The gate in a container's folder. Socket paths end at 107 bytes, and the folder's alone may have more: the descriptor
/// leads there.
pub(super) fn gate_address(folder: &OwnedFd) -> rustix::io::Result<SocketAddrUnix> {
    use std::os::fd::AsRawFd;
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{GATE}", folder.as_raw_fd()))
}

fn socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

/// A socket to ask gates with, one after the other, for it never gets connected.
pub(super) fn probe() -> rustix::io::Result<OwnedFd> {
    socket(SocketType::DGRAM)
}

/// Whether init waits at that gate. A socket of another type is refused by a gate that is watched, without a word to
/// init, which need not wake for that. Nobody but init has the gate, so that who watches is alive.
pub(super) fn is_watched(probe: &OwnedFd, gate: &SocketAddrUnix) -> rustix::io::Result<bool> {
    match rustix::net::connect(probe, gate) {
        Err(Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        connected => connected.map(|()| true),
    }
}
