//! Which processors a thread may use.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// All of them, and those that this machine may still get.
pub fn every_processor() -> CpuSet {
    let mut every = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|processor| every.set(processor));
    every
}

/// Lets the calling thread use `every` processor. Whether what it might use before, `allowed`, was all that its cgroup has:
/// then as far as can be seen nobody has restricted it, and what this changes shows in a cgroup with more of them at most.
///
/// Memory is not allocated.
pub fn lift_restriction(every: &CpuSet, allowed: &CpuSet) -> bool {
    sched_setaffinity(None, every).and_then(|()| sched_getaffinity(None)).is_ok_and(|now| now == *allowed)
}
