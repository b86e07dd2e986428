//! Run on this machine's kernel, in cgroups named `pillbox-test-*`, which are always removed.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::oci::spec::linux::{DeviceRule, Resources};
use crate::resources::{Exception, compile_devices, compile_limits};

/// Writes to stderr directly, which the test harness does not capture.
pub fn skip(test: &str, why: &str) {
    let _ = std::io::stderr().write_all(format!("test {test} is SKIPPED: {why}\n").as_bytes());
}

/// A cgroup path of a test's own.
struct Scratch {
    hierarchy: Hierarchy,
    path: CgroupPath,
}

impl Scratch {
    /// `None`, with a message, if this can't be tested here.
    fn new(test: &str) -> Option<Scratch> {
        if !rustix::process::geteuid().is_root() {
            skip(test, "it needs root");
            return None;
        }
        let Some(hierarchy) = Hierarchy::find().unwrap() else {
            skip(test, "no cgroup v2 is mounted");
            return None;
        };
        let path = format!("/pillbox-test-{}-{test}", std::process::id());
        Some(Scratch { hierarchy, path: CgroupPath::parse(&path).unwrap() })
    }

    fn below(&self, name: &str) -> CgroupPath {
        CgroupPath::parse(&format!("{}/{name}", self.path)).unwrap()
    }

    fn create(&self) -> Cgroup {
        Cgroup::create(&self.hierarchy, &self.path, &[]).unwrap()
    }

    fn exists(&self) -> bool {
        Cgroup::open(&self.hierarchy, &self.path).unwrap().is_some()
    }

    /// A shell that moves itself into the cgroup, then runs `script`.
    fn run(&self, path: &CgroupPath, script: &str) -> Process {
        let procs = format!("{}{path}/cgroup.procs", self.hierarchy.mount().display());
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("echo 0 > {procs} || exit 99\n{script}"));
        Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Ok(Some(cgroup)) = Cgroup::open(&self.hierarchy, &self.path) {
            let _ = cgroup.kill();
            let _ = cgroup.remove();
        }
    }
}

/// A child that does not outlive the test.
struct Process(Child);

