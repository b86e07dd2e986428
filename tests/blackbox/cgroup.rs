//! The container's cgroup: made, joined from the first moment on, frozen, removed.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, lack, skip, wait_for};

#[test]
fn the_container_is_in_its_cgroup() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create().ok();
        // Right after `create`; and the runtime itself was never in the cgroup.
        let processes = fs::read_to_string(container.cgroup().join("cgroup.procs")).expect("cgroup.procs");
        assert_eq!(processes, format!("{}\n", container.pid()));
        container.start().ok();
        let own = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("cgroup");
        assert!(own.lines().any(|line| line == format!("0::/{}", container.id)), "{own}");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn nested_cgroups_go_with_the_container() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        // As left by a container with a writable cgroup, or with systemd in it.
        fs::create_dir_all(container.cgroup().join("inner/most")).expect("cgroup");
        fs::write(container.cgroup().join("inner/most/cgroup.procs"), container.pid().to_string())
            .expect("moved");
        container.delete_force().ok();
        container.assert_gone();
    });
}

/// How many processes a cgroup has while an exec runs; ends the container.
fn processes_beside_an_exec(container: &Container<'_>, cgroup: &Path) -> usize {
    let script = "echo in; exec sleep 100";
    let held = container.spawn(&mut container.command(&["exec", &container.id, "sh", "-c", script]));
    wait_for("the exec", || held.stdout_now().contains("in\n").then_some(()));
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).expect("cgroup.procs");
    container.kill("KILL").ok();
    held.finish();
    processes.lines().count()
}

/// If the container's first process has moved itself, its new cgroup has the limits and the accounting.
#[test]
fn exec_goes_where_the_first_process_has_gone() {
    each_runtime_but(&[("crun", "has the recorded cgroup alone, which is gone")], |runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/sleep", "1000"]);
        container.create_and_start();
        let elsewhere = container.cgroup().with_file_name(format!("{}-elsewhere", container.id));
        fs::create_dir(&elsewhere).expect("cgroup");
        fs::write(elsewhere.join("cgroup.procs"), container.pid().to_string()).expect("moved");
        fs::remove_dir(container.cgroup()).expect("nobody is left in it");
        let processes = processes_beside_an_exec(&container, &elsewhere);
        container.delete_force().ok();
        wait_for("the other cgroup to be empty", || fs::remove_dir(&elsewhere).ok());
        assert_eq!(processes, 2);
        container.assert_gone();
    });
}

/// systemd in a container, Docker in Docker: the container's own cgroup passes controllers on, and then takes
/// no processes.
#[test]
fn exec_goes_below_a_cgroup_that_passes_controllers_on() {
    let enabled = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").expect("cgroup v2");
    let Some(controller) = enabled.split_whitespace().next().map(str::to_string) else {
        // Turning one on would change the machine: the guest has the same case.
        return lack("a controller is not enabled in the root cgroup");
    };
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/sleep", "1000"]);
        container.create_and_start();
        let below = container.cgroup().join("below");
        fs::create_dir(&below).expect("cgroup");
        fs::write(below.join("cgroup.procs"), container.pid().to_string()).expect("moved");
        fs::write(container.cgroup().join("cgroup.subtree_control"), format!("+{controller}"))
            .expect("passed on");
        let processes = processes_beside_an_exec(&container, &below);
        assert_eq!(processes, 2);
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_path_of_several_parts_is_made() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        let path = format!("/{}/middle/leaf", container.id);
        container.spec["linux"]["cgroupsPath"] = json!(path);
        container.create_and_start();
        let own = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("cgroup");
        assert!(own.lines().any(|line| line == format!("0::{path}")), "{own}");
        container.delete_force().ok();
        assert!(!container.cgroup().join("middle/leaf").exists());
        for part in ["middle", ""] {
            // The last part is the container's; the cgroups above may be shared with others, so they may
            // stay.
            fs::remove_dir(container.cgroup().join(part)).ok();
        }
    });
}

#[test]
fn without_a_path_there_is_still_one_for_the_container_alone() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
        container.create_and_start();
        let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("cgroup");
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup v2").to_string();
        assert!(path.contains(&container.id), "{path}");
        container.delete_force().ok();
        wait_for("the cgroup to go", || {
            (!fs::exists(format!("/sys/fs/cgroup{path}")).expect("cgroup")).then_some(())
        });
    });
}

