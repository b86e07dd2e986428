//! Hooks: when each runs, what it gets, and what its failure means.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Container, each_runtime, each_runtime_but, pillbox_only, skip, wait_for};

/// A hook that runs `script` and then appends `name` to `log`.
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
            // crun dies of SIGPIPE if a hook ends before it has read the whole state.
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
    // What CNI, netavark and Docker's libnetwork set up there.
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        let link = container.folder.join("link");
        let script = format!(
            "pid=$(sed 's/.*\"pid\" *: *\\([0-9]*\\).*/\\1/' | tr -dc 0-9); readlink /proc/$pid/ns/net > {}",
            link.display()
        );
        // The document may have several lines; they are joined.
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
        // crun skips the others.
        assert_eq!(warnings.count(), if runtime.is("crun") { 1 } else { 2 }, "{output:?}");
        container.assert_gone();
    });
}

/// The specification does not say where; hooks written for runc rely on its behaviour.
#[test]
fn they_begin_in_the_bundle_or_in_the_root_and_see_the_containers_mounts() {
    each_runtime_but(&[("crun", "begins createContainer in the bundle")], |runtime| {
        let mut container = Container::new(runtime);
        let out = container.folder.join("out");
        for name in ["createRuntime", "createContainer"] {
            let root = container.rootfs();
            let script = format!(
                "pwd >> {0}; test -e {1}/proc/self && echo proc >> {0}",
                out.display(),
                root.display()
            );
            container.spec["hooks"][name] = hook(&container, name, &script);
        }
        container.run_ok();
        let bundle = container.bundle();
        // The runtime's own namespaces have no procfs in that place.
        assert_eq!(read(&out), format!("{0}\n{0}/rootfs\nproc\n", bundle.display()));
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
    // Since specification 1.3 this is an error; before, it was a warning.
    each_runtime_but(&[("runc", "runs poststart with create")], |runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["hooks"]["poststart"] = hook(&container, "poststart", "cat > /dev/null; exit 9");
        container.spec["hooks"]["poststop"] = hook(&container, "poststop", "");
        container.create().ok();
        container.start().fails_with("hook-poststart");
        assert_eq!(read(&log(&container)), "poststop\n");
        container.assert_gone();
    });
}

/// A hook that writes for ever can always be read from.
#[test]
fn a_hook_that_does_not_stop_talking_is_killed_in_time() {
    each_runtime_but(&[("runc", "waits for whatever has the hook's stdout")], |runtime| {
        for script in ["exec yes", "yes & exec yes", "trap '' PIPE; exec cat /dev/zero"] {
            let mut container = Container::new(runtime);
            container.spec["hooks"]["createRuntime"] = hook(&container, "createRuntime", script);
            container.spec["hooks"]["createRuntime"][0]["timeout"] = json!(1);
            container.spec["hooks"]["createRuntime"][0]["env"] = json!(["PATH=/bin:/usr/bin"]);
            let begun = std::time::Instant::now();
            container.create().fails_with("");
            assert!(begun.elapsed().as_secs() < 6, "{script}: {:?}", begun.elapsed());
            container.assert_gone();
        }
    });
}

/// runc calls it "a de facto historical thing".
#[test]
fn start_container_hooks_have_the_containers_environment_unless_they_have_their_own() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /tmp/env");
        let file = container.rootfs().join("hook");
        fs::write(&file, "#!/bin/busybox sh\n/bin/busybox env > /tmp/env\n").expect("hook");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
        container.spec["hooks"]["startContainer"] = json!([{"path": "/hook"}]);
        container.spec["process"]["env"] = json!(["PATH=/bin", "OF_THE_CONTAINER=1"]);
        let output = container.run_ok();
        for variable in ["PATH=/bin", "OF_THE_CONTAINER=1", "HOME=/root"] {
            assert!(output.lines().any(|line| line == variable), "{variable}: {output}");
        }
        container.spec["hooks"]["startContainer"][0]["env"] = json!(["OF_THE_HOOK=1"]);
        let output = container.run_ok();
        assert!(output.contains("OF_THE_HOOK=1") && !output.contains("OF_THE_CONTAINER"), "{output}");
    });
}

