//! Recorded configurations of Docker and Podman, in which only the paths on their host were replaced.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Container, each_runtime, status_field};

/// A container from a recorded configuration, with root, bind sources, cgroup and joined namespaces of ours.
fn recorded<'r>(runtime: &'r crate::harness::Runtime, text: &str) -> Container<'r> {
    let mut container = Container::new(runtime);
    container.spec = serde_json::from_str(text).expect("fixture");
    container.spec["root"]["path"] = json!("rootfs");
    container.spec["linux"]["cgroupsPath"] = json!(format!("/{}", container.id));
    for namespace in container.spec["linux"]["namespaces"].as_array_mut().expect("namespaces") {
        namespace.as_object_mut().expect("namespace").remove("path");
    }
    let sources = container.folder.join("sources");
    for mount in container.spec["mounts"].as_array_mut().expect("mounts") {
        let source = mount["source"].as_str().unwrap_or_default().to_string();
        if mount["type"] == "bind" && source != "/dev/shm" && source != "/tmp" {
            mount["source"] = json!(bind_source(&sources, &source));
        }
    }
    without_missing_controllers(&mut container.spec);
    within_own_limits(&mut container.spec);
    container
}

/// Takes the place of a file or folder that Docker or Podman had prepared.
fn bind_source(sources: &Path, recorded: &str) -> std::path::PathBuf {
    let name = recorded.rsplit('/').next().expect("name");
    let source = sources.join(name);
    fs::create_dir_all(sources).expect("folder");
    if name == "shm" {
        fs::create_dir_all(&source).expect("folder");
    } else {
        fs::write(&source, format!("{name} of the host\n")).expect("file");
    }
    source
}

/// Limits need controllers, which v2 may not have on a hybrid host: they are tested in the guest.
fn without_missing_controllers(spec: &mut Value) {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("controllers");
    let resources = spec["linux"]["resources"].as_object_mut().expect("resources");
    for (field, controller) in [("pids", "pids"), ("memory", "memory"), ("cpu", "cpu"), ("blockIO", "io")] {
        if !controllers.split_whitespace().any(|name| name == controller) {
            resources.remove(field);
        }
    }
}

/// A hard limit can only be raised with CAP_SYS_RESOURCE.
fn within_own_limits(spec: &mut Value) {
    if let Some(process) = spec["process"].as_object_mut() {
        process.remove("rlimits");
    }
}

/// Runs the container and checks what Docker's default profile makes visible in each of its containers.
#[track_caller]
fn runs(text: &str, check: impl Fn(&str, &Container)) {
    each_runtime(|runtime| {
        let mut container = recorded(runtime, text);
        let script = "cat /proc/self/status /proc/self/mountinfo; cat /etc/hostname; echo uid $(id -u)";
        container.spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        container.spec["process"]["terminal"] = json!(false);
        let output = container.run_ok();
        check(&output, &container);
        container.assert_gone();
    });
}

#[test]
fn docker_plain() {
    runs(include_str!("../fixtures/docker-plain.config.json"), |output, _| {
        assert_eq!(status_field(output, "Seccomp"), "2");
        // Docker's fourteen capabilities.
        assert_eq!(status_field(output, "CapEff"), "00000000a80425fb");
        assert_eq!(status_field(output, "CapInh"), "0000000000000000");
        assert!(output.contains("hostname of the host\n") && output.ends_with("uid 0\n"), "{output}");
        assert!(output.contains(" /etc/resolv.conf rw"), "{output}");
    });
}

#[test]
fn docker_plain_as_recorded() {
    each_runtime(|runtime| {
        let container = recorded(runtime, include_str!("../fixtures/docker-plain.config.json"));
        assert_eq!(container.run_ok(), "plain\n");
    });
}

#[test]
fn docker_privileged() {
    runs(include_str!("../fixtures/docker-privileged.config.json"), |output, _| {
        assert_eq!(status_field(output, "Seccomp"), "0");
        let own = fs::read_to_string("/proc/self/status").expect("own");
        let granted = u64::from_str_radix(&status_field(output, "CapEff"), 16).expect("hex");
        let available = u64::from_str_radix(&status_field(&own, "CapBnd"), 16).expect("hex");
        assert_eq!(granted & available, granted);
        assert!(granted & (1 << 21) != 0, "CAP_SYS_ADMIN: {output}");
        let sys = output.lines().find(|line| line.contains(" /sys rw")).expect("/sys is writable");
        assert!(sys.contains("sysfs"), "{sys}");
    });
}

