//! Dispositions and the mask of signals.

use linux_raw_sys::general as raw;
use rustix::io::Errno;

use super::syscall;

/// rt_sigaction(2) and rt_sigprocmask(2): every signal gets its default disposition, none stays blocked.
pub fn reset_signals() {
    const SIGNAL_MAX: u32 = 64;
    let empty_mask = 0u64;
    for signal in 1..=SIGNAL_MAX {
        // SIGKILL and SIGSTOP refuse, which is right.
        let _ = default_signal(signal);
    }
    // SAFETY: the kernel reads an eight-byte mask.
    let _ = unsafe {
        syscall(
            raw::__NR_rt_sigprocmask,
            [raw::SIG_SETMASK as usize, &raw const empty_mask as usize, 0, 8, 0, 0],
        )
    };
}

/// rt_sigaction(2): the signal gets its default disposition.
pub fn default_signal(signal: u32) -> Result<(), Errno> {
    const SIG_DFL: usize = 0;
    set_disposition(signal, SIG_DFL)
}

/// rt_sigaction(2): the signal is ignored.
pub fn ignore_signal(signal: u32) -> Result<(), Errno> {
    const SIG_IGN: usize = 1;
    set_disposition(signal, SIG_IGN)
}

fn set_disposition(signal: u32, handler: usize) -> Result<(), Errno> {
    // A `struct kernel_sigaction` begins with the handler, has no flags here, and is at most this large everywhere.
    let action = [handler, 0, 0, 0];
    // SAFETY: the kernel reads a sigaction without a handler of ours and writes nothing.
    unsafe { syscall(raw::__NR_rt_sigaction, [signal as usize, action.as_ptr() as usize, 0, 8, 0, 0])? };
    Ok(())
}
