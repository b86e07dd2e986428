//! Terminals: sending a master to the caller, or standing between it and the user's terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use pillbox_init::plan::TAKEN_TREES_MAX;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use rustix::termios::{OptionalActions, Termios};

use crate::error::{Context, Result};

/// Sends one descriptor to the socket at `path`, in one message with `payload`; waits for no answer.
///
/// # Errors
/// Nobody listens there, or its queue is full.
pub fn send_descriptor(path: &Path, descriptor: &OwnedFd, payload: &str) -> Result<()> {
    let step = || format!("send to {}", path.display());
    // Non-blocking: a listener that never accepts must not hold the container up.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).context(step)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).context(step)?).context(step)?;
    send_with_descriptor(&socket, payload.as_bytes(), descriptor).context(step)
}

/// One message on a connected socket, with a descriptor.
pub fn send_with_descriptor(
    socket: &OwnedFd,
    payload: &[u8],
    descriptor: &OwnedFd,
) -> std::result::Result<(), Errno> {
    send_with_descriptors(socket, payload, &[descriptor.as_fd()])
}

/// The same with up to 253 of them: SCM_MAX_FD, unix(7).
pub fn send_with_descriptors(
    socket: &OwnedFd,
    payload: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> std::result::Result<(), Errno> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TAKEN_TREES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(descriptors));
    let parts = [rustix::io::IoSlice::new(payload)];
    rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// The user's terminal in raw mode, as it was again when dropped.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Makes stdin raw if it is a terminal.
    pub fn enter() -> Option<RawTerminal> {
        let before = rustix::termios::tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(RawTerminal { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = rustix::termios::tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Gives the container's terminal the size of the user's.
pub fn copy_size(master: &OwnedFd) {
    // Where the user has no terminal the container keeps the size that it has.
    if let Ok(size) = rustix::termios::tcgetwinsize(stdin()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

/// The descriptor 0.
pub fn stdin() -> BorrowedFd<'static> {
    pillbox_init::sys::inherited_fd(0)
}

/// The descriptor 1.
pub fn stdout() -> BorrowedFd<'static> {
    pillbox_init::sys::inherited_fd(1)
}

/// Passes on what can be read; `false` at the end of either side.
pub fn pass_on(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0u8; 8192];
    let mut rest = match rustix::io::read(from, &mut buffer) {
        // A pty whose slave side is closed reads as EIO.
        Ok(0) | Err(Errno::IO) => return false,
        Ok(length) => &buffer[..length],
        Err(Errno::INTR | Errno::AGAIN) => return true,
        Err(_) => return false,
    };
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                use rustix::event::{PollFd, PollFlags, poll};
                // What the caller's end cannot take yet is waited for, not lost.
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(_) => return false,
        }
    }
    true
}
