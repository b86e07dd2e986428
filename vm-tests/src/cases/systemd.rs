//! Containers as scopes of the systemd that is pid 1: limits are set in systemd and in the files, and nothing
//! is left in either.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::config::Config;
use super::container::wait_until;
use super::expectation::{contains, equal, holds};
use super::limits::refuse_update;
use super::unit::{cgroup_of, has_files, is_gone, shows, systemctl};
use super::{Case, Guest, Manager, Need};

pub const CASES: &[Case] = &[
    within("scope_lifecycle", lifecycle),
    within("scope_foreground", foreground),
    within("scope_annotations", annotations),
    within("scope_limits", limits).needs(&[Need::Controller("memory"), Need::Controller("cpuset")]),
    within("scope_unlimited", unlimited).needs(&[Need::Controller("memory")]),
    within("scope_update", update).needs(&[Need::Controller("memory"), Need::Controller("cpu")]),
    within("scope_update_fails_whole", update_fails_whole).needs(&[Need::Controller("memory")]),
    within("scope_devices", devices),
    within("scope_pause", pause),
    within("scope_failed_create", failed_create),
    within("scope_killed_create", killed_create),
    within("scope_stopped_by_systemd", stopped_by_systemd),
    within("scope_name_taken", name_taken),
    within("scope_manager_restarts", manager_restarts),
    within("scope_of_silent_bus", silent_bus),
    within("slice", slice),
];

const fn within(name: &'static str, run: fn(&Guest) -> Result<(), String>) -> Case {
    Case::new(name, run).manager(Manager::Systemd).limit(90)
}

fn sleeping() -> Config {
    Config::new(&["sleep", "100"])
}

fn lifecycle(guest: &Guest) -> Result<(), String> {
    let config = Config::shell("trap 'exit 3' TERM; while :; do sleep 0.1; done");
    let container = guest.container("life", config.set("/linux/cgroupsPath", json!("vm-a.slice:vm:life")))?;
    let unit = container.unit();
    container.create()?;
    let cgroup = "/vm.slice/vm-a.slice/vm-life.scope";
    let created = [
        ("LoadState", "loaded"),
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("Slice", "vm-a.slice"),
        ("ControlGroup", cgroup),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("CollectMode", "inactive-or-failed"),
        ("TasksCurrent", "1"),
    ];
    shows(guest, &unit, &created)?;
    let pid = container.pid()?;
    equal("init's cgroup", cgroup_of(pid)?.as_str(), cgroup)?;
    container.call(&["start"])?.exits(0)?;
    equal("status", &container.state()?["status"], "running")?;
    equal("pid of the started container", container.pid()?, pid)?;
    // Processes of exec are in the scope, which is the root of the cgroup namespace.
    container
        .exec(&["cat", "/proc/self/cgroup"])?
        .exits(0)
        .and_then(|cat| equal("cgroup of exec's process", cat.stdout, "0::/\n"))?;
    container.kill("TERM")?;
    container.becomes("stopped")?;
    container.call(&["delete"])?.exits(0)?;
    container.call(&["state"])?.fails()?;
    holds("the scope's cgroup is gone", !fs::exists(format!("/sys/fs/cgroup{cgroup}")).unwrap_or(true))?;
    is_gone(guest, &container)?;
    // The slices were made with the scope, and only this case needs them.
    systemctl(guest, &["stop", "vm.slice"]).map(drop)
}

fn foreground(guest: &Guest) -> Result<(), String> {
    let config = Config::shell("cat /proc/self/cgroup; ls -d /sys/fs/cgroup/system.slice; exit 37");
    // It then sees the host's hierarchy, and must keep the options with which systemd has mounted it.
    let container = guest.container("front", config.without("/linux/namespaces", "type", "cgroup"))?;
    let finished = container.run()?.exits(37)?;
    let seen = "0::/system.slice/vm-front.scope\n/sys/fs/cgroup/system.slice\n";
    equal("stdout", finished.stdout.as_str(), seen)?;
    equal("stderr", finished.stderr.as_str(), "")?;
    is_gone(guest, &container)
}

fn annotations(guest: &Guest) -> Result<(), String> {
    let config = sleeping()
        .set("/annotations/org.systemd.property.TimeoutStopUSec", json!("uint64 7000000"))
        .set("/annotations/org.systemd.property.CollectMode", json!("'inactive'"))
        .set("/annotations/org.systemd.property.Description", json!("'what the case says'"))
        .set("/annotations/org.systemd.property.MemoryHigh", json!("uint64 50331648"));
    let container = guest.container("noted", config)?;
    container.create()?;
    let expected = [
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive"),
        ("Description", "what the case says"),
        ("MemoryHigh", "50331648"),
    ];
    shows(guest, &container.unit(), &expected)?;
    has_files(&container, &[("memory.high", "50331648")])?;
    container.remove()?;
    is_gone(guest, &container)?;
    let config = sleeping().set("/annotations/org.systemd.property.NoSuchProperty", json!("true"));
    let container = guest.container("misnoted", config)?;
    let failed = guest.finish(container.start_create()?)?.fails()?;
    contains("stderr", &failed.stderr, "NoSuchProperty")?;
    is_gone(guest, &container)
}

