//! Namespaces and what depends on them: ids, hostname, kernel parameters.

use std::fs;

use serde_json::json;

use super::config::Config;
use super::expectation::{equal, holds};
use super::{Case, Guest};

pub const CASES: &[Case] = &[
    Case::new("namespaces", namespaces),
    Case::new("namespaces_shared", namespaces_shared),
    Case::new("namespace_by_path", namespace_by_path),
    Case::new("user_namespace", user_namespace),
    Case::new("hostname", hostname),
    Case::new("sysctl", sysctl),
    Case::new("sysctl_of_the_host", sysctl_of_the_host),
];

const KINDS: [&str; 6] = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];

fn own_namespaces() -> Result<Vec<String>, String> {
    let link =
        |kind| fs::read_link(format!("/proc/self/ns/{kind}")).map_err(|e| format!("namespace {kind}: {e}"));
    KINDS.iter().map(|kind| Ok(link(kind)?.display().to_string())).collect()
}

fn links(prefix: &str) -> Config {
    Config::shell(&format!("{prefix} for kind in {}; do readlink /proc/self/ns/$kind; done", KINDS.join(" ")))
}

fn namespaces(guest: &Guest) -> Result<(), String> {
    let finished = guest.run(links(""))?.exits(0)?;
    let inside: Vec<_> = finished.stdout.lines().collect();
    equal("number of namespaces", inside.len(), KINDS.len())?;
    for (own, inside) in own_namespaces()?.iter().zip(inside) {
        holds(&format!("{inside} is not the guest's"), own != inside)?;
    }
    Ok(())
}

/// Namespaces that config.json does not name are the caller's.
fn namespaces_shared(guest: &Guest) -> Result<(), String> {
    let config = ["network", "ipc", "uts", "cgroup"]
        .iter()
        .fold(links(""), |config, kind| config.without("/linux/namespaces", "type", kind))
        // Without a network namespace of its own the container may not mount sysfs, and without a uts
        // namespace not set a hostname.
        .set("/hostname", json!(null));
    let config =
        config.without("/mounts", "destination", "/sys/fs/cgroup").without("/mounts", "destination", "/sys");
    let finished = guest.run(config)?.exits(0)?;
    let (own, inside) = (own_namespaces()?, finished.stdout.lines().collect::<Vec<_>>());
    equal("number of namespaces", inside.len(), KINDS.len())?;
    for (at, kind) in KINDS.iter().enumerate() {
        let shared = !["pid", "mnt"].contains(kind);
        equal(&format!("the guest's {kind} namespace is used"), own[at] == inside[at], shared)?;
    }
    Ok(())
}

fn namespace_by_path(guest: &Guest) -> Result<(), String> {
    let first = guest.container("first", Config::new(&["sleep", "100"]))?;
    first.launch()?;
    let one = first.pid()?;
    let path = |kind: &str| format!("/proc/{one}/ns/{kind}");
    let config = ["network", "ipc"].iter().fold(Config::new(&["sleep", "100"]), |config, kind| {
        config.without("/linux/namespaces", "type", kind)
    });
    let config = config.push("/linux/namespaces", json!({"type": "network", "path": path("net")}));
    let second = guest
        .container("second", config.push("/linux/namespaces", json!({"type": "ipc", "path": path("ipc")})))?;
    second.launch()?;
    let two = second.pid()?;
    for (kind, same) in [("net", true), ("ipc", true), ("uts", false), ("pid", false)] {
        let link = |pid| fs::read_link(format!("/proc/{pid}/ns/{kind}")).map_err(|e| format!("{kind}: {e}"));
        equal(&format!("{kind} namespace is the first's"), link(one)? == link(two)?, same)?;
    }
    second.remove()?;
    first.remove()
}

fn user_namespace(guest: &Guest) -> Result<(), String> {
    let script =
        "id -u; id -g; tr -s ' ' </proc/self/uid_map; touch /tmp/file && stat -c %u /tmp/file; sleep 100";
    let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]});
    let container = guest.container("mapped", Config::shell(script).mapped(100_000).push("/mounts", tmp))?;
    let call = container.launch()?;
    let expected = "0\n0\n 0 100000 65536\n0\n";
    super::container::wait_until("the script has written", || Ok(call.stdout().len() >= expected.len()))?;
    equal("stdout", call.stdout().as_str(), expected)?;
    let status =
        fs::read_to_string(format!("/proc/{}/status", container.pid()?)).map_err(|e| e.to_string())?;
    holds("the guest sees uid 100000", status.contains("Uid:\t100000\t100000\t100000\t100000"))?;
    container.remove()
}

fn hostname(guest: &Guest) -> Result<(), String> {
    let read = || fs::read_to_string("/proc/sys/kernel/hostname").map_err(|e| e.to_string());
    let before = read()?;
    let script = "hostname; cat /proc/sys/kernel/domainname";
    let config =
        Config::shell(script).set("/hostname", json!("a-name")).set("/domainname", json!("a.domain"));
    let finished = guest.run(config)?.exits(0)?;
    equal("stdout", finished.stdout.as_str(), "a-name\na.domain\n")?;
    equal("the guest's host name", read()?, before)
}

fn sysctl(guest: &Guest) -> Result<(), String> {
    let config =
        Config::shell("cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/ping_group_range kernel/msgmax");
    let config = config.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": "1", "net/ipv4/ping_group_range": "5 9", "kernel.msgmax": "4242"}),
    );
    let finished = guest.run(config)?.exits(0)?;
    equal("stdout", finished.stdout.as_str(), "1\n5\t9\n4242\n")?;
    let own = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").map_err(|e| e.to_string())?;
    equal("the guest's ip_forward", own.as_str(), "0\n")
}

/// A parameter of the whole machine is refused.
fn sysctl_of_the_host(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["true"]).set("/linux/sysctl", json!({"vm.swappiness": "7"}));
    let read = || fs::read_to_string("/proc/sys/vm/swappiness").map_err(|e| e.to_string());
    let before = read()?;
    guest.run(config)?.fails()?;
    equal("the guest's swappiness", read()?, before)
}
