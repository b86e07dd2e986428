//! Finds out what the kernel knows and allows, without changing anything.

use std::cell::Cell;
use std::ffi::c_void;
use std::os::fd::BorrowedFd;

use linux_raw_sys::general::{CLONE_FILES, CLONE_NEWNS, CLONE_NEWUSER};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use syscalls::{Sysno, syscall3};

use super::Spawned;
use super::clone::{GuardedStack, clone_shared};
use super::errno;
use super::signal::SignalsBlocked;

/// Whether the kernel knows these `SECCOMP_FILTER_FLAG_*`. It checks them before it reads the filter, here at
/// address 0.
pub fn knows_seccomp_flags(flags: u32) -> bool {
    let operation = linux_raw_sys::ptrace::SECCOMP_SET_MODE_FILTER as usize;
    // SAFETY: there is no filter at address 0, so that nothing is installed; the flags are checked before.
    let answer = unsafe { syscall3(Sysno::seccomp, operation, flags as usize, 0) };
    answer.map_err(errno) == Err(Errno::FAULT)
}

/// Runs `probe` in a child in new `namespaces` (CLONE_NEW* flags). The child has ended when this returns.
///
/// It shares this process's memory while the caller waits; `probe` has 64 KiB of stack, and all capabilities
/// over the new namespaces.
///
/// # Errors
/// The error of the clone or of `probe`; `ECANCELED` if the child was killed.
pub fn probe(namespaces: u32, mut probe: fn() -> Result<(), Errno>) -> Result<(), Errno> {
    run_in_child(namespaces, &mut probe)
}

/// Runs `work` in a child, as [`probe`] does, in a copy of this process's mount namespace. Files that it
/// opens are open here as well. Unlike with setns(2), there is no way back to be found, and the threads of
/// this process keep the working folder and the umask that they share.
///
/// The copy has the same mounts; shared ones are peers of the originals. Only mounts of a mount namespace's
/// file are missing, because the kernel leaves such pins out.
///
/// # Errors
/// The error of the clone or of `work`; `ECANCELED` if the child was killed.
pub fn in_mount_copy(work: &mut dyn FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    run_in_child(CLONE_NEWNS | CLONE_FILES, work)
}

/// The same in a new user namespace with a mount namespace of its own, for callers that may not mount
/// elsewhere. Until `work` writes the id maps, no id is mapped there.
///
/// # Errors
/// As for [`in_mount_copy`].
pub fn in_user_namespace(work: &mut dyn FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    run_in_child(CLONE_NEWUSER | CLONE_NEWNS | CLONE_FILES, work)
}

/// The same in the user and the mount namespace of `process` (a pidfd), with these ids there.
///
/// # Errors
/// As for [`in_mount_copy`]; `EPERM` if the caller may not trace that process.
pub fn in_namespaces_of(
    process: BorrowedFd<'_>,
    (uid, gid): (Uid, Gid),
    work: &mut dyn FnMut() -> Result<(), Errno>,
) -> Result<(), Errno> {
    run_in_child(CLONE_FILES, &mut || {
        pillbox_init::sys::setns(process, CLONE_NEWUSER | CLONE_NEWNS)?;
        let dumpable = rustix::process::dumpable_behavior()?;
        if rustix::process::getegid() != gid {
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        }
        if rustix::process::geteuid() != uid {
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        // The memory is the caller's as well, which becoming another user keeps from being looked at.
        if rustix::process::dumpable_behavior()? != dumpable {
            rustix::process::set_dumpable_behavior(dumpable)?;
        }
        work()
    })
}

fn run_in_child(flags: u32, run: &mut dyn FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    let state = Probe { run: Cell::new(Some(run)), result: Cell::new(Errno::CANCELED.raw_os_error()) };
    let blocked = SignalsBlocked::new();
    let stack = GuardedStack::map()?;
    let (pid, pidfd) = clone_shared(
        u64::from(flags),
        None,
        stack.bottom(),
        begin_probe,
        std::ptr::from_ref(&state).cast(),
        None,
    )?;
    drop(blocked);
    // It has ended already, because the clone only returned afterwards.
    Spawned { pid, pidfd }.reap();
    match state.result.get() {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(code)),
    }
}

/// What the child runs, and its result: 0 or an errno.
struct Probe<'r> {
    run: Cell<Option<&'r mut dyn FnMut() -> Result<(), Errno>>>,
    result: Cell<i32>,
}

unsafe extern "C" fn begin_probe(state: *const c_void) -> ! {
    // SAFETY: `run_in_child` passes a `Probe` and waits for this process, which alone uses it meanwhile.
    let state = unsafe { &*state.cast::<Probe>() };
    if let Some(run) = state.run.take() {
        state.result.set(run().map_or_else(Errno::raw_os_error, |()| 0));
    }
    pillbox_init::sys::exit(0)
}

/// A system call whose presence can be probed with arguments that it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probeable(Sysno);

/// The calls that pillbox depends on, with the oldest kernel that has each. With all bits of every argument
/// set, each of them gets unknown flags, a size beyond a page, closed descriptors or bad addresses, and so
/// has no effect.
pub const PROBEABLE: [(&str, Probeable, &str); 10] = [
    ("clone3", Probeable(Sysno::clone3), "5.7"),
    ("openat2", Probeable(Sysno::openat2), "5.6"),
    ("open_tree", Probeable(Sysno::open_tree), "5.2"),
    ("move_mount", Probeable(Sysno::move_mount), "5.2"),
    ("fsopen", Probeable(Sysno::fsopen), "5.2"),
    ("mount_setattr", Probeable(Sysno::mount_setattr), "5.12"),
    ("pidfd_open", Probeable(Sysno::pidfd_open), "5.3"),
    ("pidfd_send_signal", Probeable(Sysno::pidfd_send_signal), "5.1"),
    ("close_range", Probeable(Sysno::close_range), "5.11"),
    ("execveat", Probeable(Sysno::execveat), "3.19"),
];

/// The call's answer to arguments that it must refuse; `ENOSYS` if the kernel does not have it.
pub fn refusal(call: Probeable) -> Errno {
    let none = usize::MAX;
    // SAFETY: a `Probeable` is only made in `PROBEABLE`, whose calls refuse these arguments without any
    // effect.
    match unsafe { syscalls::syscall6(call.0, none, none, none, none, none, none) } {
        Err(refused) => errno(refused),
        Ok(_) => Errno::INVAL,
    }
}

/// seccomp(SECCOMP_GET_ACTION_AVAIL): whether filters may return `action`.
///
/// # Errors
/// `EOPNOTSUPP` if they may not; `ENOSYS` or `EINVAL` if the kernel has no filters.
pub fn seccomp_action_available(action: u32) -> Result<(), Errno> {
    const SECCOMP_GET_ACTION_AVAIL: usize = 2;
    // SAFETY: the kernel reads the four bytes at the address, which outlive the call.
    let asked =
        unsafe { syscall3(Sysno::seccomp, SECCOMP_GET_ACTION_AVAIL, 0, (&raw const action) as usize) };
    asked.map(drop).map_err(errno)
}
