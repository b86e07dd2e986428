//! Attributes that survive execve(2), and labels, on a kernel that has all of them.

use std::fs;

use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::json;

use super::config::Config;
use super::container::wait_until;
use super::expectation::{contains, equal, holds};
use super::{Case, Guest};

pub const CASES: &[Case] = &[
    Case::new("time_offsets", time_offsets),
    Case::new("scheduler", scheduler),
    Case::new("io_priority_and_personality", io_priority_and_personality),
    Case::new("memory_policy", memory_policy),
    Case::new("apparmor_unconfined", apparmor_unconfined),
    Case::new("apparmor_profile", apparmor_profile),
    Case::new("apparmor_profile_missing", apparmor_profile_missing),
    Case::new("selinux_missing", selinux_missing),
];

fn time_offsets(guest: &Guest) -> Result<(), String> {
    let config = Config::shell("cut -d. -f1 /proc/uptime; tr -s ' \n' , < /proc/self/timens_offsets")
        .push("/linux/namespaces", json!({"type": "time"}))
        .set(
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 77, "nanosecs": 5}}),
        );
    for config in [config.clone(), config.mapped(100_000)] {
        let finished = guest.run(config)?.exits(0)?;
        let uptime = finished.stdout.lines().next().and_then(|line| line.parse::<u64>().ok()).unwrap_or(0);
        holds("the uptime is the container's", uptime > 1_000_000)?;
        contains("offsets", &finished.stdout, "monotonic,77,5,boottime,1000000,0")?;
    }
    Ok(())
}

/// Compares fields 40 and 41 of /proc/PID/stat: realtime priority and policy.
fn scheduler(guest: &Guest) -> Result<(), String> {
    for (scheduler, shown) in [
        (json!({"policy": "SCHED_FIFO", "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}), "7 1"),
        (json!({"policy": "SCHED_IDLE"}), "0 5"),
        (json!({"policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 50_000_000}), "0 6"),
    ] {
        let config = Config::new(&["cut", "-d ", "-f40,41", "/proc/self/stat"]);
        let finished = guest.run(config.set("/process/scheduler", scheduler))?.exits(0)?;
        equal("priority and policy", finished.stdout.trim(), shown)?;
    }
    Ok(())
}

fn io_priority_and_personality(guest: &Guest) -> Result<(), String> {
    let config = Config::shell("ionice; uname -m")
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 2}))
        .set("/linux/personality", json!({"domain": "LINUX32"}));
    let finished = guest.run(config)?.exits(0)?;
    contains("stdout", &finished.stdout, "realtime: prio 2\n")?;
    holds("the machine is a 32-bit one", !finished.stdout.contains("64\n"))
}

fn memory_policy(guest: &Guest) -> Result<(), String> {
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let config = Config::shell("head -n 1 /proc/self/numa_maps").set("/linux/memoryPolicy", policy);
    contains("stdout", &guest.run(config)?.exits(0)?.stdout, " bind=static:0 ")
}

fn apparmor_unconfined(guest: &Guest) -> Result<(), String> {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    equal("AppArmor in this guest", enabled.trim(), "Y")?;
    let config = Config::new(&["cat", "/proc/self/attr/apparmor/current"]);
    for config in [config.clone(), config.mapped(100_000)] {
        let finished = guest.run(config.set("/process/apparmorProfile", json!("unconfined")))?.exits(0)?;
        equal("profile", finished.stdout.trim(), "unconfined")?;
    }
    Ok(())
}

/// A namespace of AppArmor's has a profile of its own, the only one that needs no policy compiler.
fn apparmor_profile(guest: &Guest) -> Result<(), String> {
    const SECURITY: &str = "/sys/kernel/security";
    const NAMESPACE: &str = "/sys/kernel/security/apparmor/policy/namespaces/vm-tests";
    let profile = ":vm-tests://unconfined";
    rustix::mount::mount("securityfs", SECURITY, "securityfs", MountFlags::empty(), None)
        .map_err(|e| format!("mounting securityfs: {e}"))?;
    fs::create_dir(NAMESPACE).map_err(|e| format!("{NAMESPACE}: {e}"))?;
    let config = Config::shell("echo up; sleep 100").set("/process/apparmorProfile", json!(profile));
    let seen = confined(guest, config);
    let removed = fs::remove_dir(NAMESPACE).map_err(|e| format!("removing {NAMESPACE}: {e}"));
    let unmounted = rustix::mount::unmount(SECURITY, UnmountFlags::DETACH).map_err(|e| e.to_string());
    seen.and(removed).and(unmounted)
}

/// Looks from outside: inside, the view of the namespace would hide its name.
fn confined(guest: &Guest, config: Config) -> Result<(), String> {
    let container = guest.container("confined", config)?;
    let call = container.start_run()?;
    wait_until("the container runs", || Ok(call.stdout() == "up\n"))?;
    let current = format!("/proc/{}/attr/apparmor/current", container.pid()?);
    let current = fs::read_to_string(&current).map_err(|e| format!("{current}: {e}"))?;
    container.kill("KILL")?;
    guest.finish(call)?.exits(137)?;
    equal("profile", current.trim(), ":vm-tests:unconfined")
}

fn apparmor_profile_missing(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["echo", "ran"]).set("/process/apparmorProfile", json!("no-such-profile"));
    let finished = guest.run(config)?.fails()?;
    equal("stdout", finished.stdout.as_str(), "")?;
    contains("stderr", &finished.stderr, "no-such-profile")
}

/// The kernel runs AppArmor: SELinux labels are left out, and none of them reaches AppArmor.
fn selinux_missing(guest: &Guest) -> Result<(), String> {
    for (field, label) in [
        ("/process/selinuxLabel", "system_u:system_r:container_t:s0"),
        ("/linux/mountLabel", "system_u:object_r:container_file_t:s0"),
    ] {
        let config = Config::new(&["cat", "/proc/self/attr/apparmor/current"]).set(field, json!(label));
        equal("profile", guest.run(config)?.exits(0)?.stdout.trim(), "unconfined")?;
    }
    Ok(())
}
