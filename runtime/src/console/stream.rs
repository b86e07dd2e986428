//! The caller's stdin and stdout, read and written without ever waiting for the program at their other end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// PIPE_BUF: the size that a pipe takes at once if poll(2) reports it as writable.
const PIPE_PIECE: usize = 4096;
/// A terminal counts as writable with room for a single byte, but nearly always has more.
const TERMINAL_PIECE: usize = 256;

/// One of the caller's streams.
///
/// O_NONBLOCK belongs to the open file, which the caller shares: a shell would find its terminal changed. So
/// it is never set on the caller's own open files.
pub enum Stream {
    /// The same pipe or terminal, opened again for the runtime alone, with O_NONBLOCK.
    Own(OwnedFd),
    /// A socket: every call has the flag not to block.
    Socket(BorrowedFd<'static>),
    /// A pipe or terminal that this user may not open: polled before each small piece.
    Asked { stream: BorrowedFd<'static>, piece: usize },
    /// A file or a device, which never waits for another program.
    Plain(BorrowedFd<'static>),
}

impl Stream {
    /// `access` is O_RDONLY or O_WRONLY.
    pub fn new(stream: BorrowedFd<'static>, access: OFlags) -> Stream {
        let Ok(status) = rustix::fs::fstat(stream) else { return Stream::Plain(stream) };
        let (again, piece) = match FileType::from_raw_mode(status.st_mode) {
            FileType::Socket => return Stream::Socket(stream),
            FileType::Fifo => (open_again(stream, access), PIPE_PIECE),
            FileType::CharacterDevice if rustix::termios::isatty(stream) => {
                // Opening the master of a pty again would make another pty.
                let is_master = status.st_rdev == rustix::fs::makedev(5, 2);
                (if is_master { Err(Errno::BUSY) } else { open_terminal(stream, access) }, TERMINAL_PIECE)
            }
            _ => return Stream::Plain(stream),
        };
        again.map_or(Stream::Asked { stream, piece }, Stream::Own)
    }

    /// Fails with AGAIN if there is nothing to read at the moment.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Stream::Socket(stream) => {
                rustix::net::recv(stream, buffer, RecvFlags::DONTWAIT).map(|(length, _)| length)
            }
            _ => rustix::io::read(self, buffer),
        }
    }

    /// Fails with AGAIN if nothing is taken at the moment.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Stream::Socket(stream) => {
                rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            Stream::Asked { stream, piece } => {
                let mut polled = [PollFd::from_borrowed_fd(*stream, PollFlags::OUT)];
                match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
                    0 => Err(Errno::AGAIN),
                    _ => rustix::io::write(stream, &bytes[..bytes.len().min(*piece)]),
                }
            }
            _ => rustix::io::write(self, bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Own(own) => own.as_fd(),
            Stream::Socket(stream) | Stream::Plain(stream) | Stream::Asked { stream, .. } => *stream,
        }
    }
}

fn open_again(stream: BorrowedFd<'_>, access: OFlags) -> Result<OwnedFd, Errno> {
    open_without_waiting(&format!("/proc/self/fd/{}", stream.as_raw_fd()), access)
}

/// After su(1) the terminal still belongs to another user, but every process in its session may open
/// /dev/tty.
fn open_terminal(stream: BorrowedFd<'_>, access: OFlags) -> Result<OwnedFd, Errno> {
    let opened = open_again(stream, access);
    if opened.is_ok() || rustix::termios::tcgetsid(stream)? != rustix::process::getsid(None)? {
        return opened;
    }
    open_without_waiting("/dev/tty", access)
}

fn open_without_waiting(path: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}
