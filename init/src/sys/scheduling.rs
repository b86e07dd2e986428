//! Scheduling: priorities, processors, memory nodes.

use linux_raw_sys::general as raw;
use rustix::io::Errno;
use rustix::process::Pid;

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
        // The kernel uses one bit less than it is told.
        bytes => (nodes.as_ptr() as usize, bytes * 8 + 1),
    };
    // SAFETY: the kernel copies `bits` - 1 bits, all of the slice, whatever its alignment.
    unsafe { syscall(raw::__NR_set_mempolicy, [mode as usize, mask, bits, 0, 0, 0])? };
    Ok(())
}

/// Processors by their numbers: as many as the kernel can be built for (CONFIG_NR_CPUS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processors([u64; Processors::COUNT / 64]);

impl Processors {
    /// All numbers are below this.
    pub const COUNT: usize = 8192;

    /// No processor.
    pub fn none() -> Self {
        Processors([0; _])
    }

    /// Every processor that there can be.
    pub fn every() -> Self {
        Processors([u64::MAX; _])
    }

    /// Adds one; a number that is too large changes nothing.
    pub fn add(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Removes one.
    pub fn remove(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Whether it contains the processor with this number.
    pub fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// The number of processors.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

fn thread_number(thread: Option<Pid>) -> usize {
    thread.map_or(0, |thread| thread.as_raw_nonzero().get() as usize)
}

/// sched_getaffinity(2): the processors on which a thread may run; `None` is the calling thread.
pub fn affinity(thread: Option<Pid>) -> Result<Processors, Errno> {
    let mut allowed = Processors::none();
    let (size, mask) = (size_of_val(&allowed.0), allowed.0.as_mut_ptr() as usize);
    // SAFETY: the kernel writes at most `size` bytes, which is what the mask has.
    unsafe { syscall(raw::__NR_sched_getaffinity, [thread_number(thread), size, mask, 0, 0, 0])? };
    Ok(allowed)
}

/// sched_setaffinity(2) of a thread; `None` is the calling thread. The kernel ignores processors that it does
/// not know.
pub fn set_affinity(thread: Option<Pid>, allowed: &Processors) -> Result<(), Errno> {
    let (size, mask) = (size_of_val(&allowed.0), allowed.0.as_ptr() as usize);
    // SAFETY: the kernel copies at most `size` bytes, which is what the mask has.
    unsafe { syscall(raw::__NR_sched_setaffinity, [thread_number(thread), size, mask, 0, 0, 0])? };
    Ok(())
}

/// Lets the calling thread use every processor of its cgroup, including those that the cgroup may get later.
pub fn use_every_processor() -> Result<(), Errno> {
    set_affinity(None, &Processors::every())
}
