//! Namespaces: entered, made, and a child that goes on in new ones.

use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use super::{number, syscall};

/// unshare(2) of CLONE_NEW* namespaces; the caller's descriptors stay its own.
pub fn unshare_namespaces(flags: u32) -> Result<(), Errno> {
    const NAMESPACES: u32 = raw::CLONE_NEWNS
        | raw::CLONE_NEWCGROUP
        | raw::CLONE_NEWUTS
        | raw::CLONE_NEWIPC
        | raw::CLONE_NEWUSER
        | raw::CLONE_NEWPID
        | raw::CLONE_NEWNET
        | raw::CLONE_NEWTIME;
    if flags & !NAMESPACES != 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: CLONE_FILES, which would invalidate borrowed descriptors, is not among the flags.
    unsafe { syscall(raw::__NR_unshare, [flags as usize, 0, 0, 0, 0, 0])? };
    Ok(())
}

/// setns(2) into the one namespace that `fd` stands for, which must be of the kind `flag` (a CLONE_NEW* bit).
pub fn setns(fd: impl AsFd, flag: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    unsafe { syscall(raw::__NR_setns, [number(&fd), flag as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// clone3(2) with a copy of everything, into new namespaces of these kinds (CLONE_NEW* bits) and, where there is one, into
/// `cgroup`; the child's parent is the caller's. `None` in the child, its number in the caller.
pub fn fork(namespaces: u32, cgroup: Option<BorrowedFd<'_>>) -> Result<Option<i32>, Errno> {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let arguments = raw::clone_args {
        flags: u64::from(namespaces)
            | u64::from(raw::CLONE_PARENT)
            | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |cgroup| number(&cgroup) as u64),
    };
    // SAFETY: the child has a copy of the memory, its stack included, and the caller has one thread: both go on from
    // here as if nothing had happened.
    let pid = unsafe {
        syscall(raw::__NR_clone3, [&raw const arguments as usize, size_of_val(&arguments), 0, 0, 0, 0])?
    };
    Ok((pid != 0).then_some(pid as i32))
}
