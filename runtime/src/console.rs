//! Terminals: sending a master to the caller, or standing between it and the user's terminal.

mod keyboard;
mod relay;
mod ring;
mod stream;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use pillbox_init::plan::TAKEN_TREES_MAX;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

use crate::error::{Context, Result};

pub use relay::Relay;

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

/// Gives the container's terminal the size of the user's, which is whichever of the three streams is one; false if none
/// is.
pub fn copy_size(master: &OwnedFd) -> bool {
    let streams = [stdin(), stdout(), pillbox_init::sys::inherited_fd(2)];
    let size = streams.into_iter().find_map(|stream| rustix::termios::tcgetwinsize(stream).ok());
    // Without it the container's terminal keeps the size that it has.
    size.is_some_and(|size| rustix::termios::tcsetwinsize(master, size).is_ok())
}

/// The descriptor 0.
fn stdin() -> BorrowedFd<'static> {
    pillbox_init::sys::inherited_fd(0)
}

/// The descriptor 1.
fn stdout() -> BorrowedFd<'static> {
    pillbox_init::sys::inherited_fd(1)
}
