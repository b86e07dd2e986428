//! System calls that no safe crate offers: clone3 into a cgroup, unshare, wait4 with its resource usage.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use linux_raw_sys::general::{CLONE_INTO_CGROUP, clone_args};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Which side of the clone this is.
#[derive(Debug, PartialEq, Eq)]
pub enum Side {
    /// The original process, with the new one's pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// Makes a process as fork(2) does, but in new namespaces and inside `cgroup` (clone3(2)).
///
/// Only for a process with one thread, such as bench: then the child is a whole program that may do anything.
pub fn clone_into(cgroup: BorrowedFd<'_>, namespaces: u32) -> io::Result<Side> {
    let arguments = clone_args {
        flags: u64::from(namespaces) | CLONE_INTO_CGROUP,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::try_from(libc::SIGCHLD).map_err(io::Error::other)?,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?,
    };
    // SAFETY: `arguments` outlives the call, its size is the one passed, and it holds no pointer. Without
    // CLONE_VM and without a stack the child runs on a copy of this stack, as after fork(2). The process has
    // one thread, so that no lock can be left held in the copy.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(i32::try_from(pid).map_err(io::Error::other)?)),
    }
}

/// Makes the command's process a copy of this one, as fork(2) does. Otherwise it would borrow this one's
/// memory, which would count as its own: see [`Ended::peak_kib`].
pub fn fork_for(command: &mut Command) {
    // SAFETY: nothing happens between fork and exec.
    unsafe { command.pre_exec(|| Ok(())) };
}

/// Leaves the network namespace, and with `mounts` the mount namespace, for new ones (unshare(2)). The mounts of a new
/// one are copies of those before.
pub fn unshare_network(mounts: bool) -> io::Result<()> {
    let more = if mounts { UnshareFlags::NEWNS } else { UnshareFlags::empty() };
    // SAFETY: only a table of descriptors that threads share could be left, which is not among the flags.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET | more) }?)
}

/// How a child ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Whether it exited with status 0.
    pub success: bool,
    /// Its peak memory in KiB, or that of a child that it waited for, whichever is more (getrusage(2)). The
    /// kernel includes what the process had before execve, that is, the caller's memory.
    pub peak_kib: u64,
}

/// Waits for one child.
pub fn wait(pid: i32) -> io::Result<Ended> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers lead to live local variables of the types that wait4(2) writes.
        if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } == pid {
            let success = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
            return Ok(Ended { success, peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
