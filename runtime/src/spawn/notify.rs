//! sd_notify(3) for containers. Each container has a socket of its own, and the runtime passes `READY=1` on
//! to the service manager, which would ignore the container's processes: they are not the service's. Nothing
//! else is passed on, because it is not for a container to say.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Context, Result};
use crate::plan::NOTIFY_VARIABLE as VARIABLE;
use crate::sys::unix_socket;

/// The folder of the socket, in the container's state folder. It is mounted in the container where the
/// variable says.
pub const FOLDER: &str = "notify";

/// The socket in it.
const SOCKET: &str = "notify/notify";

/// The pause before the next attempt if the manager's queue is full.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The container's end, and the service manager's address.
#[derive(Debug)]
pub struct Proxy {
    socket: OwnedFd,
    manager: String,
    /// Whether the container has said that it is ready, and the manager has not been told yet.
    owes_ready: bool,
}

/// Makes the folder that is mounted in the container.
pub fn make_folder(state: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::mkdirat(state, FOLDER, Mode::from_raw_mode(0o755)).context(|| VARIABLE)
}

/// Listens for the container; `None` if it was created without the folder.
pub fn listen(state: BorrowedFd<'_>, manager: &str) -> Result<Option<Proxy>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).context(|| VARIABLE)?;
    // A short path: the kernel takes at most 107 bytes.
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", state.as_raw_fd()));
    let _ = rustix::fs::unlinkat(state, SOCKET, AtFlags::empty());
    match address.and_then(|address| rustix::net::bind(&socket, &address)) {
        Err(Errno::NOENT) => return Ok(None),
        bound => bound.context(|| VARIABLE)?,
    }
    // The container's user may be anybody.
    rustix::fs::chmodat(state, SOCKET, Mode::from_raw_mode(0o777), AtFlags::empty()).context(|| VARIABLE)?;
    Ok(Some(Proxy { socket, manager: manager.to_string(), owes_ready: false }))
}

/// Removes what [`make_folder`] and [`listen`] made.
pub fn forget(state: BorrowedFd<'_>) {
    let _ = rustix::fs::unlinkat(state, SOCKET, AtFlags::empty());
    let _ = rustix::fs::unlinkat(state, FOLDER, AtFlags::REMOVEDIR);
}

impl Proxy {
    /// What to wait for before [`Self::pass_on`]: a descriptor that is readable when the container has sent
    /// something, or a time.
    pub fn wanted(&self) -> (Option<BorrowedFd<'_>>, Option<Timespec>) {
        if self.owes_ready { (None, Some(PAUSE)) } else { (Some(self.socket.as_fd()), None) }
    }

    /// Reads one message, and tells the manager if the container is ready; true when it has been told. `main`
    /// is the pid of the container's first process, if the manager needs it because the runtime does not
    /// stay. Never waits.
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

    /// Waits until the container is ready and the manager has been told, or until `process`, its first, has
    /// ended.
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
