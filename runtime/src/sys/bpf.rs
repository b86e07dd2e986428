//! bpf(2): loads and attaches the device filter of a cgroup. Numbers and layouts are from
//! `include/uapi/linux/bpf.h`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use syscalls::{Sysno, syscall3};

use super::errno;

const BPF_PROG_LOAD: usize = 5;
const BPF_PROG_ATTACH: usize = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// One eBPF instruction: `struct bpf_insn` on a little-endian machine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, source and size.
    pub code: u8,
    /// The destination register in the low half, the source register in the high one.
    pub registers: u8,
    /// The offset of a jump or a load.
    pub offset: i16,
    /// The immediate operand.
    pub immediate: i32,
}

/// The bit fields of `struct bpf_insn` have this layout only on little-endian machines.
const _: () = assert!(cfg!(target_endian = "little"));

/// How many times to try a load that is interrupted by a signal.
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
        // The program calls no helper, so that any license will do.
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
        // SAFETY: `attributes` is a properly padded bpf_attr of the given size. Its pointers lead to a slice
        // of 8-byte instructions with the right count, and to a NUL-terminated string; all three outlive the
        // call, which only reads them.
        let loaded = unsafe { syscall3(Sysno::bpf, BPF_PROG_LOAD, arguments, size_of::<ProgramLoad>()) };
        match loaded.map_err(errno) {
            // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor, which nothing else owns.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            // The verifier gives up if a signal is pending.
            Err(Errno::AGAIN) if attempts < LOAD_ATTEMPTS => attempts += 1,
            Err(errno) => return Err(errno),
        }
    }
}

/// Attaches a device program to a cgroup, in addition to programs of others (`BPF_F_ALLOW_MULTI`: all must
/// agree).
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
    // SAFETY: `attributes` is a bpf_attr of the given size, which the call only reads. It has no pointers,
    // and both descriptors are borrowed for the whole call.
    let attached = unsafe { syscall3(Sysno::bpf, BPF_PROG_ATTACH, arguments, size_of::<ProgramAttach>()) };
    attached.map(drop).map_err(errno)
}
