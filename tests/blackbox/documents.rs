//! What the runtime says about itself and its containers, checked against the specification's schemas;
//! completion scripts and the manual page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Container, Output, assert_matches, each_runtime, faults, pillbox_only};

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

#[test]
fn spec_follows_the_schema() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        for flags in [&["spec"][..], &["spec", "--rootless"]] {
            let folder = container.folder.join(flags.len().to_string());
            fs::create_dir(&folder).expect("folder");
            container.finish(container.command(flags).current_dir(&folder)).ok();
            let text = fs::read(folder.join("config.json")).expect("config.json");
            assert_matches("config-schema.json", &serde_json::from_slice(&text).expect("JSON"));
        }
    });
}

/// The specification's examples of one of its documents as (name, path); `verdict` is `good` or `bad`.
fn examples(document: &str, verdict: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oci-spec/test");
    let folder = folder.join(document).join(verdict);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("example").path());
    paths.map(|path| (path.file_name().expect("name").to_string_lossy().into_owned(), path)).collect()
}

/// What is wrong in this one concerns another system: a runtime for Linux does not read it, and its schema is
/// not here.
const OF_ANOTHER_SYSTEM: &str = "freebsd-vnet-disable.json";

/// The validator that judges our documents is right itself.
#[test]
fn schemas_judge_the_examples_of_the_specification() {
    for document in ["config", "state", "features"] {
        let schema = format!("{document}-schema.json");
        let judge = |path: &Path| -> Result<(), String> {
            let text = fs::read(path).expect("example");
            let value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            match faults(&schema, &value) {
                faults if faults.is_empty() => Ok(()),
                faults => Err(faults.join("; ")),
            }
        };
        for (name, path) in examples(document, "good") {
            assert_eq!(judge(&path), Ok(()), "{document}: {name}");
        }
        for (name, path) in examples(document, "bad") {
            assert_eq!(judge(&path).is_err(), name != OF_ANOTHER_SYSTEM, "{document}: {name}");
        }
    }
}

#[test]
fn examples_of_configurations_are_accepted_and_refused() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let explain = |path: &Path| {
            container.finish(&mut container.explain(&["--config", path.to_str().expect("path")]))
        };
        for (name, path) in examples("config", "good") {
            let output = explain(&path);
            // A schema does not say everything: these were written for older drafts, or ask for something
            // that Linux refuses.
            match name.as_str() {
                "spec-example.json" | "zos-example.json" => {
                    drop(output.fails_with("ociVersion: \"0.5.0-dev\""))
                }
                "freebsd-example.json" => drop(output.fails_with("needs a UTS namespace")),
                "linux-netdevice.json" => drop(output.fails_with("needs a network namespace")),
                _ => drop(output.ok()),
            }
        }
        for (name, path) in examples("config", "bad") {
            let output = explain(&path);
            match name.as_str() {
                "invalid-json.json" => drop(output.fails_with("line 1, column 2")),
                "linux-hugepage.json" => {
                    drop(output.fails_with("linux.resources.hugepageLimits[0].pageSize"))
                }
                "linux-netdevice.json" => drop(output.fails_with("linux.netDevices.eth0.name")),
                "linux-rdma.json" => drop(output.fails_with("linux.resources.rdma.mlx5_1.hcaHandles")),
                OF_ANOTHER_SYSTEM => drop(output.ok()),
                unknown => panic!("{unknown}: a new example: say what is expected"),
            }
        }
    });
}

/// Runs `true` in a container changed by `change`.
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
            // If that shell is installed, it has to be able to read the script.
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