impl Process {
    fn status(&mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn settle(cgroup: &Cgroup, processes: usize) {
    wait_until("the processes appear", || cgroup.pids().unwrap().len() == processes);
}

#[test]
fn create_makes_parents_and_remove_takes_all_below() {
    let Some(scratch) = Scratch::new("create") else { return };
    let path = scratch.below("a/b");
    assert!(Cgroup::open(&scratch.hierarchy, &path).unwrap().is_none());
    let cgroup = Cgroup::create(&scratch.hierarchy, &path, &[]).unwrap();
    assert_eq!(cgroup.path(), &path);
    assert!(!cgroup.is_populated().unwrap() && cgroup.pids().unwrap().is_empty());
    Cgroup::create(&scratch.hierarchy, &path, &[]).expect("an empty cgroup can be taken");

    let top = Cgroup::open(&scratch.hierarchy, &scratch.path).unwrap().unwrap();
    top.remove().unwrap();
    assert!(!scratch.exists());
    cgroup.remove().expect("gone is gone");
    assert!(!cgroup.is_populated().unwrap());
    cgroup.kill().unwrap();
}

#[test]
fn removing_a_deep_and_wide_tree() {
    let Some(scratch) = Scratch::new("tree") else { return };
    let cgroup = scratch.create();
    let mut here = open_directory(cgroup.fd(), ".").unwrap();
    for _ in 0..200 {
        for name in ["left", "deep", "right"] {
            assert!(make(here.as_fd(), name).unwrap());
        }
        here = open_directory(&here, "deep").unwrap();
    }
    cgroup.remove().unwrap();
    assert!(!scratch.exists());
}

#[test]
fn a_failed_create_leaves_nothing() {
    let Some(scratch) = Scratch::new("failed") else { return };
    let json = r#"{"unified":{"nosuch.max":"1"}}"#;
    let resources: Resources = crate::oci::spec::json::parse(json.as_bytes()).unwrap();
    let limits = compile_limits(&resources).unwrap();
    let error = Cgroup::create(&scratch.hierarchy, &scratch.below("a/b"), &limits).unwrap_err();
    let message = error.to_string();
    let start = "linux.resources.unified.nosuch.max: the cgroup controller `nosuch` is not available under ";
    assert!(message.starts_with(start), "{message}");
    assert!(!scratch.exists());
}

#[test]
fn a_failed_create_leaves_what_was_there() {
    let Some(scratch) = Scratch::new("kept") else { return };
    scratch.create();
    let limit = FileWrite::new("nosuch", "nosuch.max", "1", "field");
    Cgroup::create(&scratch.hierarchy, &scratch.below("a/b"), &[limit]).unwrap_err();
    assert!(scratch.exists());
    assert!(Cgroup::open(&scratch.hierarchy, &scratch.below("a")).unwrap().is_none());
}

#[test]
fn a_populated_cgroup_is_refused() {
    let Some(scratch) = Scratch::new("populated") else { return };
    let cgroup = scratch.create();
    let _process = scratch.run(&scratch.path, "exec sleep 60");
    settle(&cgroup, 1);
    let message = Cgroup::create(&scratch.hierarchy, &scratch.path, &[]).unwrap_err().to_string();
    assert_eq!(message, format!("create cgroup {}: it exists already and has processes", scratch.path));
    assert!(scratch.exists());
}

#[test]
fn kill_reaches_nested_and_frozen_processes() {
    let Some(scratch) = Scratch::new("kill") else { return };
    for with_cgroup_kill in [true, false] {
        let cgroup = scratch.create();
        let nested = Cgroup::create(&scratch.hierarchy, &scratch.below("nested"), &[]).unwrap();
        let mut outer = scratch.run(&scratch.path, "exec sleep 60");
        let mut inner = scratch.run(nested.path(), "exec sleep 60");
        settle(&cgroup, 2);
        settle(&nested, 1);
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap());
        if with_cgroup_kill {
            cgroup.kill().unwrap();
        } else {
            cgroup.kill_each().unwrap();
        }
        assert!(!outer.status().success() && !inner.status().success());
        cgroup.remove().unwrap();
        assert!(!scratch.exists());
    }
}

#[test]
fn freeze_and_thaw() {
    let Some(scratch) = Scratch::new("freeze") else { return };
    let cgroup = scratch.create();
    let mut process = scratch.run(&scratch.path, "sleep 0.1; exit 7");
    wait_until("the process appears", || cgroup.is_populated().unwrap());
    cgroup.freeze().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(process.0.try_wait().unwrap().is_none());
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    assert_eq!(process.status().code(), Some(7));
}

#[test]
fn a_frozen_leftover_is_thawed() {
    let Some(scratch) = Scratch::new("leftover") else { return };
    scratch.create().freeze().unwrap();
    assert!(!scratch.create().is_frozen().unwrap());
}

#[test]
fn remove_waits_for_the_last_process() {
    let Some(scratch) = Scratch::new("remove") else { return };
    let cgroup = scratch.create();
    let nested = Cgroup::create(&scratch.hierarchy, &scratch.below("nested"), &[]).unwrap();
    let mut process = scratch.run(nested.path(), "exec sleep 0.3");
    settle(&cgroup, 1);
    let pid = process.0.id();
    let message =
        cgroup.remove_within(Duration::from_millis(50), Remaining::AwaitEnd).unwrap_err().to_string();
    assert!(message.ends_with(&format!("still has processes after 0 s: {pid}")), "{message}");
    cgroup.remove().unwrap();
    assert!(!scratch.exists());
    assert!(process.status().success());
}

#[test]
fn device_filter_is_in_force() {
    let Some(scratch) = Scratch::new("devices") else { return };
    if std::fs::File::open("/dev/kmsg").is_err() {
        return skip("devices", "/dev/kmsg can't be opened even without a filter");
    }
    let cgroup = scratch.create();
    let kmsg = |access: &'static str| DeviceRule {
        allow: true,
        kind: Some("c".into()),
        major: Some(1),
        minor: Some(11),
        access: Some(access.into()),
    };
    let everything = DeviceRule { allow: true, access: Some("rwm".into()), ..DeviceRule::default() };
    for (rules, script, granted) in [
        (vec![everything.clone()], ": < /dev/kmsg", true),
        (vec![], ": < /dev/null", true),
        (vec![], ": > /dev/null", true),
        (vec![], ": < /dev/kmsg", false),
        (vec![kmsg("r")], ": < /dev/kmsg", true),
        (vec![kmsg("r")], ": <> /dev/kmsg", false),
        (vec![kmsg("r"), kmsg("w")], ": <> /dev/kmsg", true),
        (vec![everything, DeviceRule { allow: false, ..kmsg("w") }], ": <> /dev/kmsg", false),
    ] {
        let nested = scratch.below("device");
        let nested = Cgroup::create(&scratch.hierarchy, &nested, &[]).unwrap();
        let program = compile_devices(&rules).unwrap();
        assert!(nested.attach_devices(program.as_ref(), DeviceControl::Required).unwrap());
        let status = scratch.run(nested.path(), &format!("({script}) || exit 1")).status();
        assert_eq!(status.code(), Some(i32::from(!granted)), "{rules:?} {script}");
        nested.remove().unwrap();
    }
    cgroup.remove().unwrap();
}

