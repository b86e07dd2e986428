//! Bad input: one clear line on stderr, a status other than 0, and nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::harness::{Container, Output, Runtime, each_runtime, each_runtime_but, pillbox_only};

/// Asserts that `output` is an error of one line that contains `named`, and that nothing is left behind. The
/// peers' errors have several lines and name other things: for them only the failure itself and its traces
/// count.
#[track_caller]
fn refused(container: &Container, output: Output, named: &str) {
    refused_with(container, output, &[1], named);
}

#[track_caller]
fn refused_with(container: &Container, output: Output, codes: &[i32], named: &str) {
    if container.runtime.is("pillbox") {
        assert!(codes.contains(&output.code), "should end with one of {codes:?}: {output:?}");
        assert_eq!(output.error_lines().len(), 1, "{output:?}");
        assert!(
            output.stderr.contains(named) && output.stderr.ends_with('\n'),
            "should name {named:?}: {output:?}"
        );
        assert_eq!(output.stdout, "");
    } else {
        assert!(output.code > 0 && !output.stderr.is_empty(), "should have failed: {output:?}");
    }
    // crun makes the cgroup before it looks at most of config.json, and leaves it behind.
    if container.runtime.is("crun") {
        fs::remove_dir(container.cgroup()).ok();
    }
    container.assert_gone();
}

/// `create` and `run` of the bundle as it is, with config.json untouched.
#[track_caller]
fn refused_both(container: &Container, named: &str) {
    for verb in ["create", "run"] {
        let bundle = container.bundle();
        let output = container.call(&[verb, "--bundle", bundle.to_str().expect("path"), &container.id]);
        refused(container, output, named);
    }
}

#[test]
fn no_bundle_and_no_config() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        refused_both(&container, "config.json");
        let output = container.call(&["create", "--bundle", "/nonesuch", &container.id]);
        refused(&container, output, "/nonesuch");
    });
}

#[test]
fn a_config_that_is_no_json() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        let whole = serde_json::to_string(&container.spec).expect("spec");
        let cut =
            [1, 2, 20, whole.len() / 3, whole.len() / 2, whole.len() - 1].map(|end| whole[..end].to_string());
        let others = ["", " \n", "\0\0\0\0", "null", "[]", "\"text\"", "no JSON", "{]", "{\"ociVersion\": }"];
        let nested = "[".repeat(200_000);
        let texts = cut.iter().map(String::as_str).chain(others).chain([nested.as_str()]);
        for text in texts {
            fs::write(container.bundle().join("config.json"), text).expect("config.json");
            refused_both(&container, "config.json");
        }
    });
}

#[test]
fn a_config_that_is_a_folder() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        fs::create_dir(container.bundle().join("config.json")).expect("folder");
        refused_both(&container, "config.json");
    });
}

/// Sets the value at `pointer` (RFC 6901); null removes it.
fn set(spec: &mut Value, pointer: &str, value: &Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("pointer");
    let parent = spec.pointer_mut(parent).expect("parent").as_object_mut().expect("object");
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_string(), value.clone());
    }
}

/// A pointer, the value to put there, and what the error must name.
type Change = (&'static str, Value, &'static str);

/// Configurations that every runtime refuses.
fn refused_everywhere() -> Vec<Change> {
    vec![
        ("/process/args", json!([1]), "args"),
        ("/process/args", json!([]), "args"),
        ("/process/cwd", Value::Null, "cwd"),
        ("/process/user", json!({"uid": 4_294_967_296u64, "gid": 0}), "uid"),
        ("/process/rlimits", json!([{"type": "RLIMIT_NONESUCH", "soft": 1, "hard": 1}]), "RLIMIT_NONESUCH"),
        ("/root", Value::Null, "root"),
        ("/root/path", json!("not-there"), "not-there"),
        ("/root/path", json!(["rootfs"]), "path"),
        ("/mounts", json!({}), "mounts"),
        ("/mounts", json!([{"destination": 1}]), "destination"),
        ("/linux/namespaces", json!([{"type": "nonesuch"}]), "nonesuch"),
        ("/linux/sysctl", json!({"nonesuch.name": "1"}), "nonesuch.name"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NONESUCH"}), "SCMP_ACT_NONESUCH"),
        ("/ociVersion", json!(1), "ociVersion"),
    ]
}

/// Configurations that crun accepts: it takes a value of the wrong type as absent.
fn refused_by_most() -> Vec<Change> {
    vec![
        ("/process", json!("text"), "process"),
        ("/process/args", json!("text"), "args"),
        ("/process/args", Value::Null, "args"),
        ("/process/cwd", json!("relative"), "cwd"),
        ("/process/user", json!({"uid": "0", "gid": 0}), "uid"),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]), "type"),
        ("/linux/rootfsPropagation", json!("nonesuch"), "nonesuch"),
    ]
}

