//! cgroup v2: membership, and limits that take effect.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::config::Config;
use super::container::Container;
use super::expectation::{contains, equal, holds};
use super::{Case, Guest, Need};

pub const CASES: &[Case] = &[
    Case::new("cgroup_membership", cgroup_membership),
    Case::new("cgroup_namespace", cgroup_namespace),
    Case::new("cgroup_that_passes_controllers_on", cgroup_that_passes_controllers_on)
        .needs(&[Need::Controller("pids")]),
    Case::new("memory_limits", memory_limits).needs(&[Need::Controller("memory")]),
    Case::new("memory_limit_kills", memory_limit_kills).needs(&[Need::Controller("memory")]),
    Case::new("memory_limit_of_a_few_pages", memory_limit_of_a_few_pages)
        .needs(&[Need::Controller("memory")])
        .limit(120),
    Case::new("memory_limit_of_a_group", memory_limit_of_a_group)
        .needs(&[Need::Controller("memory")])
        .limit(120),
    Case::new("cpu_limits", cpu_limits).needs(&[Need::Controller("cpu"), Need::Controller("cpuset")]),
    Case::new("pids_limit", pids_limit).needs(&[Need::Controller("pids")]),
    Case::new("io_limit", io_limit).needs(&[Need::Controller("io"), Need::Module("brd")]),
    Case::new("hugepage_limit", hugepage_limit).needs(&[Need::Controller("hugetlb")]),
    Case::new("unified", unified).needs(&[Need::Controller("memory"), Need::Controller("pids")]),
    Case::new("update", update).needs(&[Need::Controller("memory"), Need::Controller("pids")]),
    Case::new("update_flags", update_flags).needs(&[Need::Controller("memory"), Need::Controller("cpu")]),
    Case::new("update_fails_whole", update_fails_whole).needs(&[Need::Controller("memory")]),
    Case::new("events_stats", events_stats).needs(&[
        Need::Command("events"),
        Need::Controller("memory"),
        Need::Controller("pids"),
    ]),
    Case::new("events_out_of_memory", events_out_of_memory)
        .needs(&[Need::Command("events"), Need::Controller("memory")]),
];

fn cgroup_membership(guest: &Guest) -> Result<(), String> {
    let config =
        Config::shell("cat /proc/self/cgroup; sleep 100").without("/linux/namespaces", "type", "cgroup");
    let container = guest.container("member", config)?;
    let call = container.launch()?;
    super::container::wait_until("it has written", || Ok(call.stdout().ends_with('\n')))?;
    equal("/proc/self/cgroup", call.stdout().as_str(), "0::/member\n")?;
    let members = container.cgroup_file("cgroup.procs")?;
    holds(
        "init is in the cgroup",
        members.lines().any(|line| Ok(line.to_owned()) == container.pid().map(|pid| pid.to_string())),
    )?;
    container.remove()?;
    holds("the cgroup is gone", !container.cgroup().exists())
}

/// systemd in a container, Docker in Docker: the container's own cgroup passes controllers on, and then takes no processes.
fn cgroup_that_passes_controllers_on(guest: &Guest) -> Result<(), String> {
    let container = guest.container("nested", Config::new(&["sleep", "100"]))?;
    container.launch()?;
    let below = container.cgroup().join("below");
    fs::create_dir(&below).map_err(|e| format!("{}: {e}", below.display()))?;
    let write =
        |path: PathBuf, text: String| fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()));
    write(below.join("cgroup.procs"), container.pid()?.to_string())?;
    write(container.cgroup().join("cgroup.subtree_control"), "+pids".into())?;
    let finished = container.exec(&["cat", "/proc/self/cgroup"])?.exits(0)?;
    equal("cgroup of the exec", finished.stdout.as_str(), "0::/below\n")?;
    container.remove()?;
    holds("the cgroup is gone", !container.cgroup().exists())
}

fn cgroup_namespace(guest: &Guest) -> Result<(), String> {
    let script = "cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x 2>&1; grep -c . /sys/fs/cgroup/cgroup.procs";
    let finished = guest.run(Config::shell(script))?.exits(0)?;
    contains("its own cgroup is the root", &finished.stdout, "0::/\n")?;
    contains("and read-only", &finished.stdout, "Read-only file system")
}

