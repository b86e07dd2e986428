//! What a container uses at a moment: by its cgroup and, where that does not count, by its processes.

use std::time::{Duration, Instant};

use pillbox::container::Watch;
use serde_json::Value;

use super::processes::processes;
use super::record::ContainerRecord;
use super::status::{open_running, unless_ended};
use crate::error::{Context, Result};
use crate::store::{ContainerFolder, Store};

/// What a container has used until a moment, and what it uses then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Time of processors.
    pub cpu: Duration,
    /// Bytes of memory, without what the kernel would give up at once.
    pub memory: u64,
    /// The most bytes that it may have: the machine's, if nothing else is said.
    pub memory_max: u64,
    /// Bytes that came and went by the network.
    pub network: (u64, u64),
    /// Bytes read from disks and written to them.
    pub blocks: (u64, u64),
    /// How many processes and threads.
    pub pids: u64,
}

impl Sample {
    /// Looks at a container that runs.
    ///
    /// # Errors
    /// It does not run.
    pub fn take(store: &Store, folder: &ContainerFolder, record: &ContainerRecord) -> Result<Sample> {
        let pid = unless_ended(store, folder, open_running(store, folder)?.pid())?;
        let document = document(store, folder);
        let number = |pointer: &str| document.pointer(pointer).and_then(Value::as_u64);
        // Looking at each process takes long: only where the cgroup does not count.
        let counted = ["/memory/usage/usage", "/cpu/usage/total", "/pids/current"];
        let found = match counted.iter().all(|pointer| number(pointer).is_some()) {
            true => Vec::new(),
            false => processes(store, folder)?,
        };
        let resident = || found.iter().map(|process| process.resident).sum();
        let memory = match number("/memory/usage/usage") {
            Some(usage) => usage.saturating_sub(number("/memory/raw/inactive_file").unwrap_or(0)),
            None => resident(),
        };
        let machine = machine_memory()?;
        let cpu = match number("/cpu/usage/total") {
            Some(nanoseconds) => Duration::from_nanos(nanoseconds),
            None => Duration::from_secs(found.iter().map(|process| process.time).sum()),
        };
        Ok(Sample {
            at: Instant::now(),
            cpu,
            memory,
            memory_max: record.options.limits.memory.unwrap_or(machine).min(machine),
            network: network(pid),
            blocks: (blocks(&document, "Read"), blocks(&document, "Write")),
            pids: number("/pids/current").unwrap_or(found.len() as u64),
        })
    }

    /// Percent of one processor since another moment.
    pub fn load_since(&self, before: &Sample) -> f64 {
        let (used, passed) = (self.cpu.saturating_sub(before.cpu), self.at.duration_since(before.at));
        match passed.as_secs_f64() {
            0.0 => 0.0,
            passed => used.as_secs_f64() / passed * 100.0,
        }
    }
}

/// The runtime's; without a cgroup there is none.
fn document(store: &Store, folder: &ContainerFolder) -> Value {
    let root = pillbox::Root::at(&store.place().runtime);
    let watch = pillbox::ContainerId::new(folder.id.as_str())
        .and_then(|id| Watch::new(&root, &id, Duration::from_secs(1)));
    match watch {
        Ok(mut watch) => {
            watch.stats().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        }
        Err(_) => Value::Null,
    }
}

fn blocks(document: &Value, operation: &str) -> u64 {
    let entries = document.pointer("/blkio/ioServiceBytesRecursive").and_then(Value::as_array);
    let is_it = |entry: &&Value| entry["op"].as_str() == Some(operation);
    entries.into_iter().flatten().filter(is_it).filter_map(|entry| entry["value"].as_u64()).sum()
}

/// Of all its interfaces but the loopback.
fn network(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let (mut received, mut sent) = (0, 0);
    for line in text.lines() {
        let Some((name, counts)) = line.split_once(':') else { continue };
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|count| count.parse().ok()).collect();
        if name.trim() != "lo" && counts.len() >= 16 {
            received += counts[0];
            sent += counts[8];
        }
    }
    (received, sent)
}

/// Bytes of memory that the machine has.
///
/// # Errors
/// /proc cannot be read.
pub fn machine_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context(|| "/proc/meminfo")?;
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    Ok(kilobytes.unwrap_or(0u64) * 1024)
}
