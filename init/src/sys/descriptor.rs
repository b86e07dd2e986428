//! Descriptors by their numbers: which close, which are inherited.

use linux_raw_sys::general as raw;
use rustix::fd::{BorrowedFd, RawFd};
use rustix::io::Errno;

use super::{number, syscall};

/// close_range(2) with CLOSE_RANGE_CLOEXEC: all descriptors from `first` on close at the next exec.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: usize = 1 << 2;
    // SAFETY: no memory is passed; descriptors only gain a flag.
    unsafe {
        syscall(raw::__NR_close_range, [first as usize, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0, 0, 0])?;
    }
    Ok(())
}

/// close_range(2): closes the descriptors from `first` to `last`, both included.
///
/// # Safety
/// Nothing of the calling process may use or own any of them.
pub unsafe fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed; the caller vouches for the descriptors.
    unsafe { syscall(raw::__NR_close_range, [first as usize, last as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// close(2) of a descriptor that init inherited and will not use any more.
pub fn close_inherited(number: u32) {
    // SAFETY: nothing in init owns inherited descriptors. Whether it was open at all does not matter.
    let _ = unsafe { syscall(raw::__NR_close, [number as usize, 0, 0, 0, 0, 0]) };
}

/// dup3(2) onto `target`, which keeps open over exec.
pub fn dup_onto(fd: BorrowedFd<'_>, target: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed; only stdio numbers are replaced, which nobody owns as an OwnedFd.
    unsafe { syscall(raw::__NR_dup3, [number(&fd), target as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// A descriptor that init inherited, by its number. Init owns none of these as an `OwnedFd`, and closes them only by
/// [`close_inherited`], after the last operation that names them.
pub fn inherited_fd<'a>(number: u32) -> BorrowedFd<'a> {
    // -1 is the one number that must not be borrowed; no plan of the runtime's has it.
    let number = i32::try_from(number).unwrap_or(i32::MAX);
    // SAFETY: inherited descriptors stay open for as long as operations name them; one that is not open makes calls
    // fail with EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}
