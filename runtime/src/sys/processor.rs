//! The processors that a thread may use.

use pillbox_init::sys::{Processors, affinity, set_affinity, use_every_processor};
use rustix::process::Pid;
use rustix::thread::sched_getcpu;

/// The processors that the calling thread may use, if there is more than one.
pub fn several_processors() -> Option<Processors> {
    affinity(None).ok().filter(|allowed| allowed.count() > 1)
}

/// Lifts the calling thread's CPU restriction; true if it had none. `allowed` is what it could use before: if
/// that is all that its cgroup has, nobody had restricted it, as far as can be told, and lifting changes
/// nothing unless the cgroup gets more processors later.
///
/// Does not allocate memory.
pub fn lift_restriction(allowed: &Processors) -> bool {
    use_every_processor().and_then(|()| affinity(None)).is_ok_and(|now| now == *allowed)
}

/// Holds a thread (`None` for the calling one) to the processor on which the calling thread runs.
///
/// Does not allocate memory.
pub fn hold_here(thread: Option<Pid>) {
    let mut here = Processors::none();
    here.add(sched_getcpu());
    // Refused for a thread with a deadline, which then stays where it is.
    let _ = set_affinity(thread, &here);
}

/// Keeps a new thread away from the processor on which the calling thread runs: there it may be queued behind this one, which is busy.
///
/// Does not allocate memory.
pub fn send_away(thread: Option<Pid>, allowed: &Processors) {
    let mut others = allowed.clone();
    others.remove(sched_getcpu());
    let _ = set_affinity(thread, &others);
}
