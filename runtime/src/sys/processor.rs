//! Which processors a thread may use.

use pillbox_init::sys::use_every_processor;
use rustix::thread::{CpuSet, sched_getaffinity};

/// Lets the calling thread use every processor. Whether what it might use before, `allowed`, was all that its cgroup has:
/// then as far as can be seen nobody has restricted it, and what this changes shows in a cgroup with more of them at most.
///
/// Memory is not allocated.
pub fn lift_restriction(allowed: &CpuSet) -> bool {
    use_every_processor().and_then(|()| sched_getaffinity(None)).is_ok_and(|now| now == *allowed)
}
