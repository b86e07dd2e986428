//! A process that this one has made in a container: a container's first, or one that `exec` has added.

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

/// A process in a container, and a child of this one; its program runs.
///
/// Dropping the value neither ends the process nor waits for it: it goes on, and if it is never waited for it stays a zombie from its
/// end to this process's, as with [`std::process::Child`]. Nothing else of it stays. With the value goes its terminal's
/// other end, unless that was [taken](Self::take_terminal): the terminal hangs up then, as when a window is closed.
///
/// All methods but that may be called from several threads at once. [`AsFd`] is a pidfd: it polls readable when the process has ended.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    process: OwnedFd,
    terminal: Option<OwnedFd>,
    /// How it ended, once the kernel has been asked: it can be asked once.
    ended: Mutex<Option<u8>>,
}

impl Process {
    pub(super) fn new(init: Init) -> Process {
        let (process, terminal) = (init.process, init.console);
        Process { pid: init.pid.as_raw_pid(), process, terminal, ended: Mutex::new(None) }
    }

    /// Its number in this process's pid namespace, also when it has ended.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for its end: its exit status, or 128 + the signal that ended it. Any number may wait, and ask again.
    ///
    /// ```no_run
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = pillbox::Container::open(&pillbox::Root::new(None), "web")?;
    /// use pillbox::ExecOptions;
    ///
    /// let process = container.exec(ExecOptions::new(["nginx", "-s", "reload"]))?;
    /// println!("process {} ended with status {}", process.pid(), process.wait()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Status`] when nobody can tell the status any more: another wait of this process's, for all of its children, has it.
    pub fn wait(&self) -> Result<u8> {
        // Whoever calls this meanwhile waits here, without the lock.
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
    /// ```no_run
    /// # fn main() -> pillbox::Result<()> {
    /// # let container = pillbox::Container::open(&pillbox::Root::new(None), "web")?;
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
    /// [`Kind::Status`] when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // A zombie takes signals as well.
        if self.try_wait().is_ok_and(|status| status.is_none()) {
            send_signal(&self.process, signal)
        } else {
            Err(Error::of(Kind::Status, format!("process {} has ended", self.pid)))
        }
    }

    /// Gives its terminal another size, in characters; the program gets SIGWINCH.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it has none, or it was taken: [`resize_terminal`] is for that.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let terminal = self.terminal.as_ref().ok_or_else(|| {
            Error::of(Kind::Invalid, format!("process {}: it has no terminal, or that was taken", self.pid))
        })?;
        resize_terminal(terminal, rows, columns)
    }

    /// The other end of its terminal (the master): what is written there is typed, what is read there the program has written. A read
    /// fails with EIO when nobody in the container has the terminal open any more.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// [`Self::terminal`] for the caller alone, once: when it is closed the terminal hangs up.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let container = pillbox::Container::open(&pillbox::Root::new(None), "web")?;
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
        // What fails here `wait` reports.
        let _ = self.collect(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    fn unknown(&self) -> Error {
        Error::of(Kind::Status, format!("process {}: its status went to another", self.pid))
    }

    /// Asks the kernel for the status, once; `None` where there is none, or it went to another.
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

/// Gives a terminal another size, in characters, by its master: ioctl_tty(2), TIOCSWINSZ.
///
/// # Errors
/// It is no terminal.
pub fn resize_terminal(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).context(|| "resize the terminal")
}
