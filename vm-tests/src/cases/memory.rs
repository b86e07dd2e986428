//! How little memory a container needs: a measurement, not a case that passes or fails.

use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

use super::config::Config;
use super::{Case, Guest, Need};

/// Measured only when asked for.
pub const MEASUREMENTS: &[Case] = &[Case::new("smallest_memory", smallest_memory)
    .needs(&[Need::Controller("memory")])
    // Every probe of Go's runtime takes seconds under emulation.
    .limit(600)];

const PAGE: u64 = 4096;
/// Where even a large runtime's container runs: 64 MiB.
const ENOUGH: u64 = 16 * 1024;
/// How often a container must run at a limit.
const RUNS: usize = 3;

/// The smallest memory.max, to a page, at which a container runs whose program is busybox's `true`, which is static.
fn smallest_memory(guest: &Guest) -> Result<(), String> {
    // A processor keeps for a cgroup what was freed there, and out of reach of the other.
    let mut one = CpuSet::new();
    one.set(0);
    sched_setaffinity(None, &one).map_err(|e| format!("sched_setaffinity: {e}"))?;
    let (mut fails, mut runs) = (0, ENOUGH);
    if !runs_with(guest, runs)? {
        return Err(format!("a container does not even run with {} KiB", runs * PAGE / 1024));
    }
    while runs - fails > 1 {
        let middle = fails + (runs - fails) / 2;
        match runs_with(guest, middle)? {
            true => runs = middle,
            false => fails = middle,
        }
    }
    super::tell_figure(runs * PAGE / 1024);
    Ok(())
}

/// Whether all of some containers run with a limit of so many pages.
fn runs_with(guest: &Guest, pages: u64) -> Result<bool, String> {
    for _ in 0..RUNS {
        let config = Config::new(&["/bin/true"]).set("/linux/resources/memory/limit", json!(pages * PAGE));
        let container = guest.next_container(config)?;
        if container.run()?.code() != 0 {
            // Some runtimes leave what they could not start.
            container.call(&["delete", "--force"])?;
            return Ok(false);
        }
    }
    Ok(true)
}
