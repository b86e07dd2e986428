//! The command line: flags in all forms that callers use, `list`, the log.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Container, Output, each_runtime, each_runtime_but, pillbox_only};

#[test]
fn flags_may_follow_the_id() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let bundle = container.bundle();
        let output = container.call(&["run", &container.id, "--bundle", bundle.to_str().expect("path")]);
        assert_eq!(output.ok().stdout, "ran\n");
    });
}

#[test]
fn a_flag_takes_its_value_either_way() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let bundle = container.bundle().to_str().expect("path").to_string();
        for flags in [&["--bundle", &bundle][..], &[&format!("--bundle={bundle}")], &["-b", &bundle]] {
            let mut arguments = vec!["run"];
            arguments.extend(flags);
            arguments.push(&container.id);
            assert_eq!(container.call(&arguments).ok().stdout, "ran\n");
        }
        let mut command = runtime.command();
        command.arg(format!("--root={}", container.state_folder().display()));
        command.args(["run", "--bundle", &bundle, &container.id]);
        assert_eq!(container.finish(&mut command).ok().stdout, "ran\n");
    });
}

#[test]
fn go_style_single_dash_flags() {
    each_runtime_but(&[("crun", "argp knows two dashes only")], |runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let bundle = container.bundle().to_str().expect("path").to_string();
        let output = container.call(&["run", "-bundle", &bundle, "-no-subreaper", &container.id]);
        assert_eq!(output.ok().stdout, "ran\n");
    });
}

#[test]
fn the_bundle_is_the_current_folder_by_default() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let output =
            container.finish(container.command(&["run", &container.id]).current_dir(container.bundle()));
        assert_eq!(output.ok().stdout, "ran\n");
    });
}

#[test]
fn a_relative_bundle_is_absolute_in_the_state() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        let mut create = container.command(&["create", "--bundle", "bundle", &container.id]);
        container.finish(create.current_dir(&container.folder)).ok();
        assert_eq!(container.state()["bundle"], json!(container.bundle()));
    });
}

#[test]
fn the_flags_that_shims_send_are_accepted() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let path = |name: &str| container.folder.join(name).to_str().expect("path").to_string();
        let (log, pid_file, bundle) = (path("log.json"), path("pid"), path("bundle"));
        let create =
            ["--log", &log, "--log-format", "json", "create", "--bundle", &bundle, "--pid-file", &pid_file];
        let mut create = create.to_vec();
        create.extend(["--no-new-keyring", &container.id]);
        let created = container.call(&create).ok();
        container.call(&["--log", &log, "--log-format", "json", "start", &container.id]).ok();
        container.wait_status("stopped");
        assert_eq!(created.stdout_now(), "ran\n");
        container.call(&["--log", &log, "--log-format", "json", "delete", "--force", &container.id]).ok();
        assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
    });
}

#[test]
fn list_shows_every_container() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        assert_eq!(container.call(&["list", "-q"]).ok().stdout, "");
        container.create().ok();
        let other = format!("{}-other", container.id);
        container.spec["linux"]["cgroupsPath"] = json!(format!("/{other}"));
        container.write_spec();
        container.finish(container.command(&["create", "--bundle"]).arg(container.bundle()).arg(&other)).ok();

        let mut ids: Vec<_> = container.call(&["list", "-q"]).ok().stdout.lines().map(String::from).collect();
        ids.sort();
        assert_eq!(ids, [container.id.clone(), other.clone()]);
        assert_eq!(container.call(&["list", "--quiet"]).ok().stdout.lines().count(), 2);

        let listed = container.call(&["list", "-f", "json"]).ok();
        let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
        let entry = listed.as_array().expect("array").iter().find(|entry| entry["id"] == json!(container.id));
        let entry = entry.expect("listed");
        assert_eq!((&entry["status"], &entry["pid"]), (&json!("created"), &json!(container.pid())));
        assert_eq!((&entry["bundle"], &entry["owner"]), (&json!(container.bundle()), &json!("root")));

        let table = container.call(&["list"]).ok().stdout;
        let row =
            table.lines().find(|line| line.split_whitespace().next() == Some(&container.id)).expect("row");
        assert!(row.contains("created") && row.contains(&container.pid().to_string()), "{table}");
        assert_eq!(table.lines().count(), 3, "{table}");
        container.call(&["delete", "--force", &other]).ok();
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn list_of_nothing_is_an_empty_array() {
    each_runtime_but(&[("runc", "prints null")], |runtime| {
        let container = Container::new(runtime);
        let listed = container.call(&["list", "--format", "json"]).ok().stdout;
        assert_eq!(serde_json::from_str::<Value>(&listed).expect("JSON"), json!([]));
    });
}