/// "For hooks executed in the container namespace, it is the pid as seen by the container."
#[test]
fn hooks_of_the_containers_namespaces_are_told_the_pid_in_there() {
    each_runtime_but(&[("crun", "tells them 0")], |runtime| {
        for own in [true, false] {
            let mut container = Container::sh(runtime, "cat /tmp/state");
            let file = container.rootfs().join("hook");
            fs::write(&file, "#!/bin/sh\ncat > /tmp/state\n").expect("hook");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
            container.spec["hooks"]["startContainer"] = json!([{"path": "/hook"}]);
            let state = container.folder.join("state-of-create");
            container.spec["hooks"]["createContainer"] =
                hook(&container, "createContainer", &format!("cat > {}", state.display()));
            if !own {
                container.without_namespace("pid");
            }
            let created = container.create().ok();
            let pid = if own { 1 } else { container.pid() };
            container.start().ok();
            container.wait_status("stopped");
            for text in [read(&state), created.stdout_now()] {
                let state: Value = serde_json::from_str(&text).expect("state");
                assert_eq!(state["pid"], pid, "{text}");
            }
        }
    });
}

/// These hooks undo what the hooks of `create` have done, whatever fails after those.
#[test]
fn poststop_hooks_run_when_a_creation_fails_late() {
    each_runtime_but(&[("runc", "does not run them then"), ("crun", "does not run them then")], |runtime| {
        for flag in ["--pid-file", "--console-socket", "--pidfd-socket"] {
            let mut container = Container::sleeping(runtime);
            for name in ["createRuntime", "poststop"] {
                container.spec["hooks"][name] = hook(&container, name, "cat > /dev/null");
            }
            container.spec["process"]["terminal"] = json!(flag == "--console-socket");
            container
                .finish(&mut container.bundle_command("create", &[flag, "/nonesuch/file"]))
                .fails_with("/nonesuch");
            assert_eq!(read(&log(&container)), "createRuntime\npoststop\n", "{flag}");
            container.assert_gone();
        }
    });
}

/// The killed `create` could not run them; the command that cleans up after it does.
#[test]
fn poststop_hooks_run_after_a_creation_that_was_killed() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        let script = "cat > /dev/null; exec > /dev/null 2>&1; sleep 1000";
        for (name, script) in [("createRuntime", ""), ("createContainer", script), ("poststop", "")] {
            container.spec["hooks"][name] = hook(&container, name, script);
            container.spec["hooks"][name][0]["env"] = json!(["PATH=/bin:/usr/bin"]);
        }
        let create = container.spawn(&mut container.bundle_command("create", &[]));
        wait_for("the first hook", || (read(&log(&container)) == "createRuntime\n").then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(200));
        create.signal(rustix::process::Signal::KILL);
        create.finish();
        container.delete_force().ok();
        assert_eq!(read(&log(&container)), "createRuntime\npoststop\n");
        container.assert_gone();
    });
}

/// The reason why it cannot be executed is known and reported.
#[test]
fn a_hook_that_is_no_program_says_so() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        let file = container.folder.join("hook");
        fs::write(&file, "\0").expect("hook");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
        container.spec["hooks"]["createRuntime"] = json!([{"path": file}]);
        let output = container.create().fails_with("hooks.createRuntime[0]");
        assert!(output.stderr.to_lowercase().contains("exec format error"), "{output:?}");
        container.assert_gone();
    });
}

/// Init may be killed while a hook runs: for want of memory, or by whoever is tired of the hook.
#[test]
fn an_init_that_is_killed_beside_a_hook_is_the_error() {
    pillbox_only(|runtime| {
        let script = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); kill -9 $pid; sleep 0.1";
        for name in ["createRuntime", "startContainer"] {
            let mut container = Container::new(runtime);
            container.spec["hooks"][name] = hook(&container, name, script);
            if name == "startContainer" {
                // It runs inside, where the program's first process has a number that it can kill.
                container.without_namespace("pid");
                fs::write(container.rootfs().join("hook"), format!("#!/bin/sh\n{script}\n")).expect("hook");
                let mode = PermissionsExt::from_mode(0o755);
                fs::set_permissions(container.rootfs().join("hook"), mode).expect("chmod");
                container.spec["hooks"][name] = json!([{"path": "/hook"}]);
            }
            let output = container.run().fails_with("it was killed by signal 9");
            assert_eq!(output.error_lines().len(), 1, "{name}: {output:?}");
            container.assert_gone();
        }
    });
}
