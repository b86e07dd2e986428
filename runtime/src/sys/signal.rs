//! Signals: masks, signalfd(2), realtime signals.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;
use syscalls::{Sysno, syscall4};

use super::errno;

/// All signals blocked for the calling thread, until dropped.
pub(super) struct SignalsBlocked(u64);

impl SignalsBlocked {
    pub(super) fn new() -> Self {
        SignalsBlocked(set_signal_mask(u64::MAX))
    }

    /// The mask that dropping this brings back.
    pub(super) fn before(&self) -> u64 {
        self.0
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        set_signal_mask(self.0);
    }
}

/// rt_sigprocmask(SIG_SETMASK); returns the previous mask. Bit n stands for signal n + 1.
pub fn set_signal_mask(mask: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: both masks have the eight bytes whose size is passed.
    let _ = unsafe {
        syscall4(
            Sysno::rt_sigprocmask,
            linux_raw_sys::general::SIG_SETMASK as usize,
            (&raw const mask) as usize,
            (&raw mut before) as usize,
            size_of::<u64>(),
        )
    };
    before
}

/// signalfd4(2) for the signals in `mask`: non-blocking, close-on-exec. Each read gives 128 bytes, with the
/// signal's number in the first four.
pub fn signalfd(mask: u64) -> Result<OwnedFd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    // SAFETY: the kernel reads a mask of eight bytes; the descriptor that it returns is new.
    unsafe {
        let mask = (&raw const mask) as usize;
        let fd = syscall4(Sysno::signalfd4, usize::MAX, mask, size_of::<u64>(), flags.bits() as usize)
            .map_err(errno)?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// A realtime signal (32 to 64) by its number, including those that C libraries reserve for themselves.
pub fn realtime_signal(number: i32) -> Option<rustix::process::Signal> {
    // SAFETY: the kernel knows the number, and pillbox sets no handlers that could depend on it.
    (32..=64).contains(&number).then(|| unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}
