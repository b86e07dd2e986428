//! sd_notify(3) for containers: each has a socket of its own, of whose messages the runtime passes `READY=1` on. The
//! service manager would not heed the container's processes, which are not the service's; and nothing else that they
//! say is theirs to say.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Context, Result};
use crate::plan::NOTIFY_VARIABLE as VARIABLE;
use crate::sys::unix_socket;

/// In the container's state folder; inside the container it lies where the variable says.
pub const FOLDER: &str = "notify";

/// The socket in it.
const SOCKET: &str = "notify/notify";

/// How long after the manager's queue was full it is tried again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The container's end, and the service manager's address.
#[derive(Debug)]
pub struct Proxy {
    socket: OwnedFd,
    manager: String,
    /// The container has said so, and the manager has not been told.
    owes_ready: bool,
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
    Ok(Some(Proxy { socket, manager: manager.to_string(), owes_ready: false }))
}

/// Removes what [`make_folder`] and [`listen`] made.
pub fn forget(state: BorrowedFd<'_>) {
    let _ = rustix::fs::unlinkat(state, SOCKET, AtFlags::empty());
    let _ = rustix::fs::unlinkat(state, FOLDER, AtFlags::REMOVEDIR);
}

impl Proxy {
    /// What to wait for before [`Self::pass_on`]: what is readable when the container has said something, or a time.
    pub fn wanted(&self) -> (Option<BorrowedFd<'_>>, Option<Timespec>) {
        if self.owes_ready { (None, Some(PAUSE)) } else { (Some(self.socket.as_fd()), None) }
    }

    /// Reads one message; the result is whether the container is ready, which the manager then knows, and what its
    /// main process is where that is no child of a process that stays. Waits for neither of them.
    pub fn pass_on(&mut self, main: Option<i32>) -> Result<bool> {
        if !self.owes_ready {
            let mut message = [0; 4096];
            let length = match rustix::net::recv(&self.socket, &mut message, RecvFlags::empty()) {
                Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                received => received.context(|| VARIABLE)?.0,
            };
            self.owes_ready = message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1");
        }
        if !self.owes_ready {
            return Ok(false);
        }
        let text = main.map_or("READY=1".to_string(), |pid| format!("MAINPID={pid}\nREADY=1"));
        let step = || format!("{VARIABLE}: send to {}", self.manager);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).context(step)?;
        match self.manager.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())
                .and_then(|address| rustix::net::connect(&socket, &address)),
            None => unix_socket::connect(&socket, self.manager.as_ref()),
        }
        .context(step)?;
        match rustix::net::send(&socket, text.as_bytes(), SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => Ok(false),
            sent => sent.context(step).map(|_| true),
        }
    }

    /// Waits until the container is ready, or `process`, its first, has ended: then nobody is told anything.
    ///
    /// # Errors
    /// The manager could not be told.
    pub fn wait(&mut self, process: &OwnedFd, main: i32) -> Result<()> {
        loop {
            let (socket, timeout) = self.wanted();
            let owes = socket.is_none();
            let socket = socket.unwrap_or(process.as_fd());
            let mut polled =
                [PollFd::from_borrowed_fd(socket, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
            match poll(&mut polled, timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                ready => ready.context(|| VARIABLE)?,
            };
            let [said, ended] = polled.map(|polled| !polled.revents().is_empty());
            if (said || owes) && self.pass_on(Some(main))? {
                return Ok(());
            }
            if ended && (owes || !said) {
                return Ok(());
            }
        }
    }
}
