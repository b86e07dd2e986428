//! The benchmark's environment: root, mounts of its own with cgroup v2 in its usual place, and a description
//! of the machine for the report.

use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::process::{WaitOptions, waitpid};
use serde_json::{Value, json};

use crate::error::{Context, Result, error};

/// Where all peers look for cgroups.
pub const CGROUP: &str = "/sys/fs/cgroup";

/// Set in the process that is in a mount namespace of its own, to the pid that it had outside.
const ISOLATED: &str = "PILLBOX_BENCH_ISOLATED";

/// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
const CGROUP2: i64 = 0x6367_7270;

/// A pid namespace of the benchmark's own, so that all its processes end with it; then it has to reap orphans.
pub const OWN_PROCESSES: &[&str] = &["-p", "-f", "--kill-child", "--mount-proc"];

/// The same with a network namespace of its own.
pub const OWN_PROCESSES_AND_NETWORK: &[&str] = &["-n", "-p", "-f", "--kill-child", "--mount-proc"];

/// Requires root, then executes the benchmark again in a mount namespace of its own. There, /run is an empty
/// tmpfs, and on a host with cgroup v1 in the usual place cgroup v2 is mounted over it. None of this shows on
/// the host. `more` are unshare(1)'s flags for more namespaces.
pub fn prepare(more: &[&str]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(error("it makes namespaces, mounts and cgroups: run it as root"));
    }
    if std::env::var_os(ISOLATED).is_none() {
        let this = std::env::current_exe().context(|| "find the benchmark's own program")?;
        let arguments = std::env::args_os().skip(1);
        let mut unshare = Command::new("unshare");
        unshare.arg("-m").args(more).arg(this).args(arguments);
        let cause = unshare.env(ISOLATED, std::process::id().to_string()).exec();
        return Err(cause).context(|| "execute unshare (util-linux)");
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", "/run", "tmpfs", flags, c"mode=755").context(|| "mount a tmpfs at /run")?;
    if has_cgroup2() {
        return Ok(());
    }
    let flags = flags | MountFlags::NOEXEC;
    mount("cgroup2", CGROUP, "cgroup2", flags, c"").context(|| format!("mount cgroup2 at {CGROUP}"))
}

/// Distinguishes this benchmark's cgroups from those of another one; always of the same length.
pub fn run_name() -> String {
    format!("{:0>7}", std::env::var(ISOLATED).unwrap_or_default())
}

fn has_cgroup2() -> bool {
    rustix::fs::statfs(CGROUP).is_ok_and(|found| found.f_type == CGROUP2)
}

/// How many times to try removing a cgroup, 5 ms apart.
const REMOVE_ATTEMPTS: usize = 400;

/// The machine on which the figures were measured.
pub struct Machine {
    /// The processor's model.
    pub cpu: String,
    /// How many processors this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Mounts in this namespace: a container's mount namespace starts as a copy of them.
    pub mounts: usize,
    /// The load of the last minute before the start: what else was running.
    pub load: String,
}

impl Machine {
    /// Reads /proc.
    pub fn look() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            cpu: model.map_or("unknown", |(_, model)| model).to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().count(),
            load: load.split(' ').next().unwrap_or_default().to_string(),
        }
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let Machine { cpu, cores, kernel, mounts, load } = self;
        json!({ "cpu": cpu, "cores": cores, "kernel": kernel, "mounts": mounts, "load": load })
    }
}

/// In a line.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cores, kernel, mounts, load } = self;
        write!(f, "{cpu}, {cores} cores; Linux {kernel}; {mounts} mounts; load before: {load}.")
    }
}

/// Kills all processes in the cgroups whose names begin with `prefix`, and removes the cgroups, wherever a
/// runtime made them.
pub fn remove_cgroups(prefix: &str) {
    remove_cgroups_below(Path::new(CGROUP), prefix, false, 8);
}

fn remove_cgroups_below(folder: &Path, prefix: &str, ours: bool, depth: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let ours = ours || entry.file_name().to_string_lossy().contains(prefix);
        if ours {
            let _ = fs::write(entry.path().join("cgroup.kill"), "1");
        }
        if depth > 0 {
            remove_cgroups_below(&entry.path(), prefix, ours, depth - 1);
        }
        if ours {
            remove_cgroup(&entry.path());
        }
    }
}

/// A cgroup can only be removed once all its processes have been reaped; orphans are for the benchmark to
/// reap.
fn remove_cgroup(cgroup: &Path) {
    for _ in 0..REMOVE_ATTEMPTS {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
            _ => return,
        }
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
        std::thread::sleep(Duration::from_millis(5));
    }
    eprintln!("bench: {} is left: it is still busy", cgroup.display());
}
