//! Signal dispositions and the signal mask.

use linux_raw_sys::general as raw;
use rustix::io::Errno;
use rustix::process::Pid;

use super::{exit, syscall};

/// rt_sigaction(2) and rt_sigprocmask(2): every signal gets its default disposition, none stays blocked.
pub fn reset_signals() {
    const SIGNAL_MAX: u32 = 64;
    let empty_mask = 0u64;
    for signal in 1..=SIGNAL_MAX {
        // The kernel refuses SIGKILL and SIGSTOP, which always have theirs.
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

/// rt_sigprocmask(2): all signals wait until they are asked for.
pub fn block_signals() {
    let full_mask = u64::MAX;
    // SAFETY: the kernel reads an eight-byte mask.
    let _ = unsafe {
        syscall(
            raw::__NR_rt_sigprocmask,
            [raw::SIG_SETMASK as usize, &raw const full_mask as usize, 0, 8, 0, 0],
        )
    };
}

/// rt_sigtimedwait(2): waits for a signal that is blocked; the result is its number.
pub fn next_signal() -> Result<u32, Errno> {
    let full_mask = u64::MAX;
    // SAFETY: the kernel reads an eight-byte mask, and writes nothing.
    let signal =
        unsafe { syscall(raw::__NR_rt_sigtimedwait, [&raw const full_mask as usize, 0, 0, 8, 0, 0]) }?;
    Ok(signal as u32)
}

/// kill(2), with any number that a signal may have.
pub fn send_signal(process: Pid, signal: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    unsafe { syscall(raw::__NR_kill, [process.as_raw_pid() as usize, signal as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// rt_sigaction(2): the signal gets its default disposition.
pub fn default_signal(signal: u32) -> Result<(), Errno> {
    const SIG_DFL: usize = 0;
    set_disposition(signal, SIG_DFL, 0)
}

/// rt_sigaction(2): the signal is ignored.
pub fn ignore_signal(signal: u32) -> Result<(), Errno> {
    const SIG_IGN: usize = 1;
    set_disposition(signal, SIG_IGN, 0)
}

/// rt_sigaction(2): the signal ends the process with the status 128 + its number, until it executes
/// something.
pub fn end_on_signal(signal: u32) -> Result<(), Errno> {
    extern "C" fn end(signal: i32) {
        exit(128 + signal)
    }
    // x86 calls no handler without a restorer, the address to return to. This handler does not return.
    const SA_RESTORER: usize = 0x0400_0000;
    set_disposition(signal, end as extern "C" fn(i32) as usize, SA_RESTORER)
}

fn set_disposition(signal: u32, handler: usize, flags: usize) -> Result<(), Errno> {
    // A `struct kernel_sigaction` begins with handler and flags. An empty mask follows, on most machines
    // after a restorer, which is never called. The struct is nowhere larger than this.
    let action = [handler, flags, 0, 0];
    // SAFETY: the kernel reads a sigaction and writes nothing. Our handler makes one system call, which does
    // not return: what it interrupts never continues.
    unsafe { syscall(raw::__NR_rt_sigaction, [signal as usize, action.as_ptr() as usize, 0, 8, 0, 0])? };
    Ok(())
}
