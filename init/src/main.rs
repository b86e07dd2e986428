//! The first process of every container: reads a plan, runs it, becomes the container's program.
//!
//! Static, without a C library or an allocator. The runtime executes it from a sealed memfd; its one argument
//! is the number of the descriptor that holds the plan.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod attribute;
mod channel;
mod copy_up;
mod descriptor;
mod device;
mod entry;
mod execute;
mod failure;
mod identity;
#[allow(unsafe_code)]
mod mem;
mod mount;
mod path;
mod program;
mod reaper;
mod unmount;
#[allow(unsafe_code)]
mod start {
    use core::arch::global_asm;
    use core::ffi::{CStr, c_char};

    use pillbox_init::sys;
    use rustix::fd::{FromRawFd, OwnedFd};
    use rustix::mm::{MapFlags, ProtFlags};

    use super::mem::Place;

    // The kernel enters here with argc, argv and envp on the stack; `main` gets their address.
    #[cfg(target_arch = "x86_64")]
    global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", "ud2", main = sym main);
    #[cfg(target_arch = "aarch64")]
    global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x0, sp", "bl {main}", "brk 1", main = sym main);
    #[cfg(target_arch = "riscv64")]
    global_asm!(".globl _start", "_start:", ".option push", ".option norelax", "la gp, __global_pointer$",
        ".option pop", "mv a0, sp", "call {main}", "unimp", main = sym main);

    /// # Safety
    /// `stack` must be the stack pointer with which the kernel started the program.
    unsafe extern "C" fn main(stack: *const usize) -> ! {
        // SAFETY: argc comes first, then the pointers to the arguments.
        let plan =
            unsafe { if stack.read() == 2 { number(stack.add(2).read() as *const c_char) } else { None } };
        let Some(plan) = plan else { sys::exit(super::failure::NOT_STARTED) };
        // SAFETY: the runtime opened the descriptor for this process, and nothing else here uses the number.
        let plan = unsafe { OwnedFd::from_raw_fd(plan) };
        match map(&plan) {
            Some(bytes) => {
                drop(plan);
                // SAFETY: the runtime made this process to run the plan, which names only descriptors that
                // the runtime opened for it, none that init opens itself.
                let inherited = unsafe { sys::Inherited::vouch() };
                super::execute::run(bytes, inherited)
            }
            None => sys::exit(super::failure::NOT_STARTED),
        }
    }

    /// # Safety
    /// `argument` must be a C string.
    unsafe fn number(argument: *const c_char) -> Option<i32> {
        // SAFETY: the kernel ends every argument with a NUL.
        unsafe { CStr::from_ptr(argument) }.to_str().ok()?.parse().ok().filter(|&number| number > 2)
    }

    fn map(plan: &OwnedFd) -> Option<&'static [u8]> {
        let length =
            usize::try_from(rustix::fs::fstat(plan).ok()?.st_size).ok().filter(|&length| length > 0)?;
        // SAFETY: a new private mapping replaces nothing, and it is never unmapped. The file is sealed, or
        // lies on a read-only mount where no process has it open for writing: neither its length nor its
        // content can change.
        unsafe {
            let start =
                rustix::mm::mmap(Place::Plan.hint(), length, ProtFlags::READ, MapFlags::PRIVATE, plan, 0)
                    .ok()?;
            Some(core::slice::from_raw_parts(start.cast::<u8>(), length))
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    pillbox_init::sys::exit(failure::NOT_STARTED)
}
