//! What all cases use: isolation from the machine, the runtimes under test, bundles that clean up after
//! themselves.

mod container;
pub mod host;
mod invocation;
mod runtime;
mod schema;
mod terminal;

pub use container::Container;
pub use host::{
    all_processors_of_the_cgroup, copy_program, decoy, lack, mountpoints, processes_naming, skip,
    status_field, while_swapped,
};
pub use invocation::{Output, Running, start_limited, start_writing_to};
pub use runtime::{Runtime, each_runtime, each_runtime_but, pillbox_only};
pub use schema::{assert_matches, faults};
pub use terminal::{Terminal, read_slowly};

use std::time::{Duration, Instant};

/// How long anything may take before it counts as hanging.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Calls `ready` every 10 ms until it returns something; panics with `what` after [`LIMIT`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(begun.elapsed() < LIMIT, "waited {LIMIT:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