/// Launches a container with these resources, and compares files of its cgroup.
fn check(guest: &Guest, resources: Value, files: &[(&str, &str)]) -> Result<(), String> {
    let mut config = Config::new(&["sleep", "100"]);
    for (name, value) in resources.as_object().into_iter().flatten() {
        config = config.set(&format!("/linux/resources/{name}"), value.clone());
    }
    let container = guest.next_container(config)?;
    container.launch()?;
    for (file, expected) in files {
        equal(file, container.cgroup_file(file)?.as_str(), *expected)?;
    }
    container.remove()
}

fn memory_limits(guest: &Guest) -> Result<(), String> {
    let memory = json!({"limit": 67_108_864, "reservation": 33_554_432, "swap": 100_663_296});
    let files = [("memory.max", "67108864"), ("memory.low", "33554432"), ("memory.swap.max", "33554432")];
    check(guest, json!({"memory": memory}), &files)?;
    let unlimited = json!({"memory": {"limit": -1, "swap": -1}});
    check(guest, unlimited, &[("memory.max", "max"), ("memory.swap.max", "max")])?;
    check(guest, json!({"memory": {"swap": 0}}), &[("memory.swap.max", "0")])
}

fn memory_limit_kills(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
    let limit = json!({"limit": 16_777_216, "swap": 16_777_216});
    guest.run(config.set("/linux/resources/memory", limit))?.exits(137).map(drop)
}

/// Even init does not fit: the runtime says so, survives, and leaves nothing behind. runc and crun say it
/// differently, if at all.
fn memory_limit_of_a_few_pages(guest: &Guest) -> Result<(), String> {
    for (limit, count) in [(8192, 4), (16_384, 4), (65_536, 4)] {
        for own_network in [true, false] {
            let memory = json!({"limit": limit, "swap": limit});
            let mut config = Config::new(&["true"]).set("/linux/resources/memory", memory);
            if !own_network {
                config = config.without("/linux/namespaces", "type", "network");
            }
            let container = guest.container(&format!("m{limit}{own_network}"), config)?;
            for _ in 0..count {
                let ran = container.run()?.not_killed()?.fails()?;
                // If the program had begun, only its status counts.
                let begun = ran.code() == 137 && limit == 65_536;
                if guest.runtime().ends_with("pillbox") && !begun {
                    contains("it says why", &ran.stderr, "out of memory")?;
                }
                container.call(&["state"])?.fails()?;
                holds("the cgroup is gone", !container.cgroup().exists())?;
                let created = guest.finish(container.start_create()?)?.not_killed()?;
                // crun's create can return before init ends.
                if created.code() == 0 {
                    container.remove()?;
                }
                holds("the cgroup is gone", !container.cgroup().exists())?;
            }
        }
    }
    Ok(())
}

/// One process of the container takes too much memory, and the kernel kills all of them, but never a runtime
/// that is about to exec there.
fn memory_limit_of_a_group(guest: &Guest) -> Result<(), String> {
    let hog = "sleep 0.2; dd if=/dev/zero of=/dev/null bs=64M count=1";
    let config = Config::shell(hog)
        .set("/linux/resources/memory", json!({"limit": 8_388_608, "swap": 8_388_608}))
        .set("/linux/resources/unified", json!({"memory.oom.group": "1"}));
    let container = guest.container("group", config)?;
    for _ in 0..12 {
        container.launch()?;
        while container.state()?["status"] == "running" {
            container.exec(&["true"])?.not_killed()?;
        }
        container.remove()?;
    }
    Ok(())
}

fn cpu_limits(guest: &Guest) -> Result<(), String> {
    let cpu = json!({"shares": 1024, "quota": 50_000, "period": 200_000, "cpus": "0", "mems": "0"});
    let files =
        [("cpu.max", "50000 200000"), ("cpu.weight", "100"), ("cpuset.cpus", "0"), ("cpuset.mems", "0")];
    check(guest, json!({"cpu": cpu}), &files)?;
    check(guest, json!({"cpu": {"idle": 1}}), &[("cpu.idle", "1")])?;
    check(
        guest,
        json!({"cpu": {"quota": 20_000, "burst": 10_000}}),
        &[("cpu.max", "20000 100000"), ("cpu.max.burst", "10000")],
    )
}

