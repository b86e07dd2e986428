//! Containers of an ordinary user as scopes of the user's own systemd, within what the system has delegated
//! to it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use serde_json::json;

use super::config::Config;
use super::expectation::{contains, equal};
use super::unit::{cgroup_of, has_files, is_gone, shows, systemctl};
use super::{Case, Guest, Manager, Need};
use crate::systemd::USER;

pub const CASES: &[Case] = &[
    of_user("user_scope", from_outside).needs(&[Need::Controller("memory")]),
    of_user("user_scope_from_within", from_within).needs(&[Need::Controller("memory")]),
    of_user("user_scope_hooks", hooks),
    of_user("user_scope_not_delegated", not_delegated),
    of_user("user_scope_foreground", run_output),
];

const fn of_user(name: &'static str, run: fn(&Guest) -> Result<(), String>) -> Case {
    Case::new(name, run).manager(Manager::User).limit(90)
}

fn sleeping() -> Config {
    let config = Config::new(&["sleep", "100"]).of_user();
    config
        .set("/linux/resources/memory", json!({"limit": 67_108_864, "swap": 100_663_296}))
        .set("/linux/resources/cpu", json!({"shares": 2048, "quota": 50_000, "period": 100_000}))
        .set("/linux/resources/pids/limit", json!(31))
}

const CGROUP: &str = "/user.slice/user-1000.slice/user@1000.service/user.slice/vm-own.scope";

const SHOWN: &[(&str, &str)] = &[
    ("ActiveState", "active"),
    ("Delegate", "yes"),
    ("ControlGroup", CGROUP),
    ("MemoryMax", "67108864"),
    ("MemorySwapMax", "33554432"),
    ("CPUWeight", "174"),
    ("CPUQuotaPerSecUSec", "500ms"),
    ("TasksMax", "31"),
];

const FILES: &[(&str, &str)] = &[
    ("memory.max", "67108864"),
    ("memory.swap.max", "33554432"),
    ("cpu.weight", "174"),
    ("cpu.max", "50000 100000"),
    ("pids.max", "31"),
];

pub fn run_output(guest: &Guest) -> Result<(), String> {
    let container = guest.container("out", Config::shell("echo hello; exit 3").of_user())?;
    let finished = container.run()?.exits(3)?;
    equal("stdout", finished.stdout.as_str(), "hello\n")?;
    equal("stderr", finished.stderr.as_str(), "")?;
    is_gone(guest, &container)
}

/// Called from the system's part of the hierarchy, as after a login: the case is a service of the system.
fn from_outside(guest: &Guest) -> Result<(), String> {
    let container = guest.container("own", sleeping())?;
    container.create()?;
    shows(guest, &container.unit(), SHOWN)?;
    has_files(&container, FILES)?;
    equal("init's cgroup", cgroup_of(container.pid()?)?.as_str(), CGROUP)?;
    container.call(&["start"])?.exits(0)?;
    container
        .exec(&["cat", "/proc/self/cgroup"])?
        .exits(0)
        .and_then(|cat| equal("cgroup of exec's process", cat.stdout, "0::/\n"))?;
    container.call(&["update", "--memory", "83886080", "--pids-limit", "40"])?.exits(0)?;
    systemctl(guest, &["daemon-reload"])?;
    shows(guest, &container.unit(), &[("MemoryMax", "83886080"), ("TasksMax", "40")])?;
    has_files(&container, &[("memory.max", "83886080"), ("pids.max", "40")])?;
    container.call(&["pause"])?.exits(0)?;
    equal("status", &container.state()?["status"], "paused")?;
    container.call(&["resume"])?.exits(0)?;
    container.kill("KILL")?;
    container.becomes("stopped")?;
    container.call(&["delete"])?.exits(0)?;
    is_gone(guest, &container)
}

/// Called from the user's own part, from which init can be cloned into the scope.
fn from_within(guest: &Guest) -> Result<(), String> {
    let container = guest.container("own", sleeping())?;
    let mut command = guest.command("/usr/bin/systemd-run");
    command.args(["--user", "--quiet", "--scope", "--unit", "vm-caller.scope", "--"]).arg(guest.runtime());
    command.args(["--systemd-cgroup", "create", &container.id, "--bundle"]).arg(&container.bundle);
    let log = container.bundle.join("log");
    let file = fs::File::create(&log).map_err(|e| e.to_string())?;
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(file);
    let status = command.status().map_err(|e| format!("systemd-run: {e}"))?;
    equal("create", status.code(), Some(0))
        .map_err(|e| format!("{}{e}", fs::read_to_string(&log).unwrap_or_default()))?;
    shows(guest, &container.unit(), SHOWN)?;
    has_files(&container, FILES)?;
    container.call(&["start"])?.exits(0)?;
    container.remove()?;
    is_gone(guest, &container)
}

/// Hooks that run in the container's cgroup get there although the caller may not clone into it.
fn hooks(guest: &Guest) -> Result<(), String> {
    let container = guest.container("hooked", Config::new(&["sleep", "100"]))?;
    let log = container.bundle.join("rootfs/data/log");
    fs::write(&log, "").and_then(|()| chown(&log, Some(USER), Some(USER))).map_err(|e| e.to_string())?;
    let hook = |path: &Path| {
        let script = format!("cat /proc/self/cgroup >>{}", path.display());
        json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}])
    };
    let config = Config::new(&["sleep", "100"]).of_user().writable();
    let config = config.set("/hooks/createContainer", hook(&log));
    let config = config.set("/hooks/startContainer", hook(Path::new("/data/log")));
    fs::write(container.bundle.join("config.json"), config.text(":vm:hooked")).map_err(|e| e.to_string())?;
    container.launch()?;
    let seen = fs::read_to_string(&log).map_err(|e| e.to_string())?;
    // By then they are in a cgroup namespace whose root is the scope.
    equal("the hooks' cgroups", seen.as_str(), "0::/\n0::/\n")?;
    container.remove()?;
    is_gone(guest, &container)
}

/// A limit whose controller the system does not delegate is refused by name, and leaves nothing behind.
fn not_delegated(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["sleep", "100"]).of_user().set("/linux/resources/cpu/cpus", json!("0"));
    let container = guest.container("kept", config)?;
    let failed = guest.finish(container.start_create()?)?.fails()?;
    contains("stderr", &failed.stderr, "linux.resources.cpu.cpus")?;
    contains("stderr", &failed.stderr, "cpuset")?;
    container.call(&["state"])?.fails()?;
    is_gone(guest, &container)
}
