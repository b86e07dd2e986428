//! Namespaces: made, entered, and a child that continues in new ones.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::thread::{Timespec, futex};

use super::{number, syscall};

/// unshare(2) of namespaces. `EINVAL` if `flags` has others than CLONE_NEW*.
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

/// setns(2) into the namespace `fd`, or, if `fd` is a pidfd, into namespaces of that process; `kinds` are
/// CLONE_NEW* bits.
pub fn setns(fd: impl AsFd, kinds: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    unsafe { syscall(raw::__NR_setns, [number(&fd), kinds as usize, 0, 0, 0, 0])? };
    Ok(())
}

/// [`setns`] into a namespace that a process cannot enter while it shares its memory (`EUSERS`), as a time
/// namespace. Waits for the process that init has cloned itself from, which is about to end.
pub fn setns_alone(fd: impl AsFd, kind: u32) -> Result<(), Errno> {
    const PATIENCE: u32 = 10_000;
    for _ in 0..PATIENCE {
        match setns(&fd, kind) {
            Err(Errno::USERS) => {
                let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: 100_000 });
            }
            entered => return entered,
        }
    }
    Err(Errno::USERS)
}

/// clone3(2) into new namespaces of these kinds (CLONE_NEW* bits) and, if there is one, into `cgroup`. It is
/// the child that returns, in the same memory and on the same stack; its parent is the caller's parent. The
/// caller runs `leave` with the child's pid, on the stack of `farewell`, and the child waits until the caller
/// has [sent](Farewell::sent) its message: in the cgroup an out-of-memory kill takes every process that
/// shares the child's memory.
pub fn go_on_as_child(
    namespaces: u32,
    cgroup: Option<BorrowedFd<'_>>,
    farewell: &'static Farewell,
    leave: extern "C" fn(child: i32, farewell: &'static Farewell) -> !,
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
    let number = raw::__NR_clone3 as isize;
    let size = size_of_val(&arguments);
    // Calls need an aligned stack, whatever the order of the fields.
    let top = (farewell.stack.get() as usize + FAREWELL_STACK) & !15;
    let pointer = &raw const *farewell;
    let result: isize;
    // SAFETY: the child returns as from any system call, and no other process uses its stack: the caller
    // leaves it at once for one that was never used before, where it runs a function that touches nothing of
    // the child's and ends the process.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!(
            "syscall", "test rax, rax", "jle 2f", "mov rsp, r10", "xor ebp, ebp", "mov edi, eax", "mov rsi, r8",
            "call r9", "ud2", "2:",
            inlateout("rax") number => result, in("rdi") &raw const arguments, in("rsi") size, in("r8") pointer,
            in("r9") leave, in("r10") top, lateout("rcx") _, lateout("r11") _,
        );
        #[cfg(target_arch = "aarch64")]
        asm!(
            "svc 0", "cmp x0, #0", "b.le 2f", "mov sp, x5", "mov x29, xzr", "mov x1, x3", "blr x4", "brk 1", "2:",
            in("x8") number, inlateout("x0") &raw const arguments => result, in("x1") size, in("x3") pointer,
            in("x4") leave, in("x5") top,
        );
        #[cfg(target_arch = "riscv64")]
        asm!(
            "ecall", "blez a0, 2f", "mv sp, a5", "mv a1, a3", "jalr a4", "unimp", "2:",
            in("a7") number, inlateout("a0") &raw const arguments => result, in("a1") size, in("a3") pointer,
            in("a4") leave, in("a5") top,
        );
    }
    if result < 0 { Err(Errno::from_raw_os_error(-(result as i32))) } else { farewell.await_sent() }
}

/// Enough for one message.
const FAREWELL_STACK: usize = 2048;

/// The stack on which a process ends that has cloned itself, and its last message. Used once.
#[repr(align(16))]
pub struct Farewell {
    stack: UnsafeCell<MaybeUninit<[u8; FAREWELL_STACK]>>,
    channel: AtomicU32,
    index: AtomicU32,
    /// 0 until the message has been sent or sending has failed; then [`SENT`] or an errno.
    sent: AtomicU32,
    /// [`AWAITED`] from [`Self::prepare`] until then; the kernel sets it to 0 when the process ends, however
    /// it ends.
    maker: AtomicU32,
}

/// No errno is as large as this.
const SENT: u32 = u32::MAX;
const AWAITED: u32 = 1;
const DONE: u32 = 2;

// SAFETY: only the address of the stack is ever taken, and only one process runs on it.
unsafe impl Sync for Farewell {}

impl Farewell {
    /// A value that was never used.
    pub const fn unused() -> Farewell {
        Farewell {
            stack: UnsafeCell::new(MaybeUninit::uninit()),
            channel: AtomicU32::new(0),
            index: AtomicU32::new(0),
            sent: AtomicU32::new(0),
            // All bytes are zero, so that the stack takes no room in the binary.
            maker: AtomicU32::new(0),
        }
    }

    /// Prepares the message: on `channel`, which has to stay open, that step `index` of the entry was a
    /// clone.
    pub fn prepare(&'static self, channel: BorrowedFd<'static>, index: u32) {
        self.channel.store(number(&channel) as u32, Ordering::Relaxed);
        self.index.store(index, Ordering::Relaxed);
        // Written first: the page has to be this process's own when the kernel uses the address as a futex.
        self.maker.store(AWAITED, Ordering::Relaxed);
        // SAFETY: the kernel writes 0 to the address when this process leaves its memory and others still use
        // it; the value is atomic and lives as long as that memory.
        let _ = unsafe { syscall(raw::__NR_set_tid_address, [self.maker.as_ptr() as usize, 0, 0, 0, 0, 0]) };
    }

    /// The arguments of [`Self::prepare`].
    pub fn prepared(&self) -> (BorrowedFd<'static>, u32) {
        let channel = self.channel.load(Ordering::Relaxed) as i32;
        // SAFETY: the caller of `prepare` keeps it open; the 0 of an unused value is not -1.
        (unsafe { BorrowedFd::borrow_raw(channel) }, self.index.load(Ordering::Relaxed))
    }

    /// Notes that the message was sent, or why it was not, and lets the child continue or end.
    pub fn sent(&self, result: Result<(), Errno>) {
        let sent = result.map_or_else(|errno| errno.raw_os_error() as u32, |()| SENT);
        self.sent.store(sent, Ordering::Relaxed);
        self.maker.store(DONE, Ordering::Release);
        let _ = futex::wake(&self.maker, SHARED, 1);
    }

    /// # Errors
    /// Why the message could not be sent; `ESRCH` if the sender was killed before.
    fn await_sent(&self) -> Result<(), Errno> {
        loop {
            let maker = self.maker.load(Ordering::Acquire);
            match self.sent.load(Ordering::Acquire) {
                SENT => return Ok(()),
                0 if maker == AWAITED => {}
                0 => return Err(Errno::SRCH),
                errno => return Err(Errno::from_raw_os_error(errno as i32)),
            }
            match futex::wait(&self.maker, SHARED, AWAITED, None) {
                Ok(()) | Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// The kernel wakes waiters of an address that it clears as those of a shared futex.
const SHARED: futex::Flags = futex::Flags::empty();
