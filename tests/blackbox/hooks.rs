//! Hooks: when each runs, what it gets, what its failure means.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Container, each_runtime, each_runtime_but, skip, wait_for};

/// A hook that appends `name` to `log`, after what `script` does.
fn hook(container: &Container, name: &str, script: &str) -> Value {
    let file = container.folder.join(format!("hook-{name}"));
    fs::write(&file, format!("#!/bin/sh\n{script}\necho {name} >> {}\n", log(container).display()))
        .expect("hook");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    json!([{"path": file}])
}

fn log(container: &Container) -> std::path::PathBuf {
    container.folder.join("log")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_runtimes_hooks_run_in_order() {
    each_runtime_but(&[("runc", "runs poststart with create")], |runtime| {
        let mut container = Container::sleeping(runtime);
        for name in ["prestart", "createRuntime", "poststart", "poststop"] {
            // crun ends with SIGPIPE when a hook is gone before it has the whole state.
            let hooks = hook(&container, name, "cat > /dev/null");
            container.spec["hooks"][name] = hooks;
        }
        container.create().ok();
        assert_eq!(read(&log(&container)), "prestart\ncreateRuntime\n");
        container.start().ok();
        wait_for("poststart", || read(&log(&container)).ends_with("poststart\n").then_some(()));
        container.delete_force().ok();
        assert_eq!(read(&log(&container)), "prestart\ncreateRuntime\npoststart\npoststop\n");
        container.assert_gone();
    });
}

#[test]
fn they_get_the_state_on_stdin() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        let states = container.folder.join("states");
        let script = format!("cat >> {0}; echo >> {0}", states.display());
        container.spec["hooks"]["createRuntime"] = hook(&container, "createRuntime", &script);
        container.spec["annotations"] = json!({"org.example.key": "value"});
        container.create().ok();
        let state: Value = serde_json::from_str(&read(&states)).expect("state");
        assert_eq!((&state["id"], &state["bundle"]), (&json!(container.id), &json!(container.bundle())));
        assert_eq!(state["pid"].as_u64().map(|pid| pid as u32), Some(container.pid()));
        assert_eq!(state["annotations"], container.spec["annotations"]);
        assert!(["creating", "created"].contains(&state["status"].as_str().expect("status")), "{state}");
    });
}

#[test]
fn create_runtime_sees_the_containers_network_namespace() {
    // What CNI, netavark and docker's libnetwork set up there.
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        let link = container.folder.join("link");
        let script = format!(
            "pid=$(sed 's/.*\"pid\" *: *\\([0-9]*\\).*/\\1/' | tr -dc 0-9); readlink /proc/$pid/ns/net > {}",
            link.display()
        );
        // The document may be of several lines: they are made one.
        let script = script.replacen("$(sed", "$(tr -d '\\n' | sed", 1);
        container.spec["hooks"]["createRuntime"] = hook(&container, "createRuntime", &script);
        container.create().ok();
        let net = fs::read_link(format!("/proc/{}/ns/net", container.pid())).expect("namespace");
        assert_eq!(read(&link), format!("{}\n", net.display()));
    });
}

#[test]
fn container_hooks_run_inside() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /tmp/order; echo command");
        fs::write(
            container.rootfs().join("hook"),
            "#!/bin/sh\necho startContainer $(hostname) >> /tmp/order\n",
        )
        .expect("hook");
        fs::set_permissions(container.rootfs().join("hook"), fs::Permissions::from_mode(0o755))
            .expect("chmod");
        container.spec["hooks"]["startContainer"] = json!([{"path": "/hook"}]);
        let link = container.folder.join("link");
        let script = format!("readlink /proc/self/ns/mnt > {}", link.display());
        container.spec["hooks"]["createContainer"] = hook(&container, "createContainer", &script);
        let created = container.create().ok();
        let mnt = fs::read_link(format!("/proc/{}/ns/mnt", container.pid())).expect("namespace");
        assert_eq!(read(&link), format!("{}\n", mnt.display()));
        assert!(!container.rootfs().join("tmp/order").exists(), "startContainer runs with start");
        container.start().ok();
        created.wait_for("startContainer box\ncommand\n");
    });
}

#[test]
fn container_hooks_run_in_the_time_namespace() {
    if !fs::exists("/proc/self/ns/time").expect("/proc") {
        return skip("this kernel has no time namespaces");
    }
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /tmp/uptime");
        let file = container.rootfs().join("hook");
        fs::write(&file, "#!/bin/sh\ncut -d. -f1 /proc/uptime > /tmp/uptime\n").expect("hook");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
        container.spec["hooks"]["startContainer"] = json!([{"path": "/hook"}]);
        container.with_namespace("time", None);
        container.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}});
        assert!(container.run_ok().trim().parse::<u64>().expect("uptime") > 1_000_000);
    });
}

