//! sd_notify(3) for containers: each has a socket of its own, of whose messages the runtime passes `READY=1` on. The
//! service manager would not heed the container's processes, which are not the service's; and nothing else that they
//! say is theirs to say.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Context, Result};

/// The variable, for errors too.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// In the container's state folder; inside the container it lies where the variable says.
pub const FOLDER: &str = "notify";

/// The socket in it.
const SOCKET: &str = "notify/notify";

/// The container's end, and the service manager's address.
#[derive(Debug)]
pub struct Proxy {
    socket: OwnedFd,
    manager: String,
}

/// Makes the folder that is mounted in the container.
pub fn make_folder(state: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::mkdirat(state, FOLDER, Mode::from_raw_mode(0o755)).context(|| VARIABLE)
}

/// Listens for the container; none if it was created without.
pub fn listen(state: BorrowedFd<'_>, manager: &str) -> Result<Option<Proxy>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).context(|| VARIABLE)?;
    // Socket paths end at 107 bytes.
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", state.as_raw_fd()));
    let _ = rustix::fs::unlinkat(state, SOCKET, AtFlags::empty());
    match address.and_then(|address| rustix::net::bind(&socket, &address)) {
        Err(Errno::NOENT) => return Ok(None),
        bound => bound.context(|| VARIABLE)?,
    }
    // Whoever the container's user is.
    rustix::fs::chmodat(state, SOCKET, Mode::from_raw_mode(0o777), AtFlags::empty()).context(|| VARIABLE)?;
    Ok(Some(Proxy { socket, manager: manager.to_string() }))
}

/// Removes what [`make_folder`] and [`listen`] made.
pub fn forget(state: BorrowedFd<'_>) {
    let _ = rustix::fs::unlinkat(state, SOCKET, AtFlags::empty());
    let _ = rustix::fs::unlinkat(state, FOLDER, AtFlags::REMOVEDIR);
}

impl Proxy {
    /// What is readable when the container has said something.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads one message; the result is whether the container is ready, which the manager then knows, and what its
    /// main process is where that is no child of a process that stays.
    pub fn pass_on(&self, main: Option<i32>) -> Result<bool> {
        let mut message = [0; 4096];
        let length = match rustix::net::recv(&self.socket, &mut message, RecvFlags::empty()) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            received => received.context(|| VARIABLE)?.0,
        };
        if !message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(false);
        }
        let text = main.map_or("READY=1".to_string(), |pid| format!("MAINPID={pid}\nREADY=1"));
        let manager = match self.manager.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(&*self.manager),
        };
        let step = || format!("{VARIABLE}: send to {}", self.manager);
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
                .context(step)?;
        rustix::net::sendto(&socket, text.as_bytes(), SendFlags::NOSIGNAL, &manager.context(step)?)
            .context(step)?;
        Ok(true)
    }

    /// Waits until the container is ready, or `process`, its first, has ended: then nobody is told anything.
    ///
    /// # Errors
    /// The manager could not be told.
    pub fn wait(&self, process: &OwnedFd, main: i32) -> Result<()> {
        loop {
            let mut polled = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
            match poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                ready => ready.context(|| VARIABLE)?,
            };
            let [said, ended] = polled.map(|polled| !polled.revents().is_empty());
            if said && self.pass_on(Some(main))? {
                return Ok(());
            }
            if ended && !said {
                return Ok(());
            }
        }
    }
}