#[test]
fn docker_bind_mounts() {
    runs(include_str!("../fixtures/docker-bind-mounts.config.json"), |output, _| {
        let line = output.lines().find(|line| line.split(' ').nth(4) == Some("/mnt/t")).expect("bound");
        assert!(line.split(' ').nth(5).expect("options").starts_with("ro"), "{line}");
    });
}

#[test]
fn docker_user_and_read_only_root() {
    runs(include_str!("../fixtures/docker-limits.config.json"), |output, _| {
        assert!(output.ends_with("uid 1000\n"), "{output}");
        let root = output.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("root");
        assert!(root.split(' ').nth(5).expect("options").starts_with("ro"), "{root}");
    });
}

#[test]
fn docker_host_namespaces() {
    runs(include_str!("../fixtures/docker-host-namespaces.config.json"), |output, _| {
        assert!(output.ends_with("uid 0\n"), "{output}");
    });
}

#[test]
fn docker_terminal() {
    each_runtime(|runtime| {
        let container = recorded(runtime, include_str!("../fixtures/docker-terminal.config.json"));
        let socket = container.folder.join("console");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("socket");
        let flags = ["--console-socket", socket.to_str().expect("path")];
        container.finish(&mut container.bundle_command("create", &flags)).ok();
        container.start().ok();
        container.wait_status("stopped");
        container.delete().ok();
        container.assert_gone();
    });
}

#[test]
fn podman_plain() {
    runs(include_str!("../fixtures/podman-plain.config.json"), |output, _| {
        assert_eq!(status_field(output, "Seccomp"), "2");
        assert_eq!(status_field(output, "Umask"), "0022");
        assert!(output.contains(" /run/.containerenv "), "{output}");
    });
}

#[test]
fn podman_privileged() {
    runs(include_str!("../fixtures/podman-privileged.config.json"), |output, _| {
        assert_eq!(status_field(output, "Seccomp"), "0");
    });
}

#[test]
fn podman_detached() {
    each_runtime(|runtime| {
        let container = recorded(runtime, include_str!("../fixtures/podman-detached.config.json"));
        // conmon's calls: create, start, kill with a number, delete --force.
        let pid_file = container.folder.join("pid");
        let flags = ["--pid-file", pid_file.to_str().expect("path")];
        container.finish(&mut container.bundle_command("create", &flags)).ok();
        container.start().ok();
        assert_eq!(fs::read_to_string(&pid_file).expect("pid file"), container.pid().to_string());
        container.kill("9").ok();
        container.wait_status("stopped");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn podman_pod_member() {
    each_runtime(|runtime| {
        let infra = Container::sleeping(runtime);
        infra.create_and_start();
        let pid = infra.pid();
        let mut member = recorded(runtime, include_str!("../fixtures/podman-pod-member.config.json"));
        for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            member.with_namespace(kind, Some(&format!("/proc/{pid}/ns/{name}")));
        }
        member.spec["process"]["args"] = json!(["/bin/sh", "-c", "readlink /proc/self/ns/net; hostname"]);
        let net = fs::read_link(format!("/proc/{pid}/ns/net")).expect("namespace");
        assert_eq!(member.run_ok(), format!("{}\nbox\n", net.display()));
    });
}

#[test]
fn podman_uidmap() {
    each_runtime(|runtime| {
        let mut container = recorded(runtime, include_str!("../fixtures/podman-uidmap.config.json"));
        for path in ["", "etc"].map(|name| container.rootfs().join(name)) {
            std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
        }
        for name in ["shm", "hosts"] {
            let source = container.folder.join("sources").join(name);
            std::os::unix::fs::chown(source, Some(100_000), Some(100_000)).expect("chown");
        }
        // /run does not exist in the image: the container's root makes it.
        container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/uid_map"]);
        let output = container.run_ok();
        assert_eq!(output.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
        container.assert_gone();
    });
}
