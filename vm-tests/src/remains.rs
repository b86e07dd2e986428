//! What a case must not leave behind: processes, cgroups, mounts, state of containers, networks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::traces;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Killed processes may still be there for a moment after the runtime has ended.
const GRACE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(20);

/// Everything that could be left behind, at one moment.
pub struct Snapshot {
    processes: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    mounts: Vec<String>,
    containers: BTreeSet<PathBuf>,
    networks: BTreeSet<String>,
}

impl Snapshot {
    /// Takes a snapshot; `states` are the runtime's state folders. What cannot be read counts as empty.
    pub fn take(states: &[PathBuf]) -> Snapshot {
        let containers = states.iter().flat_map(|state| containers(state)).collect();
        Snapshot {
            processes: processes(),
            cgroups: cgroups(),
            mounts: mounts(),
            containers,
            networks: traces::all(),
        }
    }

    /// What is here now and was not in `before`, as texts.
    fn beyond(&self, before: &Snapshot) -> Vec<String> {
        let processes = self.processes.difference(&before.processes).map(|name| format!("process {name}"));
        let cgroups =
            self.cgroups.difference(&before.cgroups).map(|path| format!("cgroup {}", path.display()));
        let mounts = self.mounts_beyond(before).into_iter().map(|mount| format!("mount {mount}"));
        let containers = self.containers.difference(&before.containers);
        let containers = containers.map(|state| format!("state {}", state.display()));
        let networks = self.networks.difference(&before.networks).cloned();
        processes.chain(cgroups).chain(mounts).chain(containers).chain(networks).collect()
    }

    /// Several mounts may look the same; each of `before` accounts for one.
    fn mounts_beyond(&self, before: &Snapshot) -> Vec<String> {
        let mut known = before.mounts.clone();
        let mut new = self.mounts.clone();
        new.retain(|mount| match known.iter().position(|other| other == mount) {
            Some(at) => {
                known.swap_remove(at);
                false
            }
            None => true,
        });
        new
    }
}

/// Waits a moment for the state of `before`, calling `reap` meanwhile. Returns what is still left, as texts.
pub fn wait_until_gone(before: &Snapshot, states: &[PathBuf], reap: fn()) -> Vec<String> {
    let end = Instant::now() + GRACE;
    loop {
        reap();
        let left = Snapshot::take(states).beyond(before);
        if left.is_empty() || Instant::now() >= end {
            return left;
        }
        thread::sleep(STEP);
    }
}

/// Kills all processes in the case's own cgroup, and in cgroups that are not in `before`.
pub fn kill_cgroups(before: &Snapshot, case: &str) {
    // Processes in frozen cgroups die too.
    let kill = |cgroup: &Path| fs::write(cgroup.join("cgroup.kill"), "1");
    let _ = kill(Path::new(case));
    for cgroup in cgroups().difference(&before.cgroups) {
        let _ = kill(cgroup);
    }
}

/// Removes what is not in `before`, as far as possible, so that the next case starts clean.
pub fn clear(before: &Snapshot, states: &[PathBuf], case: &str, reap: fn()) {
    let now = Snapshot::take(states);
    kill_cgroups(before, case);
    for process in now.processes.difference(&before.processes) {
        let pid = process.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
    for mount in now.mounts_beyond(before).iter().rev() {
        let place = place_of(mount);
        let count =
            |snapshot: &Snapshot| snapshot.mounts.iter().filter(|mount| place_of(mount) == place).count();
        // A mount that only looks different now is the guest's own.
        if count(&now) > count(before) {
            let _ = unmount(place, UnmountFlags::DETACH);
        }
    }
    for state in now.containers.difference(&before.containers) {
        let _ = fs::remove_dir_all(state);
    }
    traces::clear(&before.networks);
    wait_until_gone(before, states, reap);
    // Children sort after their parents.
    for cgroup in now.cgroups.difference(&before.cgroups).collect::<Vec<_>>().into_iter().rev() {
        let _ = fs::remove_dir(cgroup);
    }
}

fn cgroups() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    collect_cgroups(Path::new(CGROUPS), &mut found);
    found
}

fn collect_cgroups(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_cgroups(&entry.path(), found);
            found.insert(entry.path());
        }
    }
}

/// "PID (NAME)" of every process, with Z for a zombie; without pid 1 and the kernel's threads, whose parent
/// is pid 2.
fn processes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((name, fields)) = stat.rsplit_once(") ") else { continue };
        let mut fields = fields.split(' ');
        let (status, parent) = (fields.next().unwrap_or_default(), fields.next());
        if parent != Some("2") && !name.starts_with("1 ") && !name.starts_with("2 ") {
            found.insert(format!("{name}){}", if status == "Z" { " Z" } else { "" }));
        }
    }
    found
}

/// Root, mount point, options, type and source of every mount, without the ids.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter_map(|line| Some(line.splitn(4, ' ').nth(3)?.to_owned())).collect()
}

fn place_of(mount: &str) -> &str {
    mount.split(' ').nth(1).unwrap_or_default()
}

/// The content of the runtime's state folder; names that begin with a dot are the runtime's own.
fn containers(state: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(state).into_iter().flatten().flatten().collect();
    entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.iter().map(|entry| entry.path()).collect()
}