fn all_limits() -> Value {
    json!({
        "memory": {"limit": 67_108_864, "reservation": 33_554_432, "swap": 100_663_296},
        "cpu": {"shares": 2048, "quota": 45_000, "period": 90_000, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 31},
        "blockIO": {"weight": 505},
        "devices": [{"allow": false, "access": "rwm"}]
    })
}

const LIMITS_SHOWN: &[(&str, &str)] = &[
    ("MemoryMax", "67108864"),
    ("MemoryLow", "33554432"),
    ("MemorySwapMax", "33554432"),
    ("CPUWeight", "174"),
    ("CPUQuotaPerSecUSec", "500ms"),
    ("CPUQuotaPeriodUSec", "90ms"),
    ("AllowedCPUs", "0-1"),
    ("AllowedMemoryNodes", "0"),
    ("TasksMax", "31"),
    ("IOWeight", "5000"),
];

const LIMITS_IN_FILES: &[(&str, &str)] = &[
    ("memory.max", "67108864"),
    ("memory.low", "33554432"),
    ("memory.swap.max", "33554432"),
    ("cpu.weight", "174"),
    ("cpu.max", "45000 90000"),
    ("cpuset.cpus", "0-1"),
    ("cpuset.mems", "0"),
    ("pids.max", "31"),
    ("io.weight", "default 5000"),
];

/// Limits are in both places from the creation on, and still after systemd has written its files anew.
fn limits(guest: &Guest) -> Result<(), String> {
    let container = guest.container("limited", sleeping().set("/linux/resources", all_limits()))?;
    container.create()?;
    shows(guest, &container.unit(), LIMITS_SHOWN)?;
    has_files(&container, LIMITS_IN_FILES)?;
    systemctl(guest, &["daemon-reload"])?;
    shows(guest, &container.unit(), LIMITS_SHOWN)?;
    has_files(&container, LIMITS_IN_FILES)?;
    container.call(&["start"])?.exits(0)?;
    container.remove()?;
    is_gone(guest, &container)
}

fn unlimited(guest: &Guest) -> Result<(), String> {
    let resources = json!({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}});
    let container = guest.container("unlimited", sleeping().set("/linux/resources", resources))?;
    container.create()?;
    let expected = [
        ("MemoryMax", "infinity"),
        ("MemorySwapMax", "infinity"),
        ("TasksMax", "infinity"),
        ("CPUQuotaPerSecUSec", "infinity"),
    ];
    shows(guest, &container.unit(), &expected)?;
    has_files(&container, &[("memory.max", "max"), ("pids.max", "max"), ("cpu.max", "max 100000")])?;
    container.remove()?;
    is_gone(guest, &container)
}

fn update(guest: &Guest) -> Result<(), String> {
    let container = guest.container("updated", sleeping().set("/linux/resources", all_limits()))?;
    container.launch()?;
    let file = container.bundle.join("resources.json");
    let resources = json!({
        "memory": {"limit": 134_217_728, "swap": 134_217_728},
        "cpu": {"quota": 30_000, "period": 100_000, "cpus": "1"},
        "unified": {"memory.high": "100663296"}
    });
    fs::write(&file, resources.to_string()).map_err(|e| e.to_string())?;
    container.call(&["update", "--resources", &file.to_string_lossy()])?.exits(0)?;
    container.call(&["update", "--pids-limit", "40"])?.exits(0)?;
    let shown = [
        ("MemoryMax", "134217728"),
        ("MemoryHigh", "100663296"),
        ("MemoryLow", "33554432"),
        ("MemorySwapMax", "0"),
        ("CPUWeight", "174"),
        ("CPUQuotaPerSecUSec", "300ms"),
        ("AllowedCPUs", "1"),
        ("TasksMax", "40"),
    ];
    let files = [
        ("memory.max", "134217728"),
        ("memory.high", "100663296"),
        ("memory.swap.max", "0"),
        ("cpu.max", "30000 100000"),
        ("cpuset.cpus", "1"),
        ("pids.max", "40"),
    ];
    shows(guest, &container.unit(), &shown)?;
    has_files(&container, &files)?;
    systemctl(guest, &["daemon-reload"])?;
    shows(guest, &container.unit(), &shown)?;
    has_files(&container, &files)?;
    container.remove()?;
    is_gone(guest, &container)
}

