//! Who gets processor, disk and memory first: sched_setattr(2) and its like.

use linux_raw_sys::general as raw;
use rustix::io::Errno;

use super::syscall;

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

/// sched_setaffinity(2) of the calling thread: to every processor of its cgroup, and those that this may still get.
pub fn use_every_processor() -> Result<(), Errno> {
    // The kernel takes no more processors than it knows, and 1024 are what rustix can ask for.
    let every = [u64::MAX; 16];
    let (size, mask) = (size_of_val(&every), every.as_ptr() as usize);
    // SAFETY: the kernel copies `size` bytes, which is what the mask has.
    unsafe { syscall(raw::__NR_sched_setaffinity, [0, size, mask, 0, 0, 0])? };
    Ok(())
}