/// A failing `start` with a log file.
fn failing_start(container: &Container, log: &str, format: &str) -> Output {
    container.call(&["--log", log, "--log-format", format, "start", &container.id])
}

#[test]
fn the_json_log_has_one_line_on_failure() {
    each_runtime_but(&[("crun", "pretty-prints it over several lines")], |runtime| {
        let container = Container::new(runtime);
        let log = container.folder.join("log.json");
        let path = log.to_str().expect("path");
        let output = failing_start(&container, path, "json").fails_with("exist");
        let text = fs::read_to_string(&log).expect("log");
        assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true), "{text:?}");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["level"], "error");
        let message = line["msg"].as_str().expect("msg");
        let time = line["time"].as_str().expect("time");
        assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "RFC 3339: {time}");
        // Callers of kill and delete read only stderr: the same text has to be there.
        assert!(output.stderr.contains(message), "{message:?} {output:?}");
        // The log is appended to: another failure adds another line.
        failing_start(&container, path, "json").fails_with("");
        assert_eq!(fs::read_to_string(&log).expect("log").lines().count(), 2);
    });
}

#[test]
fn the_text_log_names_the_error_too() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        let log = container.folder.join("log");
        failing_start(&container, log.to_str().expect("path"), "text").fails_with("");
        assert!(fs::read_to_string(&log).expect("log").contains("does not exist"));
    });
}

#[test]
fn an_error_in_the_command_line_is_logged_too() {
    each_runtime_but(&[("crun", "argp prints its own text, before there is a log")], |runtime| {
        let container = Container::new(runtime);
        let log = container.folder.join("log.json");
        let arguments =
            ["--log", log.to_str().expect("path"), "--log-format", "json", "run", "--nonesuch", "x"];
        container.call(&arguments).fails_with("nonesuch");
        let line: Value = serde_json::from_str(&fs::read_to_string(&log).expect("log")).expect("JSON");
        assert!(line["msg"].as_str().expect("msg").contains("nonesuch"));
    });
}

#[test]
fn a_log_that_cannot_be_written_is_an_error() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.finish(runtime.command().args(["--log", "/nonesuch/log", "list"])).fails_with("/nonesuch");
    });
}

#[test]
fn an_unknown_flag_or_command_is_an_error() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        container.call(&["run", "--nonesuch", &container.id]).fails_with("nonesuch");
        container.call(&["--nonesuch", "list"]).fails_with("nonesuch");
        container.call(&["nonesuch"]).fails_with("nonesuch");
        container.call(&["run"]).fails_with("");
        container.call(&["state"]).fails_with("");
        container.assert_gone();
    });
}

#[test]
fn every_command_has_help() {
    let commands = ["create", "start", "run", "state", "kill", "delete", "list", "exec", "spec", "ps"];
    let more = ["pause", "resume", "update", "features"];
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        assert!(container.call(&["--help"]).ok().stdout.contains("create"));
        for command in commands.iter().chain(&more) {
            let output = container.call(&[command, "--help"]).ok();
            assert!(output.stdout.contains(command), "{command}: {output:?}");
            assert!(output.stdout.to_lowercase().contains("usage:"), "{command}: {output:?}");
        }
    });
}

