//! Terminals and the caller's streams: passing a terminal's master to another program, and copying between a
//! container's terminal and the user's.
//!
//! May use `cgroup` and every room below it.

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

/// Sends a descriptor and `payload` to the socket at `path`, in one message if it has room. Does not wait for
/// an answer.
///
/// # Errors
/// Nothing listens there, its queue is full, or what it has no room for is not read within ten seconds.
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

/// Sends a message with up to 253 descriptors (SCM_MAX_FD, unix(7)) on a connected socket; returns how much
/// of the payload was sent.
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

/// Gives the container's terminal the size of the user's, which is the first of the three streams that is a
/// terminal; false if none is.
pub fn copy_size(master: &OwnedFd) -> bool {
    let streams = [stdin(), stdout(), rustix::stdio::stderr()];
    let size = streams.into_iter().find_map(|stream| rustix::termios::tcgetwinsize(stream).ok());
    // If this fails, the container's terminal keeps its size.
    size.is_some_and(|size| rustix::termios::tcsetwinsize(master, size).is_ok())
}

/// Descriptor 0.
fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// Descriptor 1.
fn stdout() -> BorrowedFd<'static> {
    rustix::stdio::stdout()
}
