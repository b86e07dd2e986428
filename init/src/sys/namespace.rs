//! Namespaces: entered, made, and a child that goes on in new ones.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::thread::Timespec;

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

/// The same for a time namespace, which lets nobody in who shares its memory: a process that init has cloned itself from is on
/// its way out.
pub fn setns_alone(fd: impl AsFd, flag: u32) -> Result<(), Errno> {
    const PATIENCE: u32 = 10_000;
    for _ in 0..PATIENCE {
        match setns(&fd, flag) {
            Err(Errno::USERS) => {
                let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: 100_000 });
            }
            entered => return entered,
        }
    }
    Err(Errno::USERS)
}

/// What the caller of [`go_on_as_child`] does once it has a child, whose number it gets: makes system calls, and ends.
pub type Farewell = extern "C" fn(child: i32, channel: u32, index: u32) -> !;

/// clone3(2) into new namespaces of these kinds (CLONE_NEW* bits) and, where there is one, into `cgroup`. Whoever returns from
/// here is the child, in the same memory and on the same stack; its parent is the caller's. The caller says `farewell` on
/// `stack`.
pub fn go_on_as_child(
    namespaces: u32,
    cgroup: Option<BorrowedFd<'_>>,
    stack: &'static FarewellStack,
    farewell: (Farewell, u32, u32),
) -> Result<(), Errno> {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let arguments = raw::clone_args {
        flags: u64::from(namespaces | raw::CLONE_PARENT | raw::CLONE_VM)
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
    let (farewell, channel, index) = farewell;
    let number = raw::__NR_clone3 as isize;
    let size = size_of_val(&arguments);
    let top = stack.0.get() as usize + FAREWELL_STACK;
    let result: isize;
    // SAFETY: the child returns as from any system call, and nobody else uses its stack: the caller leaves it at once for
    // one that was never used before, runs a function there that does not return and touches nothing of the child's, and ends.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!(
            "syscall", "test rax, rax", "jle 2f", "mov rsp, r10", "xor ebp, ebp", "mov edi, eax", "mov esi, r8d",
            "call r9", "ud2", "2:",
            inlateout("rax") number => result, in("rdi") &raw const arguments, in("rsi") size, in("r8") channel,
            in("r9") farewell, in("r10") top, in("rdx") index, lateout("rcx") _, lateout("r11") _,
        );
        #[cfg(target_arch = "aarch64")]
        asm!(
            "svc 0", "cmp x0, #0", "b.le 2f", "mov sp, x5", "mov x29, xzr", "mov x1, x3", "blr x4", "brk 1", "2:",
            in("x8") number, inlateout("x0") &raw const arguments => result, in("x1") size, in("x3") channel,
            in("x4") farewell, in("x5") top, in("x2") index,
        );
        #[cfg(target_arch = "riscv64")]
        asm!(
            "ecall", "blez a0, 2f", "mv sp, a5", "mv a1, a3", "jalr a4", "unimp", "2:",
            in("a7") number, inlateout("a0") &raw const arguments => result, in("a1") size, in("a3") channel,
            in("a4") farewell, in("a5") top, in("a2") index,
        );
    }
    if result < 0 { Err(Errno::from_raw_os_error(-(result as i32))) } else { Ok(()) }
}

/// Enough for one message.
const FAREWELL_STACK: usize = 2048;

/// Where a process ends that has cloned itself: of each the first one's, and used once.
#[repr(align(16))]
pub struct FarewellStack(UnsafeCell<MaybeUninit<[u8; FAREWELL_STACK]>>);

// SAFETY: only its address is ever taken; whoever runs on it is alone there.
unsafe impl Sync for FarewellStack {}

impl FarewellStack {
    /// One that was never used.
    pub const fn new() -> Self {
        FarewellStack(UnsafeCell::new(MaybeUninit::uninit()))
    }
}