#[test]
fn arguments_and_environment() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let out = container.folder.join("out");
        let script = format!("echo \"$0 $1 $2 $A\" > {0}; env >> {0}", out.display());
        let hooks = hook(&container, "createRuntime", &script);
        container.spec["hooks"]["createRuntime"] = hooks;
        container.spec["hooks"]["createRuntime"][0]["args"] = json!(["name", "one two", "three"]);
        container.spec["hooks"]["createRuntime"][0]["env"] = json!(["A=b c", "PATH=/bin:/usr/bin"]);
        let mut run = container.bundle_command("run", &[]);
        container.finish(run.env("LEAKED", "1")).ok();
        let output = read(&out);
        assert!(output.lines().next().expect("line").ends_with(" one two three b c"), "{output}");
        assert!(!output.contains("LEAKED"), "{output}");
    });
}

#[test]
fn a_failing_hook_stops_the_creation() {
    each_runtime(|runtime| {
        for name in ["prestart", "createRuntime", "createContainer"] {
            let mut container = Container::new(runtime);
            container.spec["hooks"][name] = hook(&container, name, "echo why >&2; exit 9");
            let output = container.create().fails_with("");
            assert!(!runtime.is("pillbox") || output.stderr.contains("hook-"), "names the hook: {output:?}");
            container.assert_gone();
        }
    });
}

#[test]
fn a_missing_hook_stops_the_creation() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["hooks"]["createRuntime"] = json!([{"path": "/nonesuch/hook"}]);
        let output = container.create().fails_with("");
        assert!(!runtime.is("pillbox") || output.stderr.contains("/nonesuch/hook"), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let hooks = hook(&container, "createRuntime", "exec sleep 1000");
        container.spec["hooks"]["createRuntime"] = hooks;
        container.spec["hooks"]["createRuntime"][0]["timeout"] = json!(1);
        let begun = std::time::Instant::now();
        container.create().fails_with("");
        assert!(begun.elapsed().as_secs() < 10);
        container.assert_gone();
    });
}

#[test]
fn a_failing_poststop_hook_is_a_warning() {
    each_runtime_but(&[("runc", "answers 1, and a second delete is needed")], |runtime| {
        let mut container = Container::new(runtime);
        let mut hooks = hook(&container, "poststop", "exit 9");
        hooks.as_array_mut().expect("hooks").push(json!({"path": "/bin/false"}));
        container.spec["hooks"]["poststop"] = hooks;
        container.create().ok();
        let output = container.delete();
        assert_eq!(output.code, 0, "{output:?}");
        let warnings = output
            .error_lines()
            .into_iter()
            .filter(|line| line.contains("poststop hook failed with exit code"));
        // crun leaves the others out.
        assert_eq!(warnings.count(), if runtime.is("crun") { 1 } else { 2 }, "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn they_begin_in_the_bundle_and_see_the_containers_mounts() {
    each_runtime_but(&[("runc", "begins createContainer in the root file system")], |runtime| {
        let mut container = Container::new(runtime);
        let out = container.folder.join("out");
        for name in ["createRuntime", "createContainer"] {
            let script = format!("pwd >> {0}; test -e rootfs/proc/self && echo proc >> {0}", out.display());
            container.spec["hooks"][name] = hook(&container, name, &script);
        }
        container.run_ok();
        let bundle = container.bundle();
        // The runtime's own namespaces have no procfs there.
        assert_eq!(read(&out), format!("{0}\n{0}\nproc\n", bundle.display()));
    });
}

#[test]
fn annotations_say_where_their_output_goes() {
    each_runtime_but(&[("runc", "does not know these annotations of crun's")], |runtime| {
        let mut container = Container::new(runtime);
        let [out, err] = ["out", "err"].map(|name| container.folder.join(name));
        fs::write(&out, "before\n").expect("file");
        container.spec["annotations"] =
            json!({"run.oci.hooks.stdout": out.to_str(), "run.oci.hooks.stderr": err.to_str()});
        container.spec["hooks"]["createRuntime"] =
            hook(&container, "createRuntime", "echo said; echo why >&2");
        container.run_ok();
        assert_eq!((read(&out), read(&err)), ("before\nsaid\n".to_string(), "why\n".to_string()));
    });
}

#[test]
fn a_failing_poststart_hook_destroys_the_container() {
    // Specification 1.3 made it so; before, it was a warning.
    each_runtime_but(&[("runc", "runs poststart with create")], |runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["hooks"]["poststart"] = hook(&container, "poststart", "exit 9");
        container.spec["hooks"]["poststop"] = hook(&container, "poststop", "");
        container.create().ok();
        container.start().fails_with("hook-poststart");
        assert_eq!(read(&log(&container)), "poststop\n");
        container.assert_gone();
    });
}