#[test]
fn the_version_begins_with_the_name() {
    each_runtime(|runtime| {
        let output = Container::new(runtime).finish(runtime.command().arg("--version")).ok();
        assert!(output.stdout.starts_with(&format!("{} version ", runtime.name)), "{output:?}");
        assert!(output.stdout.contains("\nspec: 1."), "{output:?}");
    });
}

#[test]
fn features_is_a_document() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        let output = container.finish(runtime.command().arg("features")).ok();
        let features: Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert!(features["ociVersionMax"].is_string() && features["hooks"].is_array(), "{features}");
        let has = |list: &Value, item: &str| list.as_array().is_some_and(|list| list.contains(&json!(item)));
        assert!(
            has(&features["mountOptions"], "rro") && has(&features["linux"]["namespaces"], "user"),
            "{features}"
        );
    });
}

#[test]
fn spec_writes_a_bundle_that_runs() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.finish(runtime.command().arg("spec").current_dir(container.bundle())).ok();
        let written = fs::read(container.bundle().join("config.json")).expect("config.json");
        container.spec = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(
            (&container.spec["process"]["terminal"], &container.spec["root"]["path"]),
            (&json!(true), &json!("rootfs"))
        );
        container.spec["process"]["terminal"] = json!(false);
        container.spec["process"]["args"] = json!(["sh", "-c", "echo ran"]);
        container.spec["linux"]["cgroupsPath"] = json!(format!("/{}", container.id));
        assert_eq!(container.run_ok(), "ran\n");
        // An existing file is not overwritten.
        container.finish(runtime.command().arg("spec").current_dir(container.bundle())).fails_with("exist");
    });
}

#[test]
fn the_default_root_of_root_is_below_run() {
    each_runtime_but(&[("crun", "follows XDG_RUNTIME_DIR whoever calls")], |runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        // Podman passes no --root, and later calls may come without the variable: for root it must not
        // matter.
        let call = |arguments: &[&str], variable: bool| {
            let mut command = runtime.command();
            let folder = variable.then_some(("XDG_RUNTIME_DIR", container.folder.clone()));
            container.finish(command.args(arguments).envs(folder).current_dir(container.bundle()))
        };
        call(&["create", &container.id], true).ok();
        let state = Path::new("/run").join(&runtime.name).join(&container.id);
        assert!(state.is_dir(), "{state:?}");
        call(&["delete", &container.id], false).ok();
        assert!(!state.exists());
    });
}

/// explain shows everything and does nothing.
#[test]
fn explain_shows_the_configuration_and_leaves_nothing() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "true");
        container.mount("none", "/no/such/source", "/data", &["rbind", "ro"]);
        container.spec["annotations"] = json!({"some.key": "some\nvalue"});
        container.spec["hooks"] =
            json!({"poststop": [{"path": "/some/hook", "args": ["a b"], "timeout": 7}]});
        let text = container.finish(&mut container.explain(&[])).ok().stdout;
        for part in [
            "/no/such/source with submounts on /data (ro, rprivate)",
            "some.key = some\\nvalue",
            "poststop /some/hook, arguments \"a b\", killed after 7 s",
            "\"/bin/sh\" \"-c\" \"true\"",
            "shared with the host: user time",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = container.finish(&mut container.explain(&["--format", "json"])).ok().stdout;
        let document: Value = serde_json::from_str(&json).expect("JSON");
        let init = document["init"].as_array().expect("operations");
        let bind = init.iter().find(|operation| operation["target"] == "/data").expect("the mount");
        assert_eq!(
            bind["tree"],
            json!({"path": "/no/such/source", "recursive": true, "idMapped": false, "openedBy": "runtime"})
        );
        assert_eq!(init.last().expect("exec")["arguments"], json!(["/bin/sh", "-c", "true"]));
        container.assert_gone();
    });
}
