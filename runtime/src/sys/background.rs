//! Work that this process's caller need not wait for.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use syscalls::{Sysno, syscall1, syscall3, syscall5};

use super::errno;

/// What a copy of this process has open besides /dev/null as its standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Nothing: a lock or a pipe of somebody's is not held. The work must bring no descriptor.
    Nothing,
    /// Everything else that this process has open, for work that brings some of it.
    Descriptors,
}

/// Does `work` in a copy of this process, which nobody waits for, nor for an end of its streams. Both are in `/` then, so
/// that the folder's file system is free as soon as this process has ended. `work` must bring no relative path. This
/// process goes on at once, and should end without collecting the copy.
///
/// # Errors
/// [`Errno::BUSY`] if this process has other threads, whose locks the copy would keep; those of fork(2). Then
/// nothing has been done.
pub fn in_background(open: Open, work: impl FnOnce()) -> Result<(), Errno> {
    // A folder's links are its subfolders, its name, and the one in itself.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(Errno::BUSY);
    }
    // The root of all paths can be entered by everybody who has it.
    let _ = rustix::process::chdir("/");
    let signal = linux_raw_sys::general::SIGCHLD as usize;
    // SAFETY: as fork(2), with a copy of all memory. There is no other thread, as was just seen, which could be missing in the copy; the
    // copy runs Rust code on a copy of the stack, and ends below without returning to what the caller has yet
    // to do.
    let child = unsafe { syscall5(Sysno::clone, signal, 0, 0, 0, 0) }.map_err(errno)?;
    if child != 0 {
        return Ok(());
    }
    let last = match open {
        Open::Nothing => u32::MAX as usize,
        Open::Descriptors => 2,
    };
    // SAFETY: the copy ends below without dropping what owns a descriptor here. `work` brings none, or none but those that stay, of
    // which none is a standard stream. Before Linux 5.9 all stay open.
    let _ = unsafe { syscall3(Sysno::close_range, 0, last, 0) };
    open_nothing();
    work();
    loop {
        // SAFETY: it ends the copy, whose memory nobody else sees.
        let _ = unsafe { syscall1(Sysno::exit_group, 0) };
    }
}

/// Puts /dev/null onto the standard streams: what is opened next would be taken for one of them by programs that are started.
fn open_nothing() {
    for _ in 0..3 {
        if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
            std::mem::forget(null);
        }
    }
}
