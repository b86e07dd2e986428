//! A process in a container that was made by this process: the container's first, or one that `exec` has
//! added.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::termios::Winsize;

use super::wait;
use crate::error::{Context, Error, Kind, Result};
use crate::spawn::Init;
use crate::state::send_signal;
use crate::sys::process_end::{code, code_of_collected};

/// A process in a container, and a child of this process; its program runs.
///
/// Dropping the value neither ends the process nor waits for it. If nobody waits for it, it becomes a zombie when it
/// ends and stays one until this process ends, as with [`std::process::Child`]; nothing else of it stays. Dropping
/// the value also closes the other end of its terminal, unless that was [taken](Self::take_terminal): the terminal
/// hangs up then, as when a window is closed.
///
/// All methods except for `take_terminal` may be called from several threads at once. [`AsFd`] gives a pidfd,
/// which polls readable when the process has ended.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    process: OwnedFd,
    terminal: Option<OwnedFd>,
    /// How it ended, once the kernel has been asked, which is possible only once.
    ended: Mutex<Option<u8>>,
}

impl Process {
    pub(super) fn new(init: Init) -> Process {
        let (process, terminal) = (init.process, init.console);
        Process { pid: init.pid.as_raw_pid(), process, terminal, ended: Mutex::new(None) }
    }

    /// Its pid in this process's pid namespace, even when it has ended.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until it has ended. The result is its exit status, or 128 + the signal that ended it. Several
    /// threads may wait, and each may ask again.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = example::running();
    /// use pillbox::ExecOptions;
    ///
    /// let process = container.exec(ExecOptions::new(["nginx", "-s", "reload"]))?;
    /// println!("process {} ended with status {}", process.pid(), process.wait()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`] if the status is lost: another part of this process has collected it by waiting for
    /// all children.
    pub fn wait(&self) -> Result<u8> {
        // Several threads may wait here, so it must be without the lock.
        wait::poll_for_end(&self.process)?;
        self.collect(WaitIdOptions::EXITED)?.ok_or_else(|| self.unknown())
    }

    /// [`Self::wait`] for a process that has ended; `None` while it runs.
    ///
    /// # Errors
    /// As for that.
    pub fn try_wait(&self) -> Result<Option<u8>> {
        match crate::sys::process_end::wait_until_gone(&self.process, 0)? {
            true => self.wait().map(Some),
            false => Ok(None),
        }
    }

    /// Sends it a signal.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = example::running();
    /// use pillbox::{ExecOptions, Signal};
    ///
    /// let process = container.exec(ExecOptions::new(["sleep", "1000"]))?;
    /// process.signal(Signal::TERM)?;
    /// assert_eq!(process.wait()?, 128 + 15);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`] if it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // The kernel accepts signals to a zombie, too.
        if self.try_wait().is_ok_and(|status| status.is_none()) {
            send_signal(&self.process, signal)
        } else {
            Err(Error::of(Kind::Status, format!("process {} has ended", self.pid)))
        }
    }

    /// Sets the size of its terminal, in characters; the program gets SIGWINCH.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it has no terminal, or the terminal was taken: then use [`resize_terminal`].
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let terminal = self.terminal.as_ref().ok_or_else(|| {
            Error::of(Kind::Invalid, format!("process {}: it has no terminal, or that was taken", self.pid))
        })?;
        resize_terminal(terminal, rows, columns)
    }

    /// The other end of its terminal (the master): the program reads what is written to it, and writes what
    /// is read from it. A read fails with EIO when nobody in the container has the terminal open any more.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Gives [`Self::terminal`] to the caller, once. The terminal hangs up when the caller closes it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let container = example::running();
    /// use std::io::Write as _;
    /// use pillbox::ExecOptions;
    ///
    /// let mut process = container.exec(ExecOptions::new(["sh"]).terminal_size(24, 80))?;
    /// let mut terminal = std::fs::File::from(process.take_terminal().ok_or("no terminal")?);
    /// terminal.write_all(b"exit 3\n")?;
    /// assert_eq!(process.wait()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Collects it if it has ended.
    pub(super) fn reap(&self) {
        // `wait` reports any error again.
        let _ = self.collect(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    fn unknown(&self) -> Error {
        Error::of(Kind::Status, format!("process {}: its status went to another", self.pid))
    }

    /// Asks the kernel for the status, once; `None` if it has not ended, or another part of this process has
    /// the status.
    fn collect(&self, options: WaitIdOptions) -> Result<Option<u8>> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            let id = || WaitId::PidFd(self.process.as_fd());
            *ended = match rustix::io::retry_on_intr(|| rustix::process::waitid(id(), options)) {
                Ok(status) => status.map(code).map(wait::status),
                Err(Errno::CHILD) => code_of_collected(&self.process).map(wait::status),
                Err(errno) => return Err(errno).context(|| "wait for init"),
            };
        }
        Ok(*ended)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// Sets the size of a terminal, in characters, through its master: ioctl_tty(2), TIOCSWINSZ.
///
/// # Errors
/// It is not a terminal.
pub fn resize_terminal(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).context(|| "resize the terminal")
}
