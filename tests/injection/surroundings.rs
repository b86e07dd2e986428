//! Namespaces of the test's own: one of mounts, with cgroup v2 in its usual place, and one of processes, with
//! which all of them end; and both again for each unit.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

use rustix::mount::{MountFlags, mount};

use crate::place::{remove_cgroups, wait_until};
use crate::unit::{Unit, Work};
use crate::watchdog::LIMIT;

const HIERARCHY: &str = "/sys/fs/cgroup";

/// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
const CGROUP2: i64 = 0x6367_7270;

/// Set in the process that is in namespaces of its own, to the pid that it had outside.
const ISOLATED: &str = "PILLBOX_INJECTION_ISOLATED";

/// Whether the test can run here; reports it if not. The first call executes the program again in namespaces
/// of its own.
///
/// # Errors
/// It could run, but something failed.
pub fn isolated() -> Result<bool, String> {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    if !cfg!(target_arch = "x86_64") {
        return skip("needs x86-64");
    }
    if env::var_os(ISOLATED).is_none() {
        let this = env::current_exe().map_err(|error| error.to_string())?;
        let mut unshare = Command::new("unshare");
        unshare
            .args(["-m", "-p", "-f", "--kill-child", "--mount-proc"])
            .arg(this)
            .args(env::args_os().skip(1));
        return Err(format!("unshare: {}", unshare.env(ISOLATED, std::process::id().to_string()).exec()));
    }
    if rustix::fs::statfs(HIERARCHY).is_ok_and(|found| found.f_type == CGROUP2) {
        return Ok(true);
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("cgroup2", HIERARCHY, "cgroup2", flags, c"").map_err(|error| format!("mount cgroup2: {error}"))?;
    Ok(true)
}

/// Reports why it does not run, which is a failure if skips are not allowed.
fn skip(reason: &str) -> Result<bool, String> {
    if env::var_os("PILLBOX_TEST_NO_SKIP").is_some() {
        return Err(format!("skipped: {reason}"));
    }
    eprintln!("skipped: injection: {reason}");
    Ok(false)
}

/// Runs a unit, or one case of it, in its own surroundings, of which nothing stays. Returns what it has
/// printed.
pub fn work(worker: usize, unit: Unit, work: &Work) -> Vec<String> {
    let name = format!("/injection-{}-{worker}", env::var(ISOLATED).unwrap_or_default());
    let cgroup = PathBuf::from(format!("{HIERARCHY}{name}"));
    if let Err(error) = fs::create_dir(&cgroup) {
        return vec![format!("{unit}\tcannot make {}: {error}", cgroup.display())];
    }
    let this = env::current_exe().unwrap_or_default();
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "-p", "-f", "-n", "-i", "-u", "--kill-child", "--mount-proc"]).arg(this);
    unshare.arg("--work").arg(unit.to_string()).arg(&name).arg(work.to_string());
    let output = unshare.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    wait_until(LIMIT, || {
        remove_cgroups(&cgroup);
        fs::remove_dir(&cgroup).is_ok()
    });
    match output {
        Ok(output) => {
            let mut lines: Vec<_> =
                String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect();
            if !output.status.success() {
                lines.push(format!("{unit}\tended early: {}", output.status));
            }
            lines
        }
        Err(error) => vec![format!("{unit}\tunshare: {error}")],
    }
}
