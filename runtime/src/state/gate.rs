//! The gate: a listening socket that init waits at for `start`.

use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::{GATE, StateDirectory};
use crate::error::{Context, Result};

impl StateDirectory {
    /// A listening socket at `gate`, for init.
    pub fn open_gate(&self) -> Result<OwnedFd> {
        let step = || format!("listen on {}/{GATE}", self.path.display());
        let gate =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .context(step)?;
        let address = self.gate_address().context(step)?;
        rustix::net::bind(&gate, &address).context(step)?;
        rustix::net::listen(&gate, 8).context(step)?;
        Ok(gate)
    }

    /// Whether init waits at the gate. A socket of another type is refused by a gate that is watched, without a word to
    /// init, which need not wake for that.
    pub(super) fn is_gate_watched(&self) -> Result<bool> {
        match self.connect(SocketType::DGRAM) {
            Err(Errno::PROTOTYPE) => Ok(true),
            connected => connected
                .map(|gate| gate.is_some())
                .context(|| format!("connect to {}/{GATE}", self.path.display())),
        }
    }

    /// Socket paths end at 107 bytes, and a container's folder alone may have more: the descriptor leads there.
    fn gate_address(&self) -> rustix::io::Result<SocketAddrUnix> {
        use std::os::fd::AsRawFd;
        SocketAddrUnix::new(format!("/proc/self/fd/{}/{GATE}", self.directory.as_raw_fd()))
    }

    /// Connects to init's gate; `None` when init does not wait there (any more).
    pub fn connect_gate(&self) -> Result<Option<OwnedFd>> {
        self.connect(SocketType::STREAM).context(|| format!("connect to {}/{GATE}", self.path.display()))
    }

    fn connect(&self, kind: SocketType) -> rustix::io::Result<Option<OwnedFd>> {
        match rustix::fs::statat(&self.directory, GATE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        match rustix::net::connect(&socket, &self.gate_address()?) {
            Ok(()) => Ok(Some(socket)),
            Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
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
