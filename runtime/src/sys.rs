//! The unsafe rim: the system calls that no safe wrapper offers, each behind a function that can't be misused.
//!
//! bpf(2): loading and attaching the device filter of a cgroup. Numbers and layouts are those of
//! `include/uapi/linux/bpf.h`. clone3(2): from the runtime to init without a copy of the runtime in between.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};
use syscalls::{Sysno, syscall3, syscall4};

use crate::cgroup::Instruction;

const BPF_PROG_LOAD: usize = 5;
const BPF_PROG_ATTACH: usize = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// How often a load that a signal interrupted is tried.
const LOAD_ATTEMPTS: usize = 5;

/// `union bpf_attr` as BPF_PROG_LOAD reads it, up to the last member that is set here.
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// `union bpf_attr` as BPF_PROG_ATTACH reads it.
#[repr(C)]
struct ProgramAttach {
    target_fd: u32,
    program_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`; the descriptor is close-on-exec. See bpf(2).
///
/// # Errors
/// `EPERM` without CAP_BPF (CAP_SYS_ADMIN before Linux 5.8), `EINVAL` and `EACCES` from the verifier, `E2BIG`
/// for too many instructions.
pub fn load_device_program(instructions: &[Instruction]) -> Result<OwnedFd, Errno> {
    const { assert!(size_of::<Instruction>() == 8) };
    let attributes = ProgramLoad {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: instructions.len().try_into().map_err(|_| Errno::TOOBIG)?,
        instructions: instructions.as_ptr() as usize as u64,
        // No helper is called, so that any license will do.
        license: c"Dual MIT/GPL".as_ptr() as usize as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"pillbox_devices\0",
    };
    let mut attempts = 1;
    loop {
        let arguments = (&raw const attributes) as usize;
        // SAFETY: `attributes` is a properly padded bpf_attr of the size given, and its two pointers are to a
        // slice of 8-byte instructions with its true count and to a NUL-terminated string; all three outlive
        // the call, which only reads them.
        let loaded = unsafe { syscall3(Sysno::bpf, BPF_PROG_LOAD, arguments, size_of::<ProgramLoad>()) };
        match loaded.map_err(errno) {
            // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor, which nothing else owns.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            // The verifier gives up when a signal is pending.
            Err(Errno::AGAIN) if attempts < LOAD_ATTEMPTS => attempts += 1,
            Err(errno) => return Err(errno),
        }
    }
}

/// Attaches a device program to a cgroup, beside those of others (`BPF_F_ALLOW_MULTI`: all must agree).
///
/// It stays until the cgroup is removed. See bpf(2).
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = ProgramAttach {
        target_fd: cgroup.as_raw_fd() as u32,
        program_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    let arguments = (&raw const attributes) as usize;
    // SAFETY: `attributes` is a bpf_attr of the size given, which the call only reads; it has no pointers, and
    // both descriptors are borrowed for the whole call.
    let attached = unsafe { syscall3(Sysno::bpf, BPF_PROG_ATTACH, arguments, size_of::<ProgramAttach>()) };
    attached.map(drop).map_err(errno)
}

fn errno(errno: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(errno.into_raw())
}

/// Where a child was on its way to init when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ChildStep {
    /// The second clone, out of the joined namespaces.
    Clone = 2,
    /// setns(2) into the seed namespace, or unshare(2) there.
    Seed = 3,
    /// Making the capabilities of the new user namespace survive the exec.
    Capabilities = 4,
    /// Sorting out the descriptors.
    Descriptors = 5,
    /// execveat(2) of init.
    Exec = 6,
}

impl ChildStep {
    /// Where the child itself can fail.
    const FAILURES: [ChildStep; 4] =
        [ChildStep::Seed, ChildStep::Capabilities, ChildStep::Descriptors, ChildStep::Exec];
}

/// What a child does between clone and exec, in memory that it shares with its waiting parent.
pub struct Child<'a> {
    /// The file that is executed.
    pub init: BorrowedFd<'a>,
    /// argv of init.
    pub arguments: &'a [*const c_char],
    /// CLONE_NEW* bits of the clone.
    pub namespaces: u32,
    /// The seed mount namespace, to be copied.
    pub seed: Option<BorrowedFd<'a>>,
    /// Whether the program of a new user namespace keeps its capabilities over the exec of init.
    pub ambient: bool,
    /// How many descriptors from 3 on are the container's.
    pub preserve: u32,
    /// What becomes its stdin, stdout and stderr, from numbers above 2, with those numbers.
    pub stdio: &'a [(OwnedFd, u32)],
    /// Descriptors that init inherits.
    pub keep: &'a [RawFd],
    /// The step where it failed, and why.
    failed: [AtomicU32; 2],
}

/// What [`spawn`] made.
pub struct Spawned {
    /// The process that became init.
    pub pid: Pid,
    /// A pidfd for it.
    pub pidfd: OwnedFd,
}

/// The child needs a few frames and one small buffer.
const STACK: usize = 64 * 1024;

/// Only its address is used.
#[repr(align(16))]
#[allow(dead_code)]
struct Stack([std::mem::MaybeUninit<u8>; STACK]);

impl<'a> Child<'a> {
    /// A child that executes `init`, with nothing special.
    pub fn new(init: BorrowedFd<'a>, arguments: &'a [*const c_char], keep: &'a [RawFd]) -> Self {
        Child {
            init,
            arguments,
            namespaces: 0,
            seed: None,
            ambient: false,
            preserve: 0,
            stdio: &[],
            keep,
            failed: Default::default(),
        }
    }

    fn fail(&self, step: ChildStep, errno: Errno) -> ! {
        self.failed[1].store(errno.raw_os_error() as u32, Ordering::Relaxed);
        self.failed[0].store(step as u32, Ordering::Relaxed);
        pillbox_init::sys::exit(1)
    }

    /// The last steps before init; runs on a stack of its own, in the parent's memory. It only makes system calls.
    fn become_init(&self) -> ! {
        if let Some(seed) = self.seed {
            const NEWNS: u32 = linux_raw_sys::general::CLONE_NEWNS;
            let entered = pillbox_init::sys::setns(seed, NEWNS);
            if let Err(errno) = entered.and_then(|()| pillbox_init::sys::unshare_namespaces(NEWNS)) {
                self.fail(ChildStep::Seed, errno);
            }
        }
        if self.ambient
            && let Err(errno) = keep_capabilities_over_exec()
        {
            self.fail(ChildStep::Capabilities, errno);
        }
        if let Err(errno) = self.sort_descriptors() {
            self.fail(ChildStep::Descriptors, errno);
        }
        let environment = [std::ptr::null::<c_char>()];
        // SAFETY: `arguments` ends with NULL (checked by `spawn`), and so does the empty environment.
        let errno = unsafe {
            pillbox_init::sys::execveat(self.init.as_raw_fd(), self.arguments.as_ptr(), environment.as_ptr())
        };
        self.fail(ChildStep::Exec, errno)
    }

    /// Everything closes at the exec but stdio, what the caller preserves, and what init needs.
    fn sort_descriptors(&self) -> Result<(), Errno> {
        for (fd, number) in self.stdio {
            pillbox_init::sys::dup_onto(fd.as_fd(), *number as RawFd)?;
        }
        pillbox_init::sys::close_on_exec_from(self.preserve.saturating_add(3))?;
        for &fd in self.keep {
            rustix::io::fcntl_setfd(
                pillbox_init::sys::inherited_fd(fd as u32),
                rustix::io::FdFlags::empty(),
            )?;
        }
        Ok(())
    }
}

/// A new user namespace gives its first process all capabilities, and execve(2) takes them from whoever is not
/// root there, which without id maps nobody is. Ambient ones stay.
fn keep_capabilities_over_exec() -> Result<(), Errno> {
    use rustix::thread::{
        CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities,
    };
    let mut sets = capabilities(None)?;
    sets.inheritable = sets.permitted;
    set_capabilities(None, sets)?;
    for number in (0..u64::BITS).filter(|number| sets.permitted.bits() & (1 << number) != 0) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)?;
    }
    Ok(())
}

/// clone3(2), and init in the child. Returns when init runs; what the runtime has to do `meanwhile` it does while the
/// child is on its way there.
///
/// The child borrows the parent's memory until it executes (CLONE_VM): no page table is copied. It stands
/// in new namespaces at most: those that others are in already are entered by init.
///
/// # Errors
/// The step that failed and its errno; no child is left then.
pub fn spawn(
    child: &Child<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    meanwhile: Option<&mut dyn FnMut()>,
) -> Result<Spawned, (ChildStep, Errno)> {
    if child.arguments.last().is_none_or(|last| !last.is_null()) {
        return Err((ChildStep::Exec, Errno::INVAL));
    }
    let blocked = SignalsBlocked::new();
    let mut stack = Box::<Stack>::new_uninit();
    let (pid, pidfd) = clone_shared(
        u64::from(child.namespaces),
        cgroup,
        stack.as_mut_ptr().cast(),
        begin,
        std::ptr::from_ref::<Child<'_>>(child).cast(),
        meanwhile,
    )
    .map_err(|errno| (ChildStep::Clone, errno))?;
    drop(blocked);
    let [step, errno] = [0, 1].map(|index: usize| child.failed[index].load(Ordering::Relaxed));
    if let Some(step) = ChildStep::FAILURES.into_iter().find(|failure| *failure as u32 == step) {
        // Gone already, or about to be.
        let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        return Err((step, Errno::from_raw_os_error(errno as i32)));
    }
    Ok(Spawned { pid, pidfd })
}

/// The child's first function.
unsafe extern "C" fn begin(child: *const c_void) -> ! {
    // SAFETY: `spawn` passes a `Child` and keeps it until this process has left its memory; what this process
    // writes in it is atomic.
    unsafe { &*child.cast::<Child<'_>>() }.become_init()
}

/// A process in new namespaces that has ended already, and whose number stays its own until it is waited for:
/// /proc/PID leads to its namespaces.
pub fn spawn_ended(namespaces: u32) -> Result<Spawned, Errno> {
    let blocked = SignalsBlocked::new();
    let mut stack = Box::<Stack>::new_uninit();
    let (pid, pidfd) =
        clone_shared(u64::from(namespaces), None, stack.as_mut_ptr().cast(), end, std::ptr::null(), None)?;
    drop(blocked);
    Ok(Spawned { pid, pidfd })
}

unsafe extern "C" fn end(_: *const c_void) -> ! {
    pillbox_init::sys::exit(0)
}

/// clone3(2) with CLONE_VM and CLONE_PIDFD. `entry` runs in the child on `stack` (of `STACK` bytes). Returns when the
/// child has left the memory, which is when it executes or ends: suspended until then (CLONE_VFORK), or after `meanwhile`.
fn clone_shared(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    stack: *mut c_void,
    entry: unsafe extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
    meanwhile: Option<&mut dyn FnMut()>,
) -> Result<(Pid, OwnedFd), Errno> {
    use linux_raw_sys::general as raw;
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let mut pidfd: i32 = -1;
    // The kernel clears it, and wakes whoever waits, when the child leaves the memory (set_tid_address(2)).
    let inside = AtomicU32::new(1);
    let waits = if meanwhile.is_some() { raw::CLONE_CHILD_CLEARTID } else { raw::CLONE_VFORK };
    let mut arguments = raw::clone_args {
        flags: flags | u64::from(raw::CLONE_VM | raw::CLONE_PIDFD | waits),
        pidfd: &raw mut pidfd as u64,
        child_tid: inside.as_ptr() as u64,
        parent_tid: 0,
        exit_signal: u64::from(raw::SIGCHLD),
        stack: stack as u64,
        stack_size: STACK as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the child starts on a stack of its own with `entry`, which does not return, so nothing of the
    // parent's frames is popped twice; this function returns when the child has executed or exited, and so what it
    // was given outlives it; it writes nothing there but atomics. The thread pointer is shared as well: `entry` only
    // makes system calls. Nobody in a container can see the child: it is in no namespace with others before it executes.
    // Signals are blocked, so that no handler of the parent's runs in the child.
    let result = unsafe { clone3(&raw const arguments, size_of::<raw::clone_args>(), entry, argument) };
    if result < 0 {
        return Err(Errno::from_raw_os_error(-(result as i32)));
    }
    if let Some(meanwhile) = meanwhile {
        meanwhile();
        while inside.load(Ordering::Acquire) != 0 {
            // Woken for nothing, interrupted, or too late: the loop looks again.
            let _ = rustix::thread::futex::wait(&inside, rustix::thread::futex::Flags::empty(), 1, None);
        }
    }
    let pid = Pid::from_raw(result as i32).ok_or(Errno::CHILD)?;
    // SAFETY: CLONE_PIDFD stored a new descriptor, which nothing else owns.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The system call, and in the child the call of `entry(argument)` on the new stack.
///
/// # Safety
/// `arguments` must name a stack that is large enough for `entry`, and what the child uses must stay until it leaves the
/// memory.
unsafe fn clone3(
    arguments: *const linux_raw_sys::general::clone_args,
    size: usize,
    entry: unsafe extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
) -> isize {
    use std::arch::asm;
    let number = linux_raw_sys::general::__NR_clone3 as isize;
    let result: isize;
    // SAFETY: the caller answers for the call. In the parent only the result register changes; the child never
    // comes out of the block.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!(
            "syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r8", "call r9", "ud2", "2:",
            inlateout("rax") number => result, in("rdi") arguments, in("rsi") size, in("r8") argument,
            in("r9") entry, lateout("rcx") _, lateout("r11") _,
        );
        #[cfg(target_arch = "aarch64")]
        asm!(
            "svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x3", "blr x4", "brk 1", "2:",
            in("x8") number, inlateout("x0") arguments => result, in("x1") size, in("x3") argument, in("x4") entry,
        );
        #[cfg(target_arch = "riscv64")]
        asm!(
            "ecall", "bnez a0, 2f", "mv a0, a3", "jalr a4", "unimp", "2:",
            in("a7") number, inlateout("a0") arguments => result, in("a1") size, in("a3") argument, in("a4") entry,
        );
    }
    result
}

/// All signals blocked for the calling thread, until dropped.
struct SignalsBlocked(u64);

impl SignalsBlocked {
    fn new() -> Self {
        SignalsBlocked(set_signal_mask(u64::MAX))
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        set_signal_mask(self.0);
    }
}

/// rt_sigprocmask(SIG_SETMASK); the result is the mask before. Bit n stands for signal n + 1.
pub fn set_signal_mask(mask: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: both masks have the eight bytes that the kernel is told of.
    let _ = unsafe {
        syscall4(
            Sysno::rt_sigprocmask,
            linux_raw_sys::general::SIG_SETMASK as usize,
            (&raw const mask) as usize,
            (&raw mut before) as usize,
            size_of::<u64>(),
        )
    };
    before
}

/// signalfd4(2) for the signals in `mask`: non-blocking, close-on-exec. Each read gives 128 bytes, the signal's
/// number in the first four.
pub fn signalfd(mask: u64) -> Result<OwnedFd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    // SAFETY: the kernel reads a mask of eight bytes; the descriptor that it returns is new.
    unsafe {
        let mask = (&raw const mask) as usize;
        let fd = syscall4(Sysno::signalfd4, usize::MAX, mask, size_of::<u64>(), flags.bits() as usize)
            .map_err(errno)?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// ioctl(NS_GET_NSTYPE): the CLONE_NEW* bit of the namespace that `fd` stands for. See ioctl_ns(2).
///
/// # Errors
/// `ENOTTY` when it stands for something else.
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    const NS_GET_NSTYPE: usize = 0xb703;
    // SAFETY: the request takes no argument.
    let kind = unsafe { syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, NS_GET_NSTYPE, 0) };
    kind.map(|kind| kind as u32).map_err(errno)
}

/// ioctl(NS_MNT_GET_INFO): how many mounts are in the mount namespace that `fd` stands for. See ioctl_nsfs(2).
///
/// # Errors
/// `EINVAL` for a namespace of another type; `ENOTTY` when it is none, and before Linux 6.11.
pub fn mount_count(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    /// `struct mnt_ns_info` in its first form.
    #[repr(C)]
    struct MountNamespaceInfo {
        size: u32,
        mounts: u32,
        id: u64,
    }
    /// `_IOR(0xb7, 10, struct mnt_ns_info)`
    const NS_MNT_GET_INFO: usize = 0x8010_b70a;
    let mut info = MountNamespaceInfo { size: 0, mounts: 0, id: 0 };
    let argument = (&raw mut info) as usize;
    // SAFETY: the kernel writes no more than the 16 bytes whose size the request carries.
    unsafe { syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, NS_MNT_GET_INFO, argument) }.map_err(errno)?;
    Ok(info.mounts)
}

/// ioctl(PIDFD_GET_INFO) with `PIDFD_INFO_EXIT`: the exit code, as wait(2) encodes it, of the process that a pidfd stands
/// for; `None` while it lives or its parent has not asked. See `include/uapi/linux/pidfd.h`.
///
/// # Errors
/// `ENOTTY` or `EINVAL` where the kernel lacks the request; Linux 6.15 has it all.
pub fn exit_code(process: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    /// `struct pidfd_info` in its first form (`PIDFD_INFO_SIZE_VER0`).
    #[repr(C)]
    struct PidfdInfo {
        mask: u64,
        cgroup_id: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const { assert!(size_of::<PidfdInfo>() == 64) };
    /// `_IOWR(0xff, 11, struct pidfd_info)`
    const PIDFD_GET_INFO: usize = 0xc040_ff0b;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, cgroup_id: 0, ids: [0; 11], exit_code: 0 };
    let argument = (&raw mut info) as usize;
    // SAFETY: the kernel reads and writes no more than the 64 bytes whose size the request carries.
    unsafe { syscall3(Sysno::ioctl, process.as_raw_fd() as usize, PIDFD_GET_INFO, argument) }
        .map_err(errno)?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// Whether the kernel knows these `SECCOMP_FILTER_FLAG_*`: asked with a filter at address 0, which it never gets to.
pub fn knows_seccomp_flags(flags: u32) -> bool {
    let operation = linux_raw_sys::ptrace::SECCOMP_SET_MODE_FILTER as usize;
    // SAFETY: there is no filter at address 0, so that nothing is installed; the flags are judged before.
    let answer = unsafe { syscall3(Sysno::seccomp, operation, flags as usize, 0) };
    answer.map_err(errno) == Err(Errno::FAULT)
}

/// The descriptor with this number, if the caller of the program passed one on: it would survive an exec once more.
pub fn inherited_descriptor(number: u32) -> Option<BorrowedFd<'static>> {
    let fd = pillbox_init::sys::inherited_fd(number);
    let flags = rustix::io::fcntl_getfd(fd).ok()?;
    (!flags.contains(rustix::io::FdFlags::CLOEXEC)).then_some(fd)
}

/// A realtime signal (32 to 64) by its number; the C libraries' use of the first ones is no concern of the kernel's.
pub fn realtime_signal(number: i32) -> Option<rustix::process::Signal> {
    // SAFETY: the number is one that the kernel knows; pillbox sets no handlers that could depend on it.
    (32..=64).contains(&number).then(|| unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}

/// Runs `probe` in a child in new `namespaces` (CLONE_NEW* bits), which is gone when this returns.
///
/// The child shares this process's memory while the caller waits; `probe` has 64 KiB of stack and all capabilities
/// over what was made for it.
///
/// # Errors
/// That of the clone or of `probe`; `ECANCELED` when the child was killed.
pub fn probe(namespaces: u32, probe: fn() -> Result<(), Errno>) -> Result<(), Errno> {
    let state = Probe { run: probe, result: Cell::new(Errno::CANCELED.raw_os_error()) };
    let blocked = SignalsBlocked::new();
    let mut stack = Box::<Stack>::new_uninit();
    let (_, pidfd) = clone_shared(
        u64::from(namespaces),
        None,
        stack.as_mut_ptr().cast(),
        begin_probe,
        std::ptr::from_ref(&state).cast(),
        None,
    )?;
    drop(blocked);
    // It has ended: the clone returned after that.
    let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    match state.result.get() {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(code)),
    }
}

/// What a probing child does, and how it went: 0 or an errno.
struct Probe {
    run: fn() -> Result<(), Errno>,
    result: Cell<i32>,
}

unsafe extern "C" fn begin_probe(state: *const c_void) -> ! {
    // SAFETY: `probe` passes a `Probe` and waits for this process, which alone uses it meanwhile.
    let state = unsafe { &*state.cast::<Probe>() };
    state.result.set((state.run)().map_or_else(Errno::raw_os_error, |()| 0));
    pillbox_init::sys::exit(0)
}

/// A call whose presence can be asked for by calling it with what it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probeable(Sysno);

/// The calls that pillbox rests on and the oldest kernel that has each. All ones for every argument means unknown
/// flags, sizes beyond a page, closed descriptors or bad addresses to each of these: none can have an effect.
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

/// What the call answers to arguments that it has to refuse: `ENOSYS` where there is none.
pub fn refusal(call: Probeable) -> Errno {
    let none = usize::MAX;
    // SAFETY: `Probeable` is only made in `PROBEABLE`, whose calls refuse these arguments without an effect.
    match unsafe { syscalls::syscall6(call.0, none, none, none, none, none, none) } {
        Err(refused) => errno(refused),
        Ok(_) => Errno::INVAL,
    }
}

/// seccomp(SECCOMP_GET_ACTION_AVAIL): whether filters may return `action`.
///
/// # Errors
/// `EOPNOTSUPP` when they may not, `ENOSYS` or `EINVAL` where there are no filters.
pub fn seccomp_action_available(action: u32) -> Result<(), Errno> {
    const SECCOMP_GET_ACTION_AVAIL: usize = 2;
    // SAFETY: the kernel reads four bytes at the address, which outlive the call.
    let asked =
        unsafe { syscall3(Sysno::seccomp, SECCOMP_GET_ACTION_AVAIL, 0, (&raw const action) as usize) };
    asked.map(drop).map_err(errno)
}