#[test]
fn pause_freezes_and_resume_thaws() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "while :; do echo; sleep 0.01; done");
        let created = container.create_and_start();
        wait_for("output", || (!created.stdout_now().is_empty()).then_some(()));
        container.call(&["pause", &container.id]).ok();
        assert_eq!(container.status(), "paused");
        // crun does not wait for it.
        let events = || fs::read_to_string(container.cgroup().join("cgroup.events")).expect("cgroup.events");
        wait_for("the freezer", || events().contains("frozen 1").then_some(()));
        let before = created.stdout_now().len();
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(created.stdout_now().len(), before);
        container.call(&["resume", &container.id]).ok();
        assert_eq!(container.status(), "running");
        wait_for("more output", || (created.stdout_now().len() > before).then_some(()));
    });
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        container.call(&["pause", &container.id]).ok();
        container.kill("KILL").ok();
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn ps_lists_the_cgroups_processes() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "sleep 1000 & echo ready; wait");
        container.create_and_start().wait_for("ready");
        let listed = container.call(&["ps", "--format", "json", &container.id]).ok().stdout;
        let mut pids: Vec<u32> = serde_json::from_str(&listed).expect("an array of pids");
        let processes = fs::read_to_string(container.cgroup().join("cgroup.procs")).expect("cgroup.procs");
        let mut expected: Vec<u32> = processes.lines().map(|line| line.parse().expect("pid")).collect();
        pids.sort();
        expected.sort();
        assert_eq!((pids.len(), pids), (2, expected));
    });
}

#[test]
fn a_limit_without_its_controller_is_an_error() {
    each_runtime_but(&[("crun", "leaves the cgroup behind")], |runtime| {
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("controllers");
        if controllers.contains("pids") {
            return; // This machine can honour it; that it does is tested in the guest.
        }
        let mut container = Container::new(runtime);
        container.spec["linux"]["resources"]["pids"] = json!({"limit": 10});
        container.run().fails_with("pids");
        container.assert_gone();
    });
}

#[test]
fn limits_that_limit_nothing_need_no_controller() {
    each_runtime_but(&[("crun", "opens memory.max regardless")], |runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        container.spec["linux"]["resources"]["memory"] = json!({"limit": 0});
        container.spec["linux"]["resources"]["cpu"] = json!({"shares": 0, "quota": 0, "period": 0});
        container.spec["linux"]["resources"]["pids"] = json!({"limit": 0});
        assert_eq!(container.run_ok(), "ran\n");
    });
}

/// A user namespace whose root is the host's 100000, and a cgroup mount with these options.
fn in_user_namespace(container: &mut Container, options: &[&str]) {
    container.in_user_namespace();
    let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
    let mount = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").expect("a cgroup mount");
    mount["options"] = json!(options);
}

#[test]
fn a_writable_cgroup_belongs_to_the_user_namespaces_root() {
    // crun also delegates the cgroup if the mount is read-only.
    each_runtime_but(&[("runc", "only with systemd"), ("crun", "see above")], |runtime| {
        for (options, expected) in [(&["rw"][..], "0 0 65534\nmade\n"), (&["ro"], "65534 65534 65534\n")] {
            let script = "cd /sys/fs/cgroup; echo $(stat -c %u . cgroup.procs cgroup.freeze)
                          mkdir sub 2>/dev/null && echo made; true";
            let mut container = Container::sh(runtime, script);
            in_user_namespace(&mut container, options);
            assert_eq!(container.run_ok(), expected);
            container.assert_gone();
        }
    });
}

#[test]
fn without_a_cgroup_namespace_a_user_namespace_sees_the_hierarchy() {
    each_runtime(|runtime| {
        for options in [&["rw"][..], &["ro", "nosuid"]] {
            let script = "ls -d /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup); grep ' /sys/fs/cgroup ' /proc/self/mountinfo";
            let mut container = Container::sh(runtime, script);
            in_user_namespace(&mut container, options);
            container.without_namespace("cgroup");
            let output = container.run_ok();
            assert!(output.starts_with(&format!("/sys/fs/cgroup/{}\n", container.id)), "{output}");
            assert!(output.contains(&format!(" {}", options.join(","))), "{output}");
            container.assert_gone();
        }
    });
}

#[test]
fn cache_allocation_needs_a_mounted_resctrl() {
    if fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").contains(" - resctrl ") {
        return skip("resctrl is mounted here");
    }
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["linux"]["intelRdt"] = json!({"closID": "gold", "l3CacheSchema": "L3:0=f"});
        let output = container.run().fails_with("");
        assert!(runtime.is("runc") || output.stderr.contains("resctrl"), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn a_file_that_no_controller_has_is_an_error() {
    each_runtime_but(&[("crun", "leaves the cgroup behind"), ("runc", "words it otherwise")], |runtime| {
        for (file, said) in [
            ("foo.bar", "controller `foo` is not available under"),
            ("NOT-A-VALID-KEY", "the specified key has not the form CONTROLLER.VALUE `NOT-A-VALID-KEY`"),
        ] {
            let mut container = Container::new(runtime);
            container.spec["linux"]["resources"]["unified"] = json!({file: "0"});
            container.run().fails_with(said);
            container.assert_gone();
        }
    });
}