/// Configurations that both peers accept: they ignore the field, or correct it silently.
fn refused_by_pillbox() -> Vec<Change> {
    vec![
        ("/ociVersion", json!("2.0.0"), "2.0.0"),
        ("/ociVersion", Value::Null, "ociVersion"),
        ("/process/user", json!({"uid": -1, "gid": 0}), "uid"),
        ("/process/user", json!({"uid": 4_294_967_295u64, "gid": 0}), "uid"),
        ("/process/capabilities/bounding", json!("CAP_KILL"), "bounding"),
        ("/process/oomScoreAdj", json!(1001), "oomScoreAdj"),
        ("/process/oomScoreAdj", json!("1"), "oomScoreAdj"),
        ("/process/scheduler", json!({"policy": "SCHED_NONESUCH"}), "SCHED_NONESUCH"),
        ("/process/ioPriority", json!({"class": "NONESUCH", "priority": 1}), "NONESUCH"),
        ("/process/env", json!(["NUL=\u{0}"]), "env"),
        ("/process/args", json!(["nul\u{0}"]), "args"),
        ("/hostname", json!(7), "hostname"),
        ("/hostname", json!("x".repeat(65)), "hostname"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["NONESUCH"]}), "NONESUCH"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}]), "mount"),
        ("/linux/resources/memory", json!({"limit": "1G"}), "limit"),
        ("/linux/resources/unified", json!({"../x": "1"}), "../x"),
        ("/linux/cgroupsPath", json!("/../../escape"), "cgroupsPath"),
        ("/hooks", json!({"createRuntime": [{"path": "relative"}]}), "relative"),
        ("/linux/maskedPaths", json!(["relative"]), "relative"),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}]), "uidMappings"),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), "time"),
    ]
}

/// Tries each change on a bundle of its own, and fails with a list of those that were not refused properly.
#[track_caller]
fn all_refused(runtime: &Runtime, changes: Vec<Change>) {
    let mut failed = Vec::new();
    for (pointer, value, named) in changes {
        let case = || {
            let mut container = Container::new(runtime);
            set(&mut container.spec, pointer, &value);
            container.write_spec();
            refused_both(&container, named);
        };
        if catch_unwind(AssertUnwindSafe(case)).is_err() {
            failed.push(format!("{pointer} = {value:.60}"));
        }
    }
    assert!(failed.is_empty(), "{} with {failed:#?}", runtime.name);
}

#[test]
fn values_that_no_runtime_takes() {
    each_runtime(|runtime| {
        all_refused(runtime, refused_everywhere());
    });
}

#[test]
fn values_of_the_wrong_type() {
    each_runtime_but(&[("crun", "takes them for absent")], |runtime| {
        all_refused(runtime, refused_by_most());
    });
}

#[test]
fn values_that_pillbox_refuses() {
    pillbox_only(|runtime| {
        all_refused(runtime, refused_by_pillbox());
    });
}

#[test]
fn unknown_properties_are_ignored() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        for pointer in ["/nonesuch", "/process/nonesuch", "/linux/nonesuch", "/root/nonesuch"] {
            set(&mut container.spec, pointer, &json!({"deep": [1, 2.5e3, "text", null, {"er": true}]}));
        }
        assert_eq!(container.run_ok(), "ran\n");
    });
}

