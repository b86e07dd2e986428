//! Connects to sockets by paths of any length; an address has room for 107 bytes (unix(7)).

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::net::SocketAddrUnix;

/// connect(2) to the socket at `path`.
///
/// # Errors
/// There is no socket, or nothing listens on it.
pub fn connect(socket: impl AsFd, path: &Path) -> Result<()> {
    match SocketAddrUnix::new(path) {
        Err(Errno::NAMETOOLONG) => {
            let place = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let short = SocketAddrUnix::new(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
            rustix::net::connect(socket, &short)
        }
        address => rustix::net::connect(socket, &address?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_as_long_as_the_kernel_has_them() {
        let top = std::env::temp_dir().join(format!("pillbox-socket-{}", std::process::id()));
        for length in [1, 60, 255] {
            let folder = top.join("f".repeat(length)).join("g".repeat(length));
            std::fs::create_dir_all(&folder).expect("folder");
            // Binding needs a short name as well.
            let name = folder.join("s".repeat(length));
            let short = top.join("short");
            let listener = std::os::unix::net::UnixListener::bind(&short).expect("bind");
            std::fs::rename(&short, &name).expect("rename");
            let socket =
                rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
            connect(socket.expect("socket"), &name).expect("connect");
            drop(listener);
        }
        std::fs::remove_dir_all(top).expect("remove");
    }
}
