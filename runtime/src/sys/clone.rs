//! clone3(2) of a child that borrows the parent's memory, and of a thread that the C library does not know
//! of.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::process::Pid;

/// Enough for a few frames and one small buffer.
const STACK: usize = 64 * 1024;

/// clone(2); linux-raw-sys has only the flags of 32 bits.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Memory for a stack; only its address is used.
#[repr(align(16))]
#[allow(dead_code)]
pub(super) struct Stack([std::mem::MaybeUninit<u8>; STACK]);

/// A stack for a child that does more than system calls. An overflow kills the child instead of writing to
/// other memory.
pub(super) struct GuardedStack(*mut c_void);

impl GuardedStack {
    /// The largest page size of any machine.
    const GUARD: usize = 64 * 1024;

    pub(super) fn map() -> Result<GuardedStack, Errno> {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
        // SAFETY: a new mapping replaces nothing, and nothing uses its lower part yet.
        unsafe {
            let length = Self::GUARD + STACK;
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let low = rustix::mm::mmap_anonymous(std::ptr::null_mut(), length, access, MapFlags::PRIVATE)?;
            let stack = GuardedStack(low);
            rustix::mm::mprotect(low, Self::GUARD, MprotectFlags::empty())?;
            Ok(stack)
        }
    }

    /// The beginning of its `STACK` bytes.
    pub(super) fn bottom(&self) -> *mut c_void {
        self.0.wrapping_byte_add(Self::GUARD)
    }
}

impl Drop for GuardedStack {
    fn drop(&mut self) {
        // SAFETY: `map` has mapped it, and the process that ran on it has left the memory.
        let _ = unsafe { rustix::mm::munmap(self.0, Self::GUARD + STACK) };
    }
}

/// clone3(2) with CLONE_VM and CLONE_PIDFD, in the caller's cgroup or in `cgroup`. `entry` runs in the child
/// on `stack` (of `STACK` bytes). Returns when the child has left the memory, that is, when it executes a
/// program or ends. Until then the caller is suspended (CLONE_VFORK), or runs `meanwhile`. The child's end
/// raises no signal, unless it has executed a program by then (execve(2) sets the signal).
pub(super) fn clone_shared(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    stack: *mut c_void,
    entry: unsafe extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
    meanwhile: Option<&mut dyn FnMut()>,
) -> Result<(Pid, OwnedFd), Errno> {
    use linux_raw_sys::general as raw;
    let mut pidfd: i32 = -1;
    // The kernel clears it, and wakes a waiting thread, when the child leaves the memory
    // (set_tid_address(2)).
    let inside = AtomicU32::new(1);
    let waits = if meanwhile.is_some() { raw::CLONE_CHILD_CLEARTID } else { raw::CLONE_VFORK };
    let flags = flags | u64::from(raw::CLONE_VM | raw::CLONE_PIDFD | waits);
    let arguments = raw::clone_args {
        pidfd: &raw mut pidfd as u64,
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
        ..arguments(flags | cgroup.map_or(0, |_| CLONE_INTO_CGROUP), stack, &inside)
    };
    // SAFETY: the child starts with `entry` on a stack of its own, and `entry` does not return, so that no
    // frame of the parent's is popped twice. This function returns when the child has executed a program or
    // ended, and so its arguments outlive the child, which writes only atomics there. The thread pointer is
    // shared as well: `entry` only makes system calls. No process in a container can see the child, because
    // until it executes it is in no namespace with others. Signals are blocked, so that no handler of the
    // parent's runs in the child.
    let result = unsafe { clone3(&raw const arguments, size_of::<raw::clone_args>(), entry, argument) };
    if result < 0 {
        return Err(Errno::from_raw_os_error(-(result as i32)));
    }
    if let Some(meanwhile) = meanwhile {
        meanwhile();
        wait_until_left(&inside);
    }
    let pid = Pid::from_raw(result as i32).ok_or(Errno::CHILD)?;
    // SAFETY: CLONE_PIDFD stored a new descriptor, which nothing else owns.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// clone3(2) of a thread that runs `entry` on `stack` (of `STACK` bytes); returns its id. The kernel clears
/// `inside`, and wakes a thread that waits there, when the new thread has left the memory. It has copies of
/// the descriptors, the signal mask and the namespaces, but no thread-local storage.
///
/// # Safety
/// `entry` only makes system calls; stack, `argument` and `inside` must stay until `inside` is 0.
pub(super) unsafe fn clone_thread(
    stack: *mut c_void,
    entry: unsafe extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
    inside: &AtomicU32,
) -> Result<Option<Pid>, Errno> {
    use linux_raw_sys::general as raw;
    let flags = raw::CLONE_VM | raw::CLONE_SIGHAND | raw::CLONE_THREAD | raw::CLONE_CHILD_CLEARTID;
    let arguments = arguments(u64::from(flags), stack, inside);
    // SAFETY: as for `clone_shared`; the caller guarantees what `entry` does and what it uses.
    let result = unsafe { clone3(&raw const arguments, size_of::<raw::clone_args>(), entry, argument) };
    if result < 0 {
        Err(Errno::from_raw_os_error(-(result as i32)))
    } else {
        Ok(Pid::from_raw(result as i32))
    }
}

/// What both clones have in common: the stack, and `inside`, which tells when the stack is free again.
fn arguments(flags: u64, stack: *mut c_void, inside: &AtomicU32) -> linux_raw_sys::general::clone_args {
    linux_raw_sys::general::clone_args {
        flags,
        pidfd: 0,
        child_tid: inside.as_ptr() as u64,
        parent_tid: 0,
        exit_signal: 0,
        stack: stack as u64,
        stack_size: STACK as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    }
}

/// Waits until the kernel has cleared `inside`.
pub(super) fn wait_until_left(inside: &AtomicU32) {
    while inside.load(Ordering::Acquire) != 0 {
        // After a spurious wake-up, an interruption or an early change the loop checks again.
        let _ = rustix::thread::futex::wait(inside, rustix::thread::futex::Flags::empty(), 1, None);
    }
}

/// Makes the system call, and in the child calls `entry(argument)` on the new stack.
///
/// # Safety
/// `arguments` must name a stack that is large enough for `entry`, and everything that the child uses must
/// stay until it leaves the memory.
unsafe fn clone3(
    arguments: *const linux_raw_sys::general::clone_args,
    size: usize,
    entry: unsafe extern "C" fn(*const c_void) -> !,
    argument: *const c_void,
) -> isize {
    use std::arch::asm;
    let number = linux_raw_sys::general::__NR_clone3 as isize;
    let result: isize;
    // SAFETY: the caller guarantees what the child uses. In the parent only the result register changes; the
    // child never leaves the block.
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