#[test]
fn a_root_that_is_a_file() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["root"]["path"] = json!("config.json");
        container.write_spec();
        refused_both(&container, "config.json");
    });
}

#[test]
fn ids_that_are_none() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        let bundle = container.bundle();
        let long = "x".repeat(4096);
        let before = fs::read_dir(&container.folder).expect("folder").count();
        for id in
            ["", ".", "..", ".seed", "a/b", "../escape", "/absolute", "a b", "a\nb", "\u{e9}", long.as_str()]
        {
            if runtime.is("crun")
                && (id == "a b" || id == "a\nb" || id == "\u{e9}" || id == "." || id == "..")
            {
                continue; // It refuses only what has a slash.
            }
            if runtime.is("runc") && id == ".seed" {
                continue;
            }
            let output = container.call(&["create", "--bundle", bundle.to_str().expect("path"), "--", id]);
            refused(&container, output, if runtime.is("pillbox") { "invalid" } else { "" });
            assert_eq!(fs::read_dir(container.state_folder()).expect("state").count(), 0, "{id:?}");
        }
        assert_eq!(fs::read_dir(&container.folder).expect("folder").count(), before);
    });
}

#[test]
fn ids_that_are_some() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let bundle = container.bundle();
        for id in ["a", "A_b+c.d-1", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "_"]
        {
            let output = container.call(&["run", "--bundle", bundle.to_str().expect("path"), id]);
            assert_eq!(output.ok().stdout, "ran\n");
        }
    });
}

#[test]
fn an_id_that_is_taken() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let pid = container.pid();
        for verb in ["create", "run"] {
            let output = container.finish(&mut container.bundle_command(verb, &[])).fails_with("exist");
            assert!(!runtime.is("pillbox") || output.stderr.contains(&container.id), "{output:?}");
        }
        // The container that has the id is unharmed.
        assert_eq!((container.status().as_str(), container.pid()), ("running", pid));
        assert!(container.cgroup().exists());
    });
}

/// `create` and `run` with this command. For `run`, pillbox's status says which of the shell's two
/// conventions applies.
#[track_caller]
fn command_refused(container: &mut Container, word: &str, code: i32, named: &str) {
    container.spec["process"]["args"] = json!([word]);
    container.write_spec();
    // Callers of `create` translate the error themselves: they read its text.
    for (verb, codes) in [("create", &[1, code][..]), ("run", &[code])] {
        let output = container.finish(&mut container.bundle_command(verb, &[]));
        refused_with(container, output, codes, named);
    }
}

#[test]
fn a_command_that_is_missing() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        command_refused(
            &mut container,
            "nonesuch",
            127,
            "exec: \"nonesuch\": executable file not found in $PATH",
        );
        command_refused(&mut container, "/bin/nonesuch", 127, "/bin/nonesuch");
        command_refused(&mut container, "", 127, "exec: \"\": executable file not found in $PATH");
    });
}

#[test]
fn a_command_that_cannot_be_executed() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let file = container.rootfs().join("bin/data");
        fs::write(&file, "#!/bin/sh\necho no\n").expect("file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
        command_refused(&mut container, "/bin/data", 126, "permission denied");
        command_refused(&mut container, "data", 126, "permission denied");
        command_refused(&mut container, "/etc", 126, "is a directory");
    });
}

#[test]
fn a_command_in_a_format_that_is_unknown() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let file = container.rootfs().join("bin/data");
        fs::write(&file, "\0\u{1}\u{2}\u{3}").expect("file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
        container.spec["process"]["args"] = json!(["/bin/data"]);
        container.write_spec();
        let output = container.run();
        refused_with(&container, output, &[126], "/bin/data");
    });
}

