//! Work that this process's caller need not wait for.

use rustix::io::Errno;
use syscalls::{Sysno, syscall1, syscall3, syscall5};

use super::errno;

/// Does `work` in a copy of this process, which closes stdin, stdout and stderr first, so that nothing waits
/// for it or for the end of those. This process goes on at once, and should end without collecting it.
///
/// # Errors
/// [`Errno::BUSY`] if this process has other threads, whose locks the copy would keep; those of fork(2). Then
/// nothing has been done.
pub fn in_background(work: impl FnOnce()) -> Result<(), Errno> {
    // A folder's links are its subfolders, its name, and the one in itself.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(Errno::BUSY);
    }
    let signal = linux_raw_sys::general::SIGCHLD as usize;
    // SAFETY: as fork(2), with a copy of all memory. There is no other thread, as was just seen, which could be missing in the copy; the
    // copy runs Rust code on a copy of the stack, and ends below without returning to what the caller has yet
    // to do.
    let child = unsafe { syscall5(Sysno::clone, signal, 0, 0, 0, 0) }.map_err(errno)?;
    if child != 0 {
        return Ok(());
    }
    // SAFETY: nothing in the copy reads or writes its standard streams.
    let _ = unsafe { syscall3(Sysno::close_range, 0, 2, 0) };
    work();
    loop {
        // SAFETY: it ends the copy, whose memory nobody else sees.
        let _ = unsafe { syscall1(Sysno::exit_group, 0) };
    }
}
