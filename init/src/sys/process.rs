//! The calling process: its rights, what it executes, and its end.

use core::arch::asm;
use core::ffi::{CStr, c_char};

use linux_raw_sys::general as raw;
use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::process::Pid;

use super::syscall;
use crate::wire::Numbers;

/// setgroups(2): up to NGROUPS_MAX (65,536), straight from the plan.
pub fn set_groups(groups: Numbers<'_>) -> Result<(), Errno> {
    const { assert!(cfg!(target_endian = "little"), "a plan's numbers are the kernel's") };
    let bytes = groups.0;
    // SAFETY: the kernel copies as many numbers of four bytes as the slice holds, whatever its alignment.
    unsafe { syscall(raw::__NR_setgroups, [bytes.len() / 4, bytes.as_ptr() as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// keyctl(2): joins a new session keyring of that name.
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: the name is a C string that outlives the call.
    unsafe { syscall(raw::__NR_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr() as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// seccomp(SECCOMP_SET_MODE_FILTER): `program` is an array of `struct sock_filter`. With
/// SECCOMP_FILTER_FLAG_NEW_LISTENER the result is the listener.
pub fn install_seccomp(flags: u32, program: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    const NEW_LISTENER: u32 = 8;
    const INSTRUCTION: usize = 8;
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const u8,
    }
    if !program.len().is_multiple_of(INSTRUCTION) {
        return Err(Errno::INVAL);
    }
    let length = u16::try_from(program.len() / INSTRUCTION).map_err(|_| Errno::INVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the kernel copies `length` instructions of 8 bytes, which is what the slice holds.
    let result = unsafe {
        syscall(
            raw::__NR_seccomp,
            [SECCOMP_SET_MODE_FILTER, flags as usize, &raw const program as usize, 0, 0, 0],
        )
    }?;
    // SAFETY: with this flag the result is a new descriptor, which nothing else owns.
    Ok((flags & NEW_LISTENER != 0).then(|| unsafe { OwnedFd::from_raw_fd(result as RawFd) }))
}

/// faccessat2(2): whether the effective ids and capabilities allow executing the file.
pub fn may_execute(path: &CStr) -> Result<(), Errno> {
    const FDCWD: usize = -100isize as usize;
    const EXECUTE: usize = 1;
    const EFFECTIVE: usize = raw::AT_EACCESS as usize;
    // SAFETY: the path is a C string that outlives the call.
    unsafe { syscall(raw::__NR_faccessat2, [FDCWD, path.as_ptr() as usize, EXECUTE, EFFECTIVE, 0, 0])? };
    Ok(())
}

/// clone(2): a copy of the calling process, which gets `None`.
///
/// Safe in a program of one thread and without an allocator: nothing is half done in the copy.
pub fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: without CLONE_VM the child has memory of its own and returns on a copy of the same stack.
    let pid = unsafe { syscall(raw::__NR_clone, [raw::SIGCHLD as usize, 0, 0, 0, 0, 0])? };
    Ok(Pid::from_raw(pid as i32))
}

/// execve(2); returns only with an error.
///
/// # Safety
/// Both tables must be NULL-terminated arrays of pointers to C strings.
pub unsafe fn execve(
    path: &CStr,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> Errno {
    // SAFETY: the caller guarantees the tables; on success nothing of this program is left.
    let result = unsafe {
        syscall(raw::__NR_execve, [path.as_ptr() as usize, arguments as usize, environment as usize, 0, 0, 0])
    };
    result.err().unwrap_or(Errno::NOSYS)
}

/// execveat(2) of the open file `fd`; returns only with an error.
///
/// # Safety
/// As [`execve`].
pub unsafe fn execveat(
    fd: RawFd,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> Errno {
    // SAFETY: the caller guarantees the tables; the path is empty.
    let result = unsafe {
        syscall(
            raw::__NR_execveat,
            [
                fd as usize,
                c"".as_ptr() as usize,
                arguments as usize,
                environment as usize,
                raw::AT_EMPTY_PATH as usize,
                0,
            ],
        )
    };
    result.err().unwrap_or(Errno::NOSYS)
}

/// Gives back the stack memory that deeper calls have used: madvise(2), `MADV_DONTNEED`. With pages larger
/// than 4 KiB the kernel refuses if the range does not begin at one; then the memory stays.
// Never inlined, so that nothing in use lies below this frame.
#[inline(never)]
pub fn release_stack() {
    const PAGE: usize = 4096;
    const USED: usize = 28 * PAGE;
    const DONTNEED: usize = 4;
    let here = 0u8;
    // One page is left for the call below.
    let end = ((&raw const here) as usize & !(PAGE - 1)) - PAGE;
    // SAFETY: memory below the frames of the running calls is unused, and belongs to the stack: nothing else
    // is mapped in the room into which it may grow. It does not matter if a part was never touched.
    let _ = unsafe { syscall(raw::__NR_madvise, [end - USED, USED, DONTNEED, 0, 0, 0]) };
}

/// umask(2).
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed; the call cannot fail.
    unsafe { syscall(raw::__NR_umask, [mask as usize, 0, 0, 0, 0, 0]) }.unwrap_or(0) as u32
}

/// getcwd(2) as the kernel has it: the path of a folder outside the root begins with `(unreachable)`.
pub fn getcwd(buffer: &mut [u8]) -> Result<&CStr, Errno> {
    // SAFETY: the kernel writes at most as many bytes as the slice has.
    let length =
        unsafe { syscall(raw::__NR_getcwd, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0])? };
    CStr::from_bytes_until_nul(&buffer[..length]).map_err(|_| Errno::RANGE)
}

/// prlimit(2) on the calling process; `u64::MAX` is unlimited.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = raw::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit64 and writes nothing.
    unsafe { syscall(raw::__NR_prlimit64, [0, resource as usize, &raw const limit as usize, 0, 0, 0])? };
    Ok(())
}

/// Ends the process at once: exit_group(2), or a signal where a seccomp filter forbids the call.
pub fn exit(status: i32) -> ! {
    // SAFETY: exit_group does not return.
    let _ = unsafe { syscall(raw::__NR_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    // SAFETY: no processor executes this instruction: the kernel kills the process, even the first one of a pid namespace.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("ud2", options(noreturn, nomem, nostack));
        #[cfg(target_arch = "aarch64")]
        asm!("udf #0", options(noreturn, nomem, nostack));
        #[cfg(target_arch = "riscv64")]
        asm!("unimp", options(noreturn, nomem, nostack));
    }
}