#[test]
fn refused_device_filter_is_left_only_for_the_unprivileged() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let Some(scratch) = Scratch::new("unprivileged") else { return };
    let cgroup = scratch.create();
    let program = compile_devices(&[]).unwrap();
    let attach = |control| cgroup.attach_devices(program.as_ref(), control);
    // Capabilities belong to a thread, so that this one's are left alone.
    let (left, refused) = std::thread::scope(|threads| {
        let attach = || {
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
                .unwrap();
            (attach(DeviceControl::WhereAllowed), attach(DeviceControl::Required))
        };
        threads.spawn(attach).join().unwrap()
    });
    assert!(!left.unwrap());
    let message = refused.unwrap_err().to_string();
    assert!(message.starts_with("linux.resources.devices: bpf(2) for cgroup "), "{message}");
    assert!(message.ends_with("not permitted"), "{message}");
}

/// A write to a core file, which every cgroup has.
fn depth(value: &'static str) -> FileWrite<'static> {
    let write = FileWrite::new("", "cgroup.max.depth", value, "the.field");
    FileWrite { controller: None, ..write }
}

fn absent() -> FileWrite<'static> {
    FileWrite { file: "cgroup.absent".into(), ..depth("1") }
}

#[test]
fn limits_and_their_exceptions() {
    let Some(scratch) = Scratch::new("limits") else { return };
    let cgroup = Cgroup::create(&scratch.hierarchy, &scratch.path, &[depth("3")]).unwrap();
    let read = || file::read_file(cgroup.fd(), "cgroup.max.depth").unwrap();
    let apply = |limits: &[FileWrite]| cgroup.apply(limits).map_err(|error| error.to_string());

    apply(&[depth("3")]).unwrap();
    assert_eq!(read(), "3\n");
    apply(&[absent().with(Exception::Default), absent().with(Exception::FileMayBeMissing)]).unwrap();
    let instead = || Exception::Instead { file: "cgroup.max.depth", value: "4".to_string() };
    apply(&[absent().with(instead())]).unwrap();
    assert_eq!(read(), "4\n");
    apply(&[depth("5").with(instead())]).unwrap();
    assert_eq!(read(), "5\n");
    apply(&[depth("6\n7\n")]).unwrap();
    assert_eq!(read(), "7\n");

    let path = &scratch.path;
    assert_eq!(
        apply(&[absent()]).unwrap_err(),
        format!(
            "the.field: write to cgroup.absent of cgroup {path}: no such file: this kernel does not have it"
        )
    );
    let refused = format!("the.field: write 'x' to cgroup.max.depth of cgroup {path}: invalid argument");
    assert_eq!(apply(&[depth("x"), depth("8")]).unwrap_err(), refused);
    assert_eq!(read(), "7\n");
    // The write is tried again after the next one and then fails for good, even without a next one.
    assert_eq!(apply(&[depth("x").with(Exception::AfterNext), depth("8")]).unwrap_err(), refused);
    assert_eq!(read(), "8\n");
    assert_eq!(apply(&[depth("x").with(Exception::AfterNext)]).unwrap_err(), refused);

    let not_below = || Exception::NotBelow("cgroup.max.depth");
    assert_eq!(
        apply(&[depth("7").with(not_below())]).unwrap_err(),
        "the.field: 7 is less than what is in use (8), and checkBeforeUpdate is set"
    );
    apply(&[depth("9").with(not_below())]).unwrap();
    assert_eq!(read(), "9\n");
}

