//! What a case must not leave behind: processes, cgroups, mounts, containers' state.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

const CGROUPS: &str = "/sys/fs/cgroup";
/// What is being killed may still be there when the runtime has ended; not for long.
const GRACE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(20);

/// All that can be left behind, at one moment.
pub struct Snapshot {
    processes: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    mounts: Vec<String>,
    containers: BTreeSet<String>,
}

impl Snapshot {
    /// Looks around; `state` is the runtime's state folder. What cannot be read counts as empty.
    pub fn take(state: &Path) -> Snapshot {
        let mut cgroups = BTreeSet::new();
        collect_cgroups(Path::new(CGROUPS), &mut cgroups);
        Snapshot { processes: processes(), cgroups, mounts: mounts(), containers: containers(state) }
    }

    /// What is here now and was not there in `before`, in words.
    fn beyond(&self, before: &Snapshot) -> Vec<String> {
        let processes = self.processes.difference(&before.processes).map(|name| format!("process {name}"));
        let cgroups =
            self.cgroups.difference(&before.cgroups).map(|path| format!("cgroup {}", path.display()));
        let mounts = self.mounts_beyond(before).into_iter().map(|mount| format!("mount {mount}"));
        let containers = self.containers.difference(&before.containers).map(|id| format!("state of {id}"));
        processes.chain(cgroups).chain(mounts).chain(containers).collect()
    }

    /// Two mounts may look the same: each of `before` stands for one.
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

/// Waits a little for the state of `before`, calling `reap` meanwhile. Returns: what is still there, in words.
pub fn wait_until_gone(before: &Snapshot, state: &Path, reap: fn()) -> Vec<String> {
    let end = Instant::now() + GRACE;
    loop {
        reap();
        let left = Snapshot::take(state).beyond(before);
        if left.is_empty() || Instant::now() >= end {
            return left;
        }
        thread::sleep(STEP);
    }
}

/// Kills everything in every cgroup but the root, where pid 1 is.
pub fn kill_cgroups() {
    let mut cgroups = BTreeSet::new();
    collect_cgroups(Path::new(CGROUPS), &mut cgroups);
    for cgroup in cgroups {
        // A frozen cgroup's processes die too.
        let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    }
}

/// Removes what is not in `before`, as far as it can be removed: the next case starts clean.
pub fn clear(before: &Snapshot, state: &Path, reap: fn()) {
    let now = Snapshot::take(state);
    kill_cgroups();
    for process in now.processes.difference(&before.processes) {
        let pid = process.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
    for mount in now.mounts_beyond(before).iter().rev() {
        let _ = mount.split(' ').nth(1).map(|place| unmount(place, UnmountFlags::DETACH));
    }
    for id in now.containers.difference(&before.containers) {
        let _ = fs::remove_dir_all(state.join(id));
    }
    wait_until_gone(before, state, reap);
    // Children sort behind their parents.
    for cgroup in now.cgroups.difference(&before.cgroups).collect::<Vec<_>>().into_iter().rev() {
        let _ = fs::remove_dir(cgroup);
    }
}

fn collect_cgroups(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_cgroups(&entry.path(), found);
            found.insert(entry.path());
        }
    }
}

/// "PID (NAME) STATE" of every process but pid 1 and the kernel's threads, whose parent is pid 2.
fn processes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((name, fields)) = stat.rsplit_once(") ") else { continue };
        let mut fields = fields.split(' ');
        let (status, parent) = (fields.next().unwrap_or_default(), fields.next());
        if parent != Some("2") && !name.starts_with("1 ") && !name.starts_with("2 ") {
            found.insert(format!("{name}) {status}"));
        }
    }
    found
}

/// Root, place, options, type and source of every mount: its ids are left out.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter_map(|line| Some(line.splitn(4, ' ').nth(3)?.to_owned())).collect()
}

/// Names in the runtime's state folder; those with a dot are its own.
fn containers(state: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}
