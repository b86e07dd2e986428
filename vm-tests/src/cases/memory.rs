//! How little memory a container needs: a measurement, not a case that passes or fails.

use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

use super::config::Config;
use super::{Case, Guest, Need};

/// Measured only on request.
pub const MEASUREMENTS: &[Case] = &[Case::new("smallest_memory", smallest_memory)
    .needs(&[Need::Controller("memory")])
    // Under emulation every run of a runtime written in Go takes seconds.
    .limit(600)];

const PAGE: u64 = 4096;
/// Enough for a container of even a large runtime: 64 MiB.
const ENOUGH: u64 = 16 * 1024;
/// How many times a container must run with a limit.
const RUNS: usize = 3;

/// The smallest memory.max, to a page, with which a container runs whose program is `true` of a static
/// busybox.
fn smallest_memory(guest: &Guest) -> Result<(), String> {
    // A processor caches memory freed for a cgroup, which another processor can't use.
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

/// Whether several containers in a row run with a limit of this many pages.
fn runs_with(guest: &Guest, pages: u64) -> Result<bool, String> {
    for _ in 0..RUNS {
        let config = Config::new(&["/bin/true"]).set("/linux/resources/memory/limit", json!(pages * PAGE));
        let container = guest.next_container(config)?;
        if container.run()?.code() != 0 {
            // Some runtimes leave a container behind that they could not start.
            container.call(&["delete", "--force"])?;
            return Ok(false);
        }
    }
    Ok(true)
}