#[test]
fn an_interpreter_that_is_missing() {
    each_runtime_but(
        &[("crun", "says it at start"), ("runc", "says no such file or directory")],
        |runtime| {
            let mut container = Container::new(runtime);
            let file = container.rootfs().join("bin/script");
            fs::write(&file, "#!/nonesuch/interpreter\n").expect("file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
            container.spec["process"]["args"] = json!(["/bin/script"]);
            // "no such file or directory" about a file that exists misleads people: the error says what is
            // missing.
            let output = container.run().fails_with("/bin/script");
            assert!(output.stderr.contains("interpreter"), "{output:?}");
            container.assert_gone();
        },
    );
}

/// The reason is found where the program would have written, and the runtime itself has not failed.
#[test]
fn a_started_program_that_turns_out_to_be_none_has_run_and_failed() {
    each_runtime(|runtime| {
        for (text, words) in [
            ("\0\u{1}\u{2}\u{3}", "exec format error"),
            ("#!/nonesuch/interpreter\n", "no such file or directory"),
        ] {
            let mut container = Container::new(runtime);
            let file = container.rootfs().join("bin/data");
            fs::write(&file, text).expect("file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
            container.spec["process"]["args"] = json!(["/bin/data"]);
            let created = container.create_and_start();
            container.wait_status("stopped");
            let said = created.stderr_now();
            assert!(said.contains("/bin/data") && said.to_lowercase().contains(words), "{said}");
            container.delete().ok();
            container.assert_gone();
        }
    });
}

/// From these words Docker and Podman conclude that the program failed.
#[test]
fn what_is_not_the_programs_fault_is_not_said_in_its_words() {
    pillbox_only(|runtime| {
        let words =
            ["permission denied", "operation not permitted", "no such file or directory", "is a directory"];
        let mut missing = Container::new(runtime);
        missing.mount("none", "/nonesuch/source", "/here", &["bind"]);
        let mut refused = Container::new(runtime);
        refused.spec["process"]["oomScoreAdj"] = json!(-1000);
        let mut folder = Container::new(runtime);
        folder.spec["linux"]["sysctl"] = json!({"net/ipv4": "1"});
        let hook = |path: &str| {
            let mut container = Container::new(runtime);
            container.spec["hooks"] = json!({"createRuntime": [{"path": path}]});
            container
        };
        for (container, field) in [
            (missing, "mounts[7].source"),
            (refused, "process.oomScoreAdj"),
            (folder, "linux.sysctl"),
            (
                hook("/nonesuch/hook"),
                "hooks.createRuntime[0]: /nonesuch/hook: it cannot be executed: no such file",
            ),
            (
                hook("/etc/passwd"),
                "hooks.createRuntime[0]: /etc/passwd: it cannot be executed: access denied",
            ),
            (hook("/etc"), "hooks.createRuntime[0]: /etc: it cannot be executed: it is a folder"),
        ] {
            let output = container.run();
            // A user with all rights may lower the score as well.
            if field == "process.oomScoreAdj" && output.code == 0 {
                continue;
            }
            let text = output.fails_with(field).stderr.to_lowercase();
            assert!(!words.iter().any(|words| text.contains(words)), "{text}");
        }
    });
}

#[test]
fn a_mount_source_that_is_missing() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let missing = container.folder.join("not-there");
        container.mount("none", &missing, "/here", &["bind"]);
        container.write_spec();
        refused_both(&container, missing.to_str().expect("path"));
    });
}

#[test]
fn a_state_folder_that_cannot_be_made() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        let mut command = runtime.command();
        let root = container.bundle().join("config.json/below");
        command
            .arg("--root")
            .arg(root)
            .args(["create", "--bundle"])
            .arg(container.bundle())
            .arg(&container.id);
        let output = container.finish(&mut command);
        refused(&container, output, "config.json");
    });
}

#[test]
fn a_state_file_that_is_broken_does_not_hide_the_others() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let broken = container.state_folder().join("broken");
        fs::create_dir(&broken).expect("folder");
        for text in ["", "{", "\0\0\0\0"] {
            fs::write(broken.join("state.json"), text).expect("state.json");
            let listed = container.call(&["list", "-q"]).fails_with("broken");
            assert_eq!(listed.stdout, format!("broken\n{}\n", container.id));
            container.call(&["state", "broken"]).fails_with("broken");
        }
        let deleted = container.call(&["delete", "--force", "broken"]);
        assert!(deleted.code == 0 && deleted.stderr.contains("hooks.poststop: not run"), "{deleted:?}");
        assert!(!broken.exists());
    });
}