/// A controller, limits to apply one after the other, and what the files then contain.
type Case = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const LIMITS: [Case; 5] = [
    ("pids", &[r#"{"pids":{"limit":50}}"#, r#"{"pids":{"limit":-1}}"#], &[("pids.max", "max")]),
    ("pids", &[r#"{"pids":{"limit":50}}"#], &[("pids.max", "50")]),
    (
        "memory",
        &[r#"{"memory":{"limit":67108864,"reservation":33554432,"swap":67108864,"checkBeforeUpdate":true}}"#],
        &[("memory.max", "67108864"), ("memory.low", "33554432")],
    ),
    (
        "cpu",
        &[
            r#"{"cpu":{"shares":512,"quota":20000,"burst":10000}}"#,
            // The burst is larger than the quota in force.
            r#"{"cpu":{"shares":1024,"quota":50000,"burst":40000}}"#,
        ],
        &[("cpu.weight", "100"), ("cpu.max", "50000 100000"), ("cpu.max.burst", "40000")],
    ),
    ("cpuset", &[r#"{"cpu":{"cpus":"0","mems":"0"}}"#], &[("cpuset.cpus", "0"), ("cpuset.mems", "0")]),
];

#[test]
fn limits_turn_on_their_controllers() {
    for (index, (controller, updates, expected)) in LIMITS.into_iter().enumerate() {
        let test = format!("controllers{index}");
        let Some(scratch) = Scratch::new(&test) else { return };
        // Turning it on in the root would change the machine.
        let enabled = file::read_file(scratch.hierarchy.root(), "cgroup.subtree_control").unwrap();
        if !enabled.split_whitespace().any(|name| name == controller) {
            skip(&test, &format!("{controller} is not enabled in the root cgroup"));
            continue;
        }
        let cgroup = Cgroup::create(&scratch.hierarchy, &scratch.below("a/b"), &[]).unwrap();
        for json in updates {
            let resources: Resources = crate::oci::spec::json::parse(json.as_bytes()).unwrap();
            let limits = compile_limits(&resources).unwrap();
            cgroup.enable_controllers(&scratch.hierarchy, &limits).unwrap();
            cgroup.apply(&limits).unwrap();
        }
        for (name, value) in expected {
            assert_eq!(file::read_file(cgroup.fd(), *name).unwrap().trim_end(), *value, "{name}");
        }
    }
}

#[test]
fn a_parent_with_processes_can_not_pass_on_controllers() {
    let Some(scratch) = Scratch::new("busy-parent") else { return };
    let enabled = file::read_file(scratch.hierarchy.root(), "cgroup.subtree_control").unwrap();
    if !enabled.split_whitespace().any(|name| name == "memory") {
        return skip("busy-parent", "memory is not enabled in the root cgroup");
    }
    let cgroup = scratch.create();
    let _process = scratch.run(&scratch.path, "exec sleep 60");
    settle(&cgroup, 1);
    let limit = FileWrite::new("memory", "memory.max", "1000000", "the.field");
    let message = Cgroup::create(&scratch.hierarchy, &scratch.below("a"), &[limit]).unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "the.field: write '+memory' to cgroup.subtree_control of cgroup {}: \
             it has processes of its own, and such a cgroup can't have children with limits",
            scratch.path
        )
    );
}
