//! Terminals: sending a master to the caller, or standing between it and the user's terminal.

mod keyboard;
mod relay;
mod ring;
mod stream;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use pillbox_init::plan::TAKEN_TREES_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::{Context, Result};
use crate::sys::process_end::PATIENCE_MS;
use crate::sys::unix_socket;

pub use relay::Relay;

/// Sends one descriptor to the socket at `path`, with `payload`: in one message, if the socket has room for it. Waits for no
/// answer.
///
/// # Errors
/// Nobody listens there, its queue is full, or what it has no room for is not read within ten seconds.
pub fn send_descriptor(path: &Path, descriptor: &OwnedFd, payload: &str) -> Result<()> {
    let step = || format!("send to {}", path.display());
    // Non-blocking: a listener that never accepts must not hold the container up.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).context(step)?;
    unix_socket::connect(&socket, path).context(step)?;
    let sent = send_with_descriptors(&socket, payload.as_bytes(), &[descriptor.as_fd()]).context(step)?;
    send_rest(&socket, &payload.as_bytes()[sent..]).context(step)
}

fn send_rest(socket: &OwnedFd, mut rest: &[u8]) -> std::result::Result<(), Errno> {
    while !rest.is_empty() {
        match rustix::net::send(socket, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let limit = Timespec { tv_sec: PATIENCE_MS / 1000, tv_nsec: 0 };
                match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit)) {
                    Ok(0) => return Err(Errno::TIMEDOUT),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// One message on a connected socket, with up to 253 descriptors: SCM_MAX_FD, unix(7). The result is how much of the payload went.
pub fn send_with_descriptors(
    socket: &OwnedFd,
    payload: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> std::result::Result<usize, Errno> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TAKEN_TREES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(descriptors));
    let parts = [rustix::io::IoSlice::new(payload)];
    rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
}

/// Gives the container's terminal the size of the user's, which is whichever of the three streams is one; false if none
/// is.
pub fn copy_size(master: &OwnedFd) -> bool {
    let streams = [stdin(), stdout(), rustix::stdio::stderr()];
    let size = streams.into_iter().find_map(|stream| rustix::termios::tcgetwinsize(stream).ok());
    // Without it the container's terminal keeps the size that it has.
    size.is_some_and(|size| rustix::termios::tcsetwinsize(master, size).is_ok())
}

/// The descriptor 0.
fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// The descriptor 1.
fn stdout() -> BorrowedFd<'static> {
    rustix::stdio::stdout()
}