/// An update that the kernel refuses changes neither the files nor systemd's properties.
fn update_fails_whole(guest: &Guest) -> Result<(), String> {
    let config = sleeping().set("/linux/resources/memory/limit", json!(67_108_864));
    let container = guest.container("whole", config)?;
    container.launch()?;
    refuse_update(&container)?;
    shows(guest, &container.unit(), &[("MemoryMax", "67108864")])?;
    has_files(&container, &[("memory.max", "67108864")])?;
    container.remove()?;
    is_gone(guest, &container)
}

/// The filter is the runtime's own. systemd knows what it grants, and neither removes nor adds anything when
/// it writes its own filters anew.
fn devices(guest: &Guest) -> Result<(), String> {
    let script = "mknod /data/fuse c 10 229; mknod /data/tun c 10 200; mknod /data/null c 1 3; \
                  try() { for node in fuse tun null; do true </data/$node && echo $node; done; }; \
                  try 2>&1; read line </data/go; try 2>&1; echo over; read line </data/go";
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "access": "m"},
        {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "r"},
        {"allow": true, "type": "b", "major": 8, "access": "rwm"},
    ]);
    let capabilities = json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    let mut config = Config::shell(script).writable().set("/linux/resources/devices", rules);
    for set in ["bounding", "effective", "permitted"] {
        config = config.set(&format!("/process/capabilities/{set}"), capabilities.clone());
    }
    let container = guest.container("filtered", config)?;
    let fifo = container.bundle.join("rootfs/data/go");
    let made = std::process::Command::new("/bin/busybox").arg("mkfifo").arg(&fifo).status();
    holds("there is a fifo", made.is_ok_and(|status| status.success()))?;
    let call = container.launch()?;
    wait_until("it has tried", || Ok(call.stdout().ends_with("null\n")))?;
    let unit = container.unit();
    let shown = systemctl(guest, &["show", "--property", "DevicePolicy,DeviceAllow", &unit])?;
    for part in
        ["DevicePolicy=strict", "/dev/char/10:200 r\n", "/dev/char/1:3 rw\n", "block-8 rw\n", "char-* m\n"]
    {
        contains("systemctl show", &shown, part)?;
    }
    systemctl(guest, &["daemon-reload"])?;
    systemctl(guest, &["set-property", "--runtime", &unit, "TasksMax=100"])?;
    fs::write(&fifo, "go\n").map_err(|e| e.to_string())?;
    wait_until("it has tried again", || Ok(call.stdout().ends_with("over\n")))?;
    let said = call.stdout();
    // There may be no drivers, but an open that passes the filter gives another error.
    for (node, refused) in [("fuse", 2), ("tun", 0), ("null", 0)] {
        let lines =
            said.lines().filter(|line| line.contains(&format!("/data/{node}: Operation not permitted")));
        equal(node, lines.count(), refused)?;
    }
    equal("what opened", said.lines().filter(|line| *line == "null").count(), 2)?;
    container.remove()?;
    is_gone(guest, &container)
}

fn pause(guest: &Guest) -> Result<(), String> {
    let container = guest.container("paused", sleeping())?;
    container.launch()?;
    container.call(&["pause"])?.exits(0)?;
    equal("status", &container.state()?["status"], "paused")?;
    equal("cgroup.freeze", container.cgroup_file("cgroup.freeze")?.as_str(), "1")?;
    shows(guest, &container.unit(), &[("ActiveState", "active")])?;
    systemctl(guest, &["daemon-reload"])?;
    equal("status after a reload", &container.state()?["status"], "paused")?;
    container.call(&["resume"])?.exits(0)?;
    equal("status", &container.state()?["status"], "running")?;
    container.call(&["pause"])?.exits(0)?;
    container.remove()?;
    is_gone(guest, &container)
}

/// Whichever step fails: before the scope is made, with it, or after it.
fn failed_create(guest: &Guest) -> Result<(), String> {
    let hook = json!([{"path": "/bin/busybox", "args": ["sh", "-c", "exit 7"]}]);
    let cases = [
        ("refused", sleeping().set("/linux/resources/cpu/cpus", json!("77")), "cpus"),
        ("hooked", sleeping().set("/hooks/createRuntime", hook), "createRuntime"),
        ("missing", Config::new(&["no-such-program"]), "no-such-program"),
        ("misnamed", sleeping().set("/linux/cgroupsPath", json!("a.slice:b/c:d")), "b/c"),
        ("missliced", sleeping().set("/linux/cgroupsPath", json!("a:b:c")), "slice"),
    ];
    for (name, config, words) in cases {
        let container = guest.container(name, config)?;
        let failed = guest.finish(container.start_create()?)?.fails()?;
        contains("stderr", &failed.stderr, words)?;
        container.call(&["state"])?.fails()?;
        is_gone(guest, &container)?;
    }
    Ok(())
}

