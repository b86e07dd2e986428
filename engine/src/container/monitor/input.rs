//! What the program reads: what clients send, as fast as it reads it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{Context, Result};

/// What may wait for the program. Above this clients wait.
const PENDING_MAX: usize = 1 << 16;

/// The end into which the monitor writes: of a pipe, or the master of a terminal.
#[derive(Debug)]
pub struct Input {
    sink: OwnedFd,
    pending: Vec<u8>,
    is_ending: bool,
}

impl Input {
    /// Makes it non-blocking.
    pub fn new(sink: OwnedFd) -> Result<Input> {
        rustix::io::ioctl_fionbio(&sink, true).context(|| "the program's stdin")?;
        Ok(Input { sink, pending: Vec::new(), is_ending: false })
    }

    /// Whether something waits for the program.
    pub fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether so much waits that clients should wait.
    pub fn is_full(&self) -> bool {
        self.pending.len() > PENDING_MAX
    }

    /// More to read.
    pub fn add(&mut self, content: &[u8]) {
        self.pending.extend_from_slice(content);
    }

    /// Nothing comes behind what is there.
    pub fn end(&mut self) {
        self.is_ending = true;
    }

    /// Writes as much as the program takes; false if that was all there is.
    pub fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.sink, &self.pending) {
                Ok(length) => {
                    self.pending.drain(..length);
                }
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                // The program has closed its end: nobody reads what is left.
                Err(_) => return false,
            }
        }
        !self.is_ending
    }
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sink.as_fd()
    }
}
