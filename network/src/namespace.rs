//! Network namespaces that are reached by a path.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pillbox_netlink::Socket;
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, Result};

/// Opens the network namespace at a path; none if nothing is there any more.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &str) -> Result<Option<OwnedFd>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file.into())),
        Err(error) if is_gone(error.raw_os_error()) => Ok(None),
        Err(error) => Err(error).context(format_args!("open network namespace {path}")),
    }
}

fn is_gone(code: Option<i32>) -> bool {
    let gone = [Errno::NOENT, Errno::SRCH].map(Errno::raw_os_error);
    code.is_some_and(|code| gone.contains(&code))
}

/// An rtnetlink socket in the network namespace at a path; none if it is gone.
///
/// # Errors
/// It is no network namespace, or not one that the caller may enter.
pub fn open_socket(path: &str) -> Result<Option<Socket>> {
    let Some(namespace) = open(path)? else { return Ok(None) };
    match socket_in(namespace.as_fd()) {
        // What is left of a namespace that was pinned there: an empty file.
        Err(error) if error.errno() == Some(Errno::INVAL) => Ok(None),
        socket => socket.map(Some).map_err(|error| error.after(path)),
    }
}

/// An rtnetlink socket in a network namespace.
///
/// # Errors
/// As for [`within`]; the kernel gives no socket.
pub fn socket_in(namespace: BorrowedFd<'_>) -> Result<Socket> {
    Ok(within(namespace, Socket::open)??)
}

/// Does something in a network namespace: opens sockets there. This thread goes there and comes back.
///
/// # Errors
/// It is no network namespace, or not one that the caller may enter.
pub fn within<T>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> T) -> Result<T> {
    const OWN: &str = "/proc/thread-self/ns/net";
    let own = File::open(OWN).context(format_args!("open {OWN}"))?;
    enter(namespace, "enter a network namespace")?;
    let done = act();
    // A process that may leave it may come back: the namespace belongs to the same user namespace.
    enter(own.as_fd(), "return to the host's network namespace")?;
    Ok(done)
}

fn enter(namespace: BorrowedFd<'_>, step: &str) -> Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).context(format_args!("{step}"))
}