/// A shell that forks endlessly is stopped.
fn pids_limit(guest: &Guest) -> Result<(), String> {
    let script = "i=0; while [ $i -lt 64 ]; do sleep 100 & i=$((i+1)); echo $i; done; echo unlimited";
    let container =
        guest.container("bomb", Config::shell(script).set("/linux/resources/pids/limit", json!(16)))?;
    let call = container.start_run()?;
    let finished = guest.finish(call)?.fails()?;
    contains("stderr", &finished.stderr, "can't fork")?;
    let forks = finished.stdout.lines().count();
    holds(&format!("{forks} forks fit into 16"), (8..16).contains(&forks))?;
    check(guest, json!({"pids": {"limit": 16}}), &[("pids.max", "16")])?;
    check(guest, json!({"pids": {"limit": -1}}), &[("pids.max", "max")])
}

fn io_limit(guest: &Guest) -> Result<(), String> {
    let rate = |rate: u64| json!([{"major": 1, "minor": 0, "rate": rate}]);
    let limits = json!({"throttleReadBpsDevice": rate(1_048_576), "throttleWriteIOPSDevice": rate(100)});
    check(guest, json!({"blockIO": limits}), &[("io.max", "1:0 rbps=1048576 wbps=max riops=max wiops=100")])
}

fn hugepage_limit(guest: &Guest) -> Result<(), String> {
    let limits = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
    check(guest, json!({"hugepageLimits": limits}), &[("hugetlb.2MB.max", "4194304")])
}

fn unified(guest: &Guest) -> Result<(), String> {
    let limits = json!({"memory.high": "50331648", "pids.max": "33"});
    // `unified` is written last and wins.
    let resources = json!({"unified": limits, "pids": {"limit": 5}});
    check(guest, resources, &[("memory.high", "50331648"), ("pids.max", "33")])
}

fn update(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["sleep", "100"]).set("/linux/resources/pids/limit", json!(20));
    let container =
        guest.container("updated", config.set("/linux/resources/memory/limit", json!(67_108_864)))?;
    container.launch()?;
    let file = container.bundle.join("resources.json");
    let resources = json!({"memory": {"limit": 134_217_728}, "cpu": {"quota": 30_000, "period": 100_000}});
    fs::write(&file, resources.to_string()).map_err(|e| e.to_string())?;
    container.call(&["update", "--resources", &file.to_string_lossy()])?.exits(0)?;
    equal("memory.max", container.cgroup_file("memory.max")?.as_str(), "134217728")?;
    equal("cpu.max", container.cgroup_file("cpu.max")?.as_str(), "30000 100000")?;
    equal("pids.max", container.cgroup_file("pids.max")?.as_str(), "20")?;
    container.call(&["update", "--pids-limit", "40"])?.exits(0)?;
    equal("pids.max", container.cgroup_file("pids.max")?.as_str(), "40")?;
    container.remove()
}

