//! The terminal of whoever has called box, and his streams.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// A reader that has gone wants nothing more.
pub(super) fn write_all(stream: BorrowedFd<'_>, mut content: &[u8]) {
    while !content.is_empty() {
        match rustix::io::write(stream, content) {
            Ok(length) => content = &content[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut polled = [PollFd::from_borrowed_fd(stream, PollFlags::OUT)];
                if poll(&mut polled, None).is_err_and(|errno| errno != Errno::INTR) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// The user's terminal, in which keys reach the program as they are typed. It is put back when the value is dropped.
pub(super) struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    pub(super) fn enter() -> Option<RawTerminal> {
        let stdin = stdio::stdin();
        if !isatty(stdin) {
            return None;
        }
        let before = tcgetattr(stdin).ok()?;
        let terminal = rustix::io::fcntl_dupfd_cloexec(stdin, 3).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Drain, &raw).ok()?;
        Some(RawTerminal { terminal, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}
