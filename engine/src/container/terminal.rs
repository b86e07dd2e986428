//! The caller's terminal, connected to that of a program of `exec` until the program ends or the user lets go of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pillbox::container::ForwardedSignals;
use pillbox::{Process, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio;
use rustix::termios::tcgetwinsize;

use super::detach::{DetachKeys, Keyboard, Typed};
use super::raw_terminal::{RawTerminal, write_all};
use crate::error::{Context, Error, Result};

/// How much at once is read.
const CHUNK: usize = 1 << 14;

/// What may wait for the program. Above this nothing more is read from stdin.
const UNSENT_MAX: usize = 1 << 16;

/// What became of the program.
#[derive(Debug)]
pub enum Parting {
    /// It has ended with this status.
    Ended(u8),
    /// The user has let go of it. Its terminal hangs up when this is closed.
    LetGo(OwnedFd),
}

/// Connects them. Signals are passed on.
///
/// # Errors
/// The program has no terminal; the kernel refused.
pub fn converse(mut process: Process, keys: DetachKeys) -> Result<Parting> {
    let signals = ForwardedSignals::block()?;
    let master = process.take_terminal().ok_or_else(|| Error::invalid("the program has no terminal"))?;
    rustix::io::ioctl_fionbio(&master, true).context(|| "the program's terminal")?;
    let raw = RawTerminal::enter();
    let mut talk = Talk {
        process: &process,
        master: &master,
        keyboard: Keyboard::new(keys),
        unsent: Vec::new(),
        reads: true,
        is_open: true,
    };
    talk.copy_size();
    let ended = talk.run(&signals);
    drop(raw);
    Ok(match ended? {
        Some(status) => Parting::Ended(status),
        None => Parting::LetGo(master),
    })
}

struct Talk<'a> {
    process: &'a Process,
    master: &'a OwnedFd,
    keyboard: Keyboard,
    /// What the program has not read yet.
    unsent: Vec<u8>,
    /// Whether the user's terminal has not hung up.
    reads: bool,
    /// Whether somebody has the program's terminal open.
    is_open: bool,
}

impl Talk<'_> {
    /// The program's status, or `None` when the user lets go.
    fn run(&mut self, signals: &ForwardedSignals) -> Result<Option<u8>> {
        loop {
            let (typed, said, ended, signalled) = self.wait(signals)?;
            if signalled {
                signals.each(|signal| self.take_signal(signal))?;
            }
            if typed && self.read_keyboard() {
                return Ok(None);
            }
            self.send();
            if said || ended {
                self.show();
            }
            if ended {
                return Ok(Some(self.process.wait()?));
            }
        }
    }

    /// Waits for something: whether there is something typed, something said, the end, a signal.
    fn wait(&self, signals: &ForwardedSignals) -> Result<(bool, bool, bool, bool)> {
        let from_user =
            if self.reads && self.unsent.len() < UNSENT_MAX { PollFlags::IN } else { PollFlags::empty() };
        let to_program = if self.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut polled = vec![
            PollFd::from_borrowed_fd(self.process.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.descriptor(), PollFlags::IN),
        ];
        // One that has hung up would be ready all the time.
        let mut add = |is_wanted: bool, descriptor: BorrowedFd<'static>, flags| {
            is_wanted.then(|| {
                polled.push(PollFd::from_borrowed_fd(descriptor, flags));
                polled.len() - 1
            })
        };
        let stdin = add(!from_user.is_empty(), stdio::stdin(), from_user);
        if self.is_open {
            polled.push(PollFd::new(self.master, PollFlags::IN | to_program));
        }
        let master = self.is_open.then(|| polled.len() - 1);
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the program"),
        }
        let is_ready = |index: usize| !polled[index].revents().is_empty();
        Ok((stdin.is_some_and(is_ready), master.is_some_and(is_ready), is_ready(0), is_ready(1)))
    }

    /// Takes what was typed; true if the user lets go.
    fn read_keyboard(&mut self) -> bool {
        let mut buffer = [0; CHUNK];
        match rustix::io::read(stdio::stdin(), &mut buffer) {
            Ok(length @ 1..) => {
                let Typed { text, lets_go } = self.keyboard.take(&buffer[..length]);
                self.unsent.extend_from_slice(&text);
                lets_go
            }
            Err(Errno::INTR | Errno::AGAIN) => false,
            Ok(_) | Err(_) => {
                self.reads = false;
                false
            }
        }
    }

    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match rustix::io::write(self.master, &self.unsent) {
                Ok(length) => {
                    self.unsent.drain(..length);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.unsent.clear(),
            }
        }
    }

    /// Shows what the program has said until now.
    fn show(&mut self) {
        let mut buffer = [0; CHUNK];
        while self.is_open {
            match rustix::io::read(self.master, &mut buffer) {
                Ok(length @ 1..) => write_all(stdio::stdout(), &buffer[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.is_open = false,
            }
        }
    }

    fn take_signal(&self, signal: Signal) {
        match signal {
            Signal::WINCH => self.copy_size(),
            Signal::PIPE => {}
            // One that has just ended gets none.
            signal => drop(self.process.signal(signal)),
        }
    }

    fn copy_size(&self) {
        if let Ok(size) = tcgetwinsize(stdio::stdin()) {
            // One that is gone has no size.
            let _ = pillbox::resize_terminal(self.master, size.ws_row, size.ws_col);
        }
    }
}
