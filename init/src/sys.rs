//! The system calls that rustix has no public function for, on linux-raw-sys; the only unsafe code of the library.

use core::arch::asm;
use core::ffi::{CStr, c_char};

use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

/// A system call with the kernel's own convention: a result, or a negative errno.
///
/// # Safety
/// As the call itself: pointers must be valid for what the kernel does with them.
#[inline(always)]
unsafe fn syscall(number: u32, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's convention; the caller answers for the arguments.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("svc 0", in("x8") number as usize, inlateout("x0") a => result, in("x1") b, in("x2") c,
            in("x3") d, in("x4") e, in("x5") f, options(nostack, preserves_flags));
        #[cfg(target_arch = "riscv64")]
        asm!("ecall", in("a7") number as usize, inlateout("a0") a => result, in("a1") b, in("a2") c,
            in("a3") d, in("a4") e, in("a5") f, options(nostack, preserves_flags));
    }
    if result < 0 { Err(Errno::from_raw_os_error(-(result as i32))) } else { Ok(result as usize) }
}

/// The number of a descriptor as a system call's argument; negative ones (`AT_FDCWD`) keep their sign.
fn number(fd: &impl AsFd) -> usize {
    fd.as_fd().as_raw_fd() as isize as usize
}

/// mount_setattr(2) on the mount that `fd` stands for.
pub fn mount_setattr(
    fd: impl AsFd,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    propagation: MountPropagationFlags,
    recursive: bool,
) -> Result<(), Errno> {
    let mut clear = u64::from(clear.bits());
    let atime = u64::from(raw::MOUNT_ATTR__ATIME);
    // The three access-time modes are one field: to set one, the kernel wants the whole field cleared.
    if u64::from(set.bits()) & atime != 0 || clear & atime != 0 {
        clear |= atime;
    }
    let attributes = raw::mount_attr {
        attr_set: u64::from(set.bits()),
        attr_clr: clear,
        propagation: u64::from(propagation.bits() & !raw::MS_REC),
        userns_fd: 0,
    };
    set_mount_attributes(&fd, &attributes, recursive)
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP: owners on the detached mount go through the maps of a user namespace.
pub fn map_mount_owners(fd: impl AsFd, user_namespace: impl AsFd, recursive: bool) -> Result<(), Errno> {
    let attributes = raw::mount_attr {
        attr_set: u64::from(raw::MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation: 0,
        userns_fd: number(&user_namespace) as u64,
    };
    set_mount_attributes(&fd, &attributes, recursive)
}

fn set_mount_attributes(fd: &impl AsFd, attributes: &raw::mount_attr, recursive: bool) -> Result<(), Errno> {
    let flags = raw::AT_EMPTY_PATH | if recursive { raw::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and the structure has the size that is given; both outlive the call.
    unsafe {
        syscall(
            raw::__NR_mount_setattr,
            [
                number(fd),
                c"".as_ptr() as usize,
                flags as usize,
                &raw const *attributes as usize,
                size_of::<raw::mount_attr>(),
                0,
            ],
        )?;
    }
    Ok(())
}

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

/// execve(2); returns only with an error.
///
/// # Safety
/// Both tables must be NULL-terminated arrays of pointers to C strings.
pub unsafe fn execve(
    path: &CStr,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> Errno {
    // SAFETY: the caller vouches for the tables; on success there is nothing left to be unsound.
    let result = unsafe {
        syscall(raw::__NR_execve, [path.as_ptr() as usize, arguments as usize, environment as usize, 0, 0, 0])
    };
    result.err().unwrap_or(Errno::NOSYS)
}

/// execveat(2) of the file that `fd` stands for; returns only with an error.
///
/// # Safety
/// As [`execve`].
pub unsafe fn execveat(
    fd: RawFd,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> Errno {
    // SAFETY: the caller vouches for the tables; the path is empty.
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

/// Sets the loopback interface of the caller's network namespace up: netdevice(7).
pub fn set_loopback_up() -> Result<(), Errno> {
    const IFF_UP: u16 = 1;
    /// `struct ifreq`.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = Request { name, flags: IFF_UP, rest: [0; 22] };
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let address = (&raw const request) as usize;
    // SAFETY: `request` is an ifreq, which lives through the call; the kernel reads name and flags.
    unsafe { syscall(raw::__NR_ioctl, [number(&socket), SIOCSIFFLAGS, address, 0, 0, 0])? };
    Ok(())
}

/// linux/sockios.h
const SIOCSIFFLAGS: usize = 0x8914;

/// Gives the memory of the stack back that deeper calls have used: madvise(2), `MADV_DONTNEED`.
pub fn release_stack() {
    const PAGE: usize = 4096;
    const USED: usize = 28 * PAGE;
    const DONTNEED: usize = 4;
    let here = 0u8;
    // A page is left to the call below.
    let end = ((&raw const here) as usize & !(PAGE - 1)) - PAGE;
    // SAFETY: what lies below the frames of the running calls is dead, and the stack's own: nothing else is mapped into
    // the room that it may grow into. That a part was never touched does not matter.
    let _ = unsafe { syscall(raw::__NR_madvise, [end - USED, USED, DONTNEED, 0, 0, 0]) };
}

/// clone3(2) with a copy of everything, into new namespaces of these kinds (CLONE_NEW* bits); the child's parent is
/// the caller's. `None` in the child, its number in the caller.
pub fn fork(namespaces: u32) -> Result<Option<i32>, Errno> {
    let arguments = raw::clone_args {
        flags: u64::from(namespaces) | u64::from(raw::CLONE_PARENT),
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: the child has a copy of the memory, its stack included, and the caller has one thread: both go on from
    // here as if nothing had happened.
    let pid = unsafe {
        syscall(raw::__NR_clone3, [&raw const arguments as usize, size_of_val(&arguments), 0, 0, 0, 0])?
    };
    Ok((pid != 0).then_some(pid as i32))
}

/// close(2) of a descriptor that init inherited and will not use any more.
pub fn close_inherited(number: u32) {
    // SAFETY: nothing in init owns inherited descriptors. Whether it was open at all does not matter.
    let _ = unsafe { syscall(raw::__NR_close, [number as usize, 0, 0, 0, 0, 0]) };
}

/// umask(2).
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed; the call cannot fail.
    unsafe { syscall(raw::__NR_umask, [mask as usize, 0, 0, 0, 0, 0]) }.unwrap_or(0) as u32
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

/// getcwd(2), as the kernel words it: a folder outside the root begins with `(unreachable)`.
pub fn getcwd(buffer: &mut [u8]) -> Result<&CStr, Errno> {
    // SAFETY: the kernel writes at most as many bytes as the slice has.
    let length =
        unsafe { syscall(raw::__NR_getcwd, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0])? };
    CStr::from_bytes_with_nul(&buffer[..length]).map_err(|_| Errno::RANGE)
}

/// prlimit(2) on the calling process; `u64::MAX` is unlimited.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = raw::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit64 and writes nothing.
    unsafe { syscall(raw::__NR_prlimit64, [0, resource as usize, &raw const limit as usize, 0, 0, 0])? };
    Ok(())
}

/// sched_setattr(2) on the calling thread; `times` are runtime, deadline and period in nanoseconds.
pub fn set_scheduler(
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    times: [u64; 3],
) -> Result<(), Errno> {
    /// `struct sched_attr` of SCHED_ATTR_SIZE_VER1.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
        utilization_min: u32,
        utilization_max: u32,
    }
    let [runtime, deadline, period] = times;
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        utilization_min: 0,
        utilization_max: 0,
    };
    // SAFETY: the structure begins with its size, has no padding, and outlives the call, which only reads it.
    unsafe { syscall(raw::__NR_sched_setattr, [0, &raw const attributes as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// ioprio_set(2) on the calling thread: a class by the kernel's number, and a level from 0 (first) to 7.
pub fn set_io_priority(class: u32, level: u32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: usize = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    let priority = class << IOPRIO_CLASS_SHIFT | level;
    // SAFETY: no memory is passed.
    unsafe { syscall(raw::__NR_ioprio_set, [IOPRIO_WHO_PROCESS, 0, priority as usize, 0, 0, 0])? };
    Ok(())
}

/// personality(2): the execution domain of the calling thread, without flags.
pub fn set_personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed; no flag changes what init's own addresses mean.
    unsafe { syscall(raw::__NR_personality, [domain as usize, 0, 0, 0, 0, 0])? };
    Ok(())
}

/// set_mempolicy(2) on the calling thread; bit n of `nodes` is node n.
///
/// # Errors
/// `EINVAL` also when `nodes` is not made of whole `unsigned long`s.
pub fn set_memory_policy(mode: u32, nodes: &[u8]) -> Result<(), Errno> {
    if !nodes.len().is_multiple_of(size_of::<usize>()) {
        return Err(Errno::INVAL);
    }
    let (mask, bits) = match nodes.len() {
        0 => (0, 0),
        // The kernel takes one bit less than it is told.
        bytes => (nodes.as_ptr() as usize, bytes * 8 + 1),
    };
    // SAFETY: the kernel copies `bits` - 1 bits, all of the slice, wherever it is aligned.
    unsafe { syscall(raw::__NR_set_mempolicy, [mode as usize, mask, bits, 0, 0, 0])? };
    Ok(())
}

/// Ends the process at once, without any of the C library's doings.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: exit_group does not return.
        let _ = unsafe { syscall(raw::__NR_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}