/// The runtime is killed while it makes a container: `delete --force` cleans up, also in systemd.
fn killed_create(guest: &Guest) -> Result<(), String> {
    let hook = json!([{"path": "/bin/busybox", "args": ["sleep", "2"]}]);
    let container = guest.container("orphan", sleeping().set("/hooks/createRuntime", hook))?;
    let mut call = container.start_create()?;
    wait_until("init is in the scope", || {
        let processes = container.cgroup_file("cgroup.procs").unwrap_or_default();
        Ok(processes.lines().count() == 1)
    })?;
    call.child.kill().map_err(|e| e.to_string())?;
    call.child.wait().map_err(|e| e.to_string())?;
    container.remove()?;
    is_gone(guest, &container)?;
    // The name is free again.
    fs::remove_dir_all(&container.bundle).map_err(|e| e.to_string())?;
    guest.container("orphan", Config::new(&["true"]))?.run()?.exits(0).map(drop)
}

fn stopped_by_systemd(guest: &Guest) -> Result<(), String> {
    let config = sleeping().set("/annotations/org.systemd.property.TimeoutStopUSec", json!("uint64 1000000"));
    let container = guest.container("ended", config)?;
    container.launch()?;
    systemctl(guest, &["stop", &container.unit()])?;
    container.becomes("stopped")?;
    is_gone(guest, &container)?;
    container.call(&["delete"])?.exits(0)?;
    container.call(&["state"])?.fails().map(drop)
}

fn name_taken(guest: &Guest) -> Result<(), String> {
    let first = guest.container("first", sleeping())?;
    first.launch()?;
    let second = guest.container("second", sleeping().set("/linux/cgroupsPath", json!(":vm:first")))?;
    let failed = guest.finish(second.start_create()?)?.fails()?;
    contains("stderr", &failed.stderr, "vm-first.scope")?;
    second.call(&["state"])?.fails()?;
    equal("the first one's status", &first.state()?["status"], "running")?;
    shows(guest, &first.unit(), &[("ActiveState", "active"), ("TasksCurrent", "1")])?;
    first.remove()?;
    is_gone(guest, &first)
}

/// Restarts systemd, as an upgrade of its package does: the scope stays, and can still be changed and ended.
fn manager_restarts(guest: &Guest) -> Result<(), String> {
    let config = sleeping().set("/linux/resources/memory/limit", json!(67_108_864));
    let container = guest.container("lasting", config)?;
    container.create()?;
    systemctl(guest, &["daemon-reexec"])?;
    container.call(&["start"])?.exits(0)?;
    container.call(&["update", "--memory", "134217728"])?.exits(0)?;
    shows(guest, &container.unit(), &[("ActiveState", "active"), ("MemoryMax", "134217728")])?;
    has_files(&container, &[("memory.max", "134217728")])?;
    container.remove()?;
    is_gone(guest, &container)
}

/// A name with this ending is a slice itself, not a scope in a slice.
fn slice(guest: &Guest) -> Result<(), String> {
    let config = sleeping().set("/linux/resources/pids/limit", json!(20));
    let container =
        guest.container("sliced", config.set("/linux/cgroupsPath", json!("vm.slice::vm-b.slice")))?;
    container.launch()?;
    let cgroup = "/vm.slice/vm-b.slice";
    shows(guest, "vm-b.slice", &[("ActiveState", "active"), ("ControlGroup", cgroup), ("TasksMax", "20")])?;
    equal("init's cgroup", cgroup_of(container.pid()?)?.as_str(), cgroup)?;
    container.remove()?;
    shows(guest, "vm-b.slice", &[("ActiveState", "inactive")])?;
    systemctl(guest, &["stop", "vm.slice"]).map(drop)
}

/// A bus that accepts the connection and never answers: the wait is limited, and a container can still be
/// ended.
fn silent_bus(guest: &Guest) -> Result<(), String> {
    let container = guest.container("unheard", sleeping())?;
    container.launch()?;
    let socket = container.bundle.join("bus");
    let _listener = UnixListener::bind(&socket).map_err(|e| e.to_string())?;
    let address = format!("unix:path={}", socket.display());
    let silent = Some(("DBUS_SYSTEM_BUS_ADDRESS", address.as_str()));
    let started = Instant::now();
    guest.finish(guest.start_with(&["delete", "--force", &container.id], silent)?)?.exits(0)?;
    holds("it waits for ten seconds", started.elapsed() < Duration::from_secs(20))?;
    is_gone(guest, &container)
}
