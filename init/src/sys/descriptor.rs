//! Descriptors by number: closing them, and using inherited ones.

use linux_raw_sys::general as raw;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::syscall;

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
/// Nothing in the calling process may use or own any of them.
pub unsafe fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed; the caller guarantees that the descriptors are not in use.
    unsafe { syscall(raw::__NR_close_range, [first as usize, last as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// The right to use descriptors by number, as a plan does: for a process that knows its descriptors only from
/// the plan.
#[derive(Debug, Clone, Copy)]
pub struct Inherited(());

impl Inherited {
    /// # Safety
    /// Nothing in this process may own a descriptor whose number is given to the methods, and none may be
    /// used after [`Self::close`].
    pub const unsafe fn vouch() -> Inherited {
        Inherited(())
    }

    /// The descriptor with this number; one that is not open makes calls fail with `EBADF`.
    pub fn fd<'a>(self, number: u32) -> BorrowedFd<'a> {
        // -1 is the one number that must not be borrowed; a number as large as this is never open.
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        // SAFETY: the caller of `vouch` has guaranteed it.
        unsafe { BorrowedFd::borrow_raw(number) }
    }

    /// close(2); it is no error if the descriptor is not open.
    pub fn close(self, number: u32) {
        // SAFETY: the caller of `vouch` has guaranteed it.
        let _ = unsafe { syscall(raw::__NR_close, [number as usize, 0, 0, 0, 0, 0]) };
    }

    /// close_range(2) of all descriptors from `first` on.
    pub fn close_from(self, first: u32) {
        // SAFETY: the caller of `vouch` has guaranteed it.
        let _ = unsafe { close_range(first, u32::MAX) };
    }

    /// dup3(2) onto the descriptor with this number, which stays open across exec.
    pub fn replace(self, number: u32, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        // SAFETY: no memory is passed; the caller of `vouch` has guaranteed it.
        unsafe { syscall(raw::__NR_dup3, [super::number(&fd), number as usize, 0, 0, 0, 0])? };
        Ok(())
    }
}
