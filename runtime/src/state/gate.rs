//! The gate: a listening socket at which init waits for `start`.

use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::{GATE, StateDirectory};
use crate::error::{Context, Result};

impl StateDirectory {
    /// Makes the gate's socket for init. It keeps packet boundaries, so that each of init's reports is read
    /// by itself.
    pub fn make_gate() -> Result<OwnedFd> {
        socket(SocketType::SEQPACKET).context(|| "make the gate")
    }

    /// Binds the gate to its name and listens. Connections wait there until init, which has inherited the
    /// socket, is ready to accept one.
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

    /// Connects to the gate; `None` if init does not wait there, or no longer.
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

    /// Sends the byte that init waits for.
    pub fn send_start(gate: &OwnedFd) -> rustix::io::Result<()> {
        rustix::net::send(gate, b"s", SendFlags::NOSIGNAL).map(drop)
    }

    /// Removes the gate once it has served.
    pub fn remove_gate(&self) {
        // A gate left behind only costs each later look a failed connect.
        let _ = rustix::fs::unlinkat(&self.directory, GATE, AtFlags::empty());
    }
}

/// The address of the gate in a container's folder. It goes by the descriptor, because socket paths are
/// limited to 107 bytes, and the folder's path alone may be longer.
pub(super) fn gate_address(folder: &OwnedFd) -> rustix::io::Result<SocketAddrUnix> {
    use std::os::fd::AsRawFd;
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{GATE}", folder.as_raw_fd()))
}

fn socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

/// A socket to probe gates with; it never gets connected, and so serves for any number of them.
pub(super) fn probe() -> rustix::io::Result<OwnedFd> {
    socket(SocketType::DGRAM)
}

/// Whether init waits at a gate. The probe is of another type: the kernel refuses it if a process listens
/// there, without waking init. Only init has the listening socket, so that init is alive if the gate is
/// watched.
pub(super) fn is_watched(probe: &OwnedFd, gate: &SocketAddrUnix) -> rustix::io::Result<bool> {
    match rustix::net::connect(probe, gate) {
        Err(Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        connected => connected.map(|()| true),
    }
}
