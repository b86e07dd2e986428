//! The system calls that rustix has no public function for, on linux-raw-sys; the only unsafe code of the
//! library.
//!
//! May use `wire` and `tree`.

mod descriptor;
mod mount;
mod namespace;
mod process;
mod scheduling;
mod signal;

use core::arch::asm;

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

pub use descriptor::{Inherited, close_on_exec_from, close_range};
pub use mount::{map_mount_owners, mount_setattr};
pub use namespace::{Farewell, go_on_as_child, setns, setns_alone, unshare_namespaces};
pub use process::{
    execve, execveat, exit, fork, getcwd, install_seccomp, join_session_keyring, may_execute, release_stack,
    set_groups, set_rlimit, umask,
};
pub use scheduling::{
    Processors, affinity, set_affinity, set_io_priority, set_memory_policy, set_personality, set_scheduler,
    use_every_processor,
};
pub use signal::{
    block_signals, default_signal, end_on_signal, ignore_signal, next_signal, reset_signals, send_signal,
};

/// Makes a system call; a negative result is an errno.
///
/// # Safety
/// As the call itself: pointers must be valid for what the kernel does with them.
#[inline(always)]
unsafe fn syscall(number: u32, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's convention; the caller guarantees the arguments.
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