/// Each flag changes its file; values without a flag stay.
fn update_flags(guest: &Guest) -> Result<(), String> {
    let memory = json!({"limit": 67_108_864, "swap": 134_217_728});
    let config = Config::new(&["sleep", "100"]).set("/linux/resources/memory", memory);
    let container = guest.container("flags", config)?;
    container.launch()?;
    let files = |expected: &[(&str, &str)]| {
        expected
            .iter()
            .try_for_each(|(file, value)| equal(file, container.cgroup_file(file)?.as_str(), *value))
    };
    files(&[("memory.max", "67108864"), ("memory.swap.max", "67108864")])?;
    container.call(&["update", "--memory", "100663296", "--memory-reservation", "33554432"])?.exits(0)?;
    // Swap includes memory: the sum stays.
    files(&[("memory.max", "100663296"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")])?;
    container
        .call(&["update", "--memory-swap", "-1", "--cpu-quota", "20000", "--cpu-share", "1024"])?
        .exits(0)?;
    files(&[("memory.swap.max", "max"), ("cpu.max", "20000 100000"), ("cpu.weight", "100")])?;
    container.call(&["update", "--cpu-period", "50000", "--cpuset-cpus", "0"])?.exits(0)?;
    files(&[("cpu.max", "20000 50000"), ("cpuset.cpus", "0"), ("memory.max", "100663296")])?;
    container.remove()
}

/// If the kernel refuses one limit, no other is changed.
fn update_fails_whole(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["sleep", "100"]).set("/linux/resources/memory/limit", json!(67_108_864));
    let container = guest.container("whole", config)?;
    container.launch()?;
    refuse_update(&container)?;
    equal("memory.max", container.cgroup_file("memory.max")?.as_str(), "67108864")?;
    container.call(&["update", "--pids-limit", "50"])?.exits(0)?;
    equal("memory.max", container.cgroup_file("memory.max")?.as_str(), "67108864")?;
    container.remove()
}

/// An update of which the kernel accepts only the first part.
pub fn refuse_update(container: &Container<'_>) -> Result<(), String> {
    let file = container.bundle.join("resources.json");
    let resources = json!({"memory": {"limit": 134_217_728}, "unified": {"memory.nonesuch": "1"}});
    fs::write(&file, resources.to_string()).map_err(|e| e.to_string())?;
    let failed = container.call(&["update", "--resources", &file.to_string_lossy()])?.fails()?;
    contains("stderr", &failed.stderr, "memory.nonesuch")
}

fn events_stats(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["sleep", "100"]).set("/linux/resources/pids/limit", json!(20));
    let container =
        guest.container("watched", config.set("/linux/resources/memory/limit", json!(67_108_864)))?;
    container.launch()?;
    let finished = container.call(&["events", "--stats"])?.exits(0)?;
    let event: Value = serde_json::from_str(&finished.stdout).map_err(|e| format!("events: {e}"))?;
    equal("type", &event["type"], "stats")?;
    equal("pids", &event["data"]["pids"], &json!({"current": 1, "limit": 20}))?;
    let usage = &event["data"]["memory"]["usage"];
    equal("limit", &usage["limit"], 67_108_864)?;
    let used = usage["usage"].as_u64().unwrap_or_default();
    holds(&format!("{used} bytes are in use"), (4096..67_108_864).contains(&used))?;
    let raw = &event["data"]["memory"]["raw"];
    holds("the kernel's own numbers are there", raw["anon"].is_u64() && raw["pgfault"].is_u64())?;
    container.remove()
}

/// A kill is reported while the container goes on, and so is one that ends it.
fn events_out_of_memory(guest: &Guest) -> Result<(), String> {
    let script = "echo up; read line </data/go; dd if=/dev/zero of=/dev/null bs=64M count=1; echo over; \
                  read line </data/go; exec dd if=/dev/zero of=/dev/null bs=64M count=1";
    let limit = json!({"limit": 16_777_216, "swap": 16_777_216});
    let container =
        guest.container("starving", Config::shell(script).set("/linux/resources/memory", limit))?;
    let fifo = container.bundle.join("rootfs/data/go");
    let made = std::process::Command::new("/bin/busybox").arg("mkfifo").arg(&fifo).status();
    holds("there is a fifo", made.is_ok_and(|status| status.success()))?;
    let call = container.launch()?;
    super::container::wait_until("it is up", || Ok(call.stdout() == "up\n"))?;
    let watching = guest.start(&["events", "--interval", "1h", &container.id])?;
    // Only what happens after it has begun to watch is an event.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let go = || fs::write(&fifo, "go\n").map_err(|e| format!("{}: {e}", fifo.display()));
    go()?;
    super::container::wait_until("dd was killed", || Ok(call.stdout().ends_with("over\n")))?;
    super::container::wait_until("the event", || Ok(watching.stdout().lines().count() == 1))?;
    go()?;
    container.becomes("stopped")?;
    let told = guest.finish(watching)?.exits(0)?.stdout;
    let oom = json!({"type": "oom", "id": "starving"}).to_string();
    let lines: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    equal("events", json!(lines).to_string(), format!("[{oom},{oom}]"))?;
    container.remove()
}
