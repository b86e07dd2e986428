//! The signals that come for a runtime whose container runs in the foreground.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general::{SIGCHLD, SIGPIPE};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::error::{Context, Result};
use crate::oci::signal;
use crate::sys;

/// Every signal that can be caught, blocked until dropped, to be passed on: a foreground container gets them in the
/// runtime's stead. A fault of the runtime's own still ends it, blocked or not.
pub struct ForwardedSignals {
    descriptor: OwnedFd,
    before: u64,
}

/// What is not passed on: the end of a child, which is the runtime's business, and the two signals of which no program
/// knows, because the C libraries' threads talk by them (this program's own, too, where it embeds the library).
const KEPT: u64 = 1 << (SIGCHLD - 1) | 1 << (32 - 1) | 1 << (33 - 1);

impl ForwardedSignals {
    pub fn block() -> Result<ForwardedSignals> {
        let descriptor = sys::signalfd(!KEPT).context(|| "signalfd")?;
        Ok(ForwardedSignals { descriptor, before: sys::set_signal_mask(!KEPT) })
    }

    /// Polls readable when one has come.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Those that have come, each once.
    pub fn each(&self, mut act: impl FnMut(Signal)) -> Result<()> {
        // signalfd(2): a record has 128 bytes, with the number first and the sender's pid as the fourth number.
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
                // What a reader of the runtime's own has caused by going away.
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
        // What came since the program's end was meant for it: unblocked it would end the runtime, in the stead of a status.
        let _ = self.each(drop);
        sys::set_signal_mask(self.before);
    }
}
