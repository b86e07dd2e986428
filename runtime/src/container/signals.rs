//! The signals that a runtime gets whose container runs in the foreground.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general::{SIGCHLD, SIGPIPE};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::error::{Context, Result};
use crate::oci::signal;
use crate::sys;

/// Blocks all signals that can be caught, until dropped, and receives them, so that they can be passed on to
/// a foreground container. A fault of the runtime's own (SIGSEGV) still ends it, although blocked.
pub struct ForwardedSignals {
    descriptor: OwnedFd,
    before: u64,
}

/// The signals that are not passed on: SIGCHLD, which is for the runtime itself, and the two signals that C
/// libraries use among their threads without the program's knowledge (also that of a program which embeds
/// this library).
const KEPT: u64 = 1 << (SIGCHLD - 1) | 1 << (32 - 1) | 1 << (33 - 1);

impl ForwardedSignals {
    /// From now on.
    ///
    /// # Errors
    /// There is no descriptor for them.
    pub fn block() -> Result<ForwardedSignals> {
        let descriptor = sys::signalfd(!KEPT).context(|| "signalfd")?;
        Ok(ForwardedSignals { descriptor, before: sys::set_signal_mask(!KEPT) })
    }

    /// Polls readable when one has come.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Calls `act` for each signal that has come.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn each(&self, mut act: impl FnMut(Signal)) -> Result<()> {
        // signalfd(2): a record has 128 bytes, with the number first and the sender's pid as the fourth
        // number.
        let mut records = [0u8; 128 * 8];
        loop {
            let length = match rustix::io::read(&self.descriptor, &mut records) {
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                length => length.context(|| "read signals")?,
            };
            for record in records[..length].as_chunks::<128>().0 {
                let (words, _) = record.as_chunks::<4>();
                let [number, _, _, sender] = [0, 1, 2, 3].map(|index| u32::from_ne_bytes(words[index]));
                // The runtime's own: the reader of something that it wrote has gone away.
                let is_own = number == SIGPIPE && sender == std::process::id();
                if let Some(signal) = signal::from_number(number as i32).filter(|_| !is_own) {
                    act(signal);
                }
            }
        }
    }
}

impl Drop for ForwardedSignals {
    fn drop(&mut self) {
        // Signals that came after the program's end were meant for it. Unblocked, they would end the runtime
        // before it could return the status.
        let _ = self.each(drop);
        sys::set_signal_mask(self.before);
    }
}
