//! Failures and recovery. None of these cases may leave anything behind, which the guest checks itself.

use std::time::{Duration, Instant};

use serde_json::json;

use super::config::Config;
use super::container::wait_until;
use super::expectation::{equal, holds};
use super::{Case, Guest};

pub const CASES: &[Case] = &[
    Case::new("create_killed", create_killed).limit(120),
    Case::new("create_failed", create_failed),
    Case::new("create_hook_failed", create_hook_failed),
    Case::new("init_killed_before_start", init_killed_before_start),
    Case::new("create_of_one_id_at_once", create_of_one_id_at_once).limit(60),
    Case::new("processes_outlive_init", processes_outlive_init),
    Case::new("hundred_runs", hundred_runs).limit(240),
];

/// `create` is killed at moments spread over its whole duration: `delete --force` cleans up, and the id is
/// free again. crun 1.28 and runc 1.3 leave the cgroup behind at some of them.
fn create_killed(guest: &Guest) -> Result<(), String> {
    const MOMENTS: u32 = 16;
    let container = guest.container("killed", Config::new(&["sleep", "100"]))?;
    let started = Instant::now();
    container.create()?;
    let whole = started.elapsed();
    container.remove()?;
    for moment in 0..=MOMENTS {
        let mut call = container.start_create()?;
        std::thread::sleep(whole * moment / MOMENTS);
        call.child.kill().map_err(|e| format!("kill: {e}"))?;
        guest.finish(call)?;
        let at = format!("killed after {moment}/{MOMENTS}");
        container.remove().map_err(|e| format!("{at}: {e}"))?;
        // The killed runtime's child may not have ended yet.
        let end = Instant::now() + Duration::from_secs(1);
        while container.cgroup().exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        holds(&format!("{at}: the cgroup is gone"), !container.cgroup().exists())?;
    }
    container.launch()?;
    equal("status", &container.state()?["status"], "running")?;
    container.remove()
}

/// A mount cannot be made: create fails and leaves nothing behind.
fn create_failed(guest: &Guest) -> Result<(), String> {
    let mount = json!({"destination": "/data", "type": "no-such-type", "source": "none"});
    let container = guest.container("failed", Config::new(&["true"]).push("/mounts", mount))?;
    let finished = guest.finish(container.start_create()?)?.fails()?;
    holds("it says why", !finished.stderr.trim().is_empty())?;
    container.call(&["state"])?.fails()?;
    holds("the cgroup is gone", !container.cgroup().exists())
}

fn create_hook_failed(guest: &Guest) -> Result<(), String> {
    let hook = json!([{"path": "/bin/busybox", "args": ["false"]}]);
    let container = guest.container("hook", Config::new(&["true"]).set("/hooks/createRuntime", hook))?;
    guest.finish(container.start_create()?)?.fails()?;
    container.call(&["state"])?.fails()?;
    holds("the cgroup is gone", !container.cgroup().exists())
}

fn init_killed_before_start(guest: &Guest) -> Result<(), String> {
    let container = guest.container("early", Config::new(&["sleep", "100"]))?;
    container.create()?;
    container.kill("KILL")?;
    container.becomes("stopped")?;
    let started = Instant::now();
    container.call(&["start"])?.fails()?;
    holds("start fails at once", started.elapsed() < Duration::from_secs(5))?;
    container.call(&["delete"])?.exits(0).map(drop)
}

fn create_of_one_id_at_once(guest: &Guest) -> Result<(), String> {
    let container = guest.container("same", Config::new(&["sleep", "100"]))?;
    let calls: Result<Vec<_>, _> = (0..8).map(|_| container.start_create()).collect();
    let mut winners = 0;
    for call in calls? {
        winners += usize::from(guest.finish(call)?.code() == 0);
    }
    equal("creates that succeeded", winners, 1)?;
    container.call(&["start"])?.exits(0)?;
    container.remove()
}

/// Without a pid namespace no process dies with init: the runtime has to kill the others.
fn processes_outlive_init(guest: &Guest) -> Result<(), String> {
    let script = "sleep 100 & sleep 100 & sleep 100; true";
    let config = Config::shell(script).without("/linux/namespaces", "type", "pid");
    let container = guest.container("orphans", config)?;
    container.launch()?;
    wait_until("all four run", || Ok(container.cgroup_file("cgroup.procs")?.lines().count() == 4))?;
    container.remove()?;
    holds("the cgroup is gone", !container.cgroup().exists())
}

fn hundred_runs(guest: &Guest) -> Result<(), String> {
    let container = guest.container("again", Config::new(&["echo", "again"]))?;
    for number in 1..=100 {
        let finished = container.run()?.exits(0).map_err(|e| format!("run {number}: {e}"))?;
        equal("stdout", finished.stdout.as_str(), "again\n")?;
    }
    Ok(())
}
