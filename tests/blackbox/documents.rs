//! What the runtime says of itself and its containers, against the specification's schemas; scripts and manual page.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Container, Output, assert_matches, each_runtime, pillbox_only};

fn features(container: &Container) -> Value {
    let output = container.finish(container.runtime.command().arg("features")).ok();
    serde_json::from_str(&output.stdout).expect("JSON")
}

#[test]
fn features_follows_the_schema() {
    each_runtime(|runtime| assert_matches("features-schema.json", &features(&Container::new(runtime))));
}

#[test]
fn state_follows_the_schema() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["annotations"] = json!({"org.example.key": "value"});
        container.create().ok();
        assert_matches("state-schema.json", &container.state());
        container.start().ok();
        assert_matches("state-schema.json", &container.state());
        container.kill("KILL").ok();
        container.wait_status("stopped");
        assert_matches("state-schema.json", &container.state());
    });
}

/// Runs `true` in a container to which `change` was made.
fn run_with(container: &mut Container, change: impl FnOnce(&mut Value)) -> Output {
    let before = container.spec.clone();
    change(&mut container.spec);
    let output = container.run();
    container.spec = before;
    output
}

#[test]
fn features_is_true_of_hooks() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        let features = features(&container);
        let hooks = features["hooks"].as_array().expect("hooks");
        for hook in
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        {
            let output =
                run_with(&mut container, |spec| spec["hooks"] = json!({hook: [{"path": "/bin/true"}]}));
            let refused = output.stderr.contains("not supported");
            assert_eq!(refused, !hooks.contains(&json!(hook)), "{hook}: {output:?}");
        }
    });
}

#[test]
fn features_is_true_of_mount_options() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        let features = features(&container);
        for option in features["mountOptions"].as_array().expect("mountOptions") {
            let name = option.as_str().expect("option");
            let kind = if name == "tmpcopyup" { "tmpfs" } else { "bind" };
            let options = if kind == "bind" { json!(["bind", option]) } else { json!([option]) };
            if matches!(name, "idmap" | "ridmap" | "remount") {
                continue; // These want more than a word; cases of their own have it.
            }
            let mount = json!({"type": kind, "source": "/run", "destination": "/tmp", "options": options});
            let output =
                run_with(&mut container, |spec| spec["mounts"].as_array_mut().expect("mounts").push(mount));
            assert!(!output.stderr.contains("option"), "{name}: {output:?}");
        }
    });
}

#[test]
fn features_is_true_of_the_cgroup_manager() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let systemd = &features(&container)["linux"]["cgroup"]["systemd"];
        let output = container.call(&["--cgroup-manager=systemd", "list"]);
        assert_eq!(json!(!output.stderr.contains("not supported")), *systemd, "{output:?}");
    });
}

#[test]
fn completion_is_a_script_of_that_shell() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        for shell in ["bash", "zsh", "fish"] {
            let script = container.call(&["completion", shell]).ok().stdout;
            assert!(script.contains("pause") && script.contains("preserve-fds"), "{shell}: {script}");
            let path = container.folder.join(shell);
            fs::write(&path, script).expect("script");
            // Where there is that shell, it has to be able to read it.
            if let Ok(output) = Command::new(shell).arg("-n").arg(&path).output() {
                assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
            }
        }
        container.call(&["completion", "tcsh"]).fails_with("tcsh");
        container.call(&["completion"]).fails_with("missing");
    });
}

#[test]
fn completion_in_bash_completes() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let script = container.folder.join("script");
        fs::write(&script, container.call(&["completion", "bash"]).ok().stdout).expect("script");
        let complete = |words: &str| {
            let program = format!(
                "source {}; COMP_WORDS=({words} \"$1\"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _pillbox; echo ${{COMPREPLY[@]}}",
                script.display()
            );
            move |word: &str| {
                let output =
                    Command::new("bash").args(["-c", &program, "bash", word]).output().expect("bash");
                String::from_utf8(output.stdout).expect("text").trim().to_string()
            }
        };
        assert_eq!(complete("pillbox")("pau"), "pause");
        assert_eq!(complete("pillbox --root /x --debug")("resu"), "resume");
        assert_eq!(complete("pillbox run")("--bun"), "--bundle");
        assert_eq!(complete("pillbox completion")("z"), "zsh");
    });
}

#[test]
fn the_manual_page_names_every_command() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let page = container.call(&["man"]).ok().stdout;
        let help = container.call(&["--help"]).ok().stdout;
        let commands =
            help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        for command in commands.filter_map(|line| line.split_whitespace().next()) {
            assert!(page.contains(&format!(".SS {command}")), "{command}");
        }
        // groff complains about what it does not know.
        if let Ok(output) =
            Command::new("groff").args(["-ww", "-man", "-z"]).stdin(page_file(&container, &page)).output()
        {
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    });
}

fn page_file(container: &Container, page: &str) -> fs::File {
    let path = container.folder.join("page.8");
    fs::write(&path, page).expect("page");
    fs::File::open(path).expect("page")
}
