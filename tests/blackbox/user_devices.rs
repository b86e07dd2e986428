//! Devices in a user namespace, where the container may not call mknod(2); and a user's stdio.

use std::os::unix::fs::{MetadataExt, chown};
use std::{fs, os::unix::process::CommandExt};

use serde_json::json;

use crate::harness::{Container, Runtime, each_runtime_but};

/// A container whose root is the host's 100000.
fn mapped<'r>(runtime: &'r Runtime, script: &str) -> Container<'r> {
    let mut container = Container::sh(runtime, script);
    container.with_namespace("user", None);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    container.spec["linux"]["uidMappings"] = map.clone();
    container.spec["linux"]["gidMappings"] = map;
    chown(container.rootfs(), Some(100_000), Some(100_000)).expect("chown");
    container
}

#[test]
fn a_device_that_the_host_does_not_have() {
    each_runtime_but(&[("runc", "binds the host's nodes only")], |runtime| {
        let script = "stat -c '%n %F %t:%T %a %u:%g' /dev/foo /dev/bar; head -c 3 /dev/foo | od -An -tx1";
        let mut container = mapped(runtime, script);
        container.spec["linux"]["devices"] = json!([
            {"path": "/dev/foo", "type": "c", "major": 1, "minor": 5, "uid": 10, "gid": 11, "fileMode": 0o646},
            {"path": "/dev/bar", "type": "b", "major": 7, "minor": 3, "uid": 0, "gid": 6, "fileMode": 0o157},
        ]);
        container.spec["linux"]["resources"]["devices"] = json!([
            {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"}
        ]);
        let expected = "/dev/foo character special file 1:5 646 10:11\n/dev/bar block special file 7:3 157 0:6\n 00 00 00\n";
        assert_eq!(container.run_ok(), expected);
        container.assert_gone();
        // The container stays created: what was made for it has no name any more, and nothing prevents its
        // removal.
        container.create().ok();
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_device_of_the_hosts_name_but_another_number() {
    each_runtime_but(&[("runc", "binds the host's node of that name"), ("crun", "so does it")], |runtime| {
        let mut container = mapped(runtime, "stat -c %t:%T /dev/full");
        container.spec["linux"]["devices"] =
            json!([{"path": "/dev/full", "type": "c", "major": 1, "minor": 3}]);
        assert_eq!(container.run_ok(), "1:3\n");
    });
}

#[test]
fn bound_devices_run_nothing() {
    each_runtime_but(&[("runc", "binds them as they are")], |runtime| {
        let container = mapped(runtime, "grep ' /dev/null ' /proc/self/mountinfo; echo > /dev/null");
        let output = container.run_ok();
        assert!(output.contains("nosuid") && output.contains("noexec"), "{output}");
    });
}

#[test]
fn without_mappings_the_caller_is_root() {
    each_runtime_but(&[("runc", "wants mappings")], |runtime| {
        let mut container = Container::sh(runtime, "id -u; id -g; head -n 1 /proc/self/uid_map | tr -s ' '");
        container.with_namespace("user", None);
        // Its gid=5 is not mapped in a container that has only one id.
        container.spec["mounts"].as_array_mut().expect("mounts").retain(|mount| mount["type"] != "devpts");
        assert!(container.run_ok().starts_with("0\n0\n 0 0 "));
        container.spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        if runtime.is("pillbox") {
            container.run().fails_with("linux.gidMappings");
        }
        container.assert_gone();
    });
}

#[test]
fn stdio_belongs_to_user_and_group() {
    each_runtime_but(&[("runc", "leaves the group")], |runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["user"] = json!({"uid": 1234, "gid": 4321});
        let file = fs::File::create(container.folder.join("said")).expect("file");
        let mut run = container.bundle_command("run", &[]);
        run.stdout(file).stderr(std::process::Stdio::null()).process_group(0);
        assert!(run.status().expect("run").success());
        let status = fs::metadata(container.folder.join("said")).expect("file");
        assert_eq!((status.uid(), status.gid()), (1234, 4321));
    });
}

#[test]
fn stdio_of_roots_stays_whose_it_is() {
    each_runtime_but(&[("crun", "makes it root's")], |runtime| {
        let container = Container::new(runtime);
        let file = fs::File::create(container.folder.join("said")).expect("file");
        chown(container.folder.join("said"), Some(7), Some(8)).expect("chown");
        let mut run = container.bundle_command("run", &[]);
        assert!(run.stdout(file).status().expect("run").success());
        let status = fs::metadata(container.folder.join("said")).expect("file");
        assert_eq!(status.gid(), 8);
    });
}

/// They belong to the creator of the namespace, the container's root, and not to a user of the host.
#[test]
fn message_queues_belong_to_the_containers_root() {
    each_runtime_but(&[("runc", "the group is nobody's")], |runtime| {
        let container = mapped(runtime, "stat -c '%u:%g %a' /dev/mqueue");
        assert_eq!(container.run_ok(), "0:0 1777\n");
    });
}

/// A container's own user namespace gives no rights over namespaces of others: the file systems that show
/// those are made by a process that has the rights.
#[test]
fn file_systems_of_joined_namespaces_can_be_mounted() {
    each_runtime_but(&[("runc", "mounts them from within the user namespace: not permitted")], |runtime| {
        let host = Container::sleeping(runtime);
        host.create_and_start().wait_for("ready");
        let pid = host.pid();
        for joined in [&["ipc"][..], &["pid"], &["ipc", "pid"]] {
            let script = "stat -f -c %T /proc /dev/mqueue > /dev/null; readlink /proc/self > /dev/null; \
                          cat /proc/1/comm; ls -A /dev/mqueue; grep -c -e ' - proc ' -e ' - mqueue ' /proc/self/mountinfo";
            let mut container = mapped(runtime, script);
            for kind in joined {
                container.with_namespace(kind, Some(&format!("/proc/{pid}/ns/{kind}")));
            }
            // Masks are mounts of procfs as well, and are not to be counted.
            for field in ["maskedPaths", "readonlyPaths"] {
                container.spec["linux"][field] = json!([]);
            }
            assert_eq!(container.run_ok(), "sh\n2\n", "joined: {joined:?}");
            container.assert_gone();
        }
    });
}
