//! Which processors a thread may use.

use pillbox_init::sys::{Processors, affinity, set_affinity, use_every_processor};
use rustix::process::Pid;
use rustix::thread::sched_getcpu;

/// Where the calling thread may run, if that is more than one processor.
pub fn several_processors() -> Option<Processors> {
    affinity(None).ok().filter(|allowed| allowed.count() > 1)
}

/// Lets the calling thread use every processor. Whether what it might use before, `allowed`, was all that its cgroup has:
/// then as far as can be seen nobody has restricted it, and what this changes shows in a cgroup with more of them at most.
///
/// Memory is not allocated.
pub fn lift_restriction(allowed: &Processors) -> bool {
    use_every_processor().and_then(|()| affinity(None)).is_ok_and(|now| now == *allowed)
}

/// Holds a thread, `None` for the calling one, to the processor where the calling one runs.
///
/// Memory is not allocated.
pub fn hold_here(thread: Option<Pid>) {
    let mut here = Processors::none();
    here.add(sched_getcpu());
    // Refused for a thread with a deadline, which then stays where it is.
    let _ = set_affinity(thread, &here);
}
