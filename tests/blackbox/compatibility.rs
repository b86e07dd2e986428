//! What callers of runc or crun rely on works here as well.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::descriptors::receive;
use crate::harness::{Container, each_runtime, each_runtime_but, pillbox_only};

/// Podman and CRI-O check only this before they go ahead.
#[test]
fn probes_for_checkpoints_are_answered() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        for command in ["checkpoint", "restore"] {
            container.call(&[command, "--help"]).ok();
        }
        let probe = container.call(&["restore", "--lsm-mount-context"]);
        let texts = ["flag needs an argument", "requires an argument"];
        let said = format!("{}{}", probe.stdout, probe.stderr);
        assert!(probe.code > 0 && texts.into_iter().any(|text| said.contains(text)), "{said}");
    });
}

#[test]
fn checkpoints_are_refused() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let id = container.id.as_str();
        for arguments in [
            &["checkpoint", id][..],
            &["checkpoint"],
            &[
                "checkpoint",
                "--image-path",
                "/x",
                "--work-path=/y",
                "--leave-running",
                "--tcp-established",
                id,
            ],
            &["checkpoint", "-pre-dump", "--parent-path", "../x", "--manage-cgroups-mode", "soft", id],
            &[
                "checkpoint",
                "--status-fd",
                "3",
                "--lazy-pages",
                "--page-server",
                "a:1",
                "--empty-ns",
                "network",
                id,
            ],
            &[
                "checkpoint",
                "--file-locks=true",
                "--ext-unix-sk",
                "--shell-job",
                "--network-lock",
                "nftables",
                id,
            ],
            &[
                "restore",
                "--bundle",
                "/x",
                "--pid-file",
                "/y",
                "--detach",
                "--image-path",
                "/z",
                "--work-path",
                "/w",
                id,
            ],
            &[
                "restore",
                "--console-socket",
                "/s",
                "--no-pivot",
                "--no-subreaper",
                "--lsm-profile",
                "apparmor:x",
                id,
            ],
            &[
                "restore",
                "--lsm-mount-context",
                "x",
                "-d",
                "-b",
                "/x",
                "--tcp-close",
                "--auto-dedup",
                "--link-remap",
            ],
        ] {
            let output = container.call(arguments).fails_with("checkpoint and restore are not supported");
            assert_eq!((output.code, output.error_lines().len()), (1, 1));
        }
        container.call(&["checkpoint", "--nonesuch", id]).fails_with("--nonesuch");
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn a_class_of_service_that_is_not_there_is_not_updated() {
    each_runtime_but(&[("crun", "does nothing, and says nothing")], |runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        for flags in [&["--l3-cache-schema", "L3:0=f"][..], &["--mem-bw-schema=MB:0=50"]] {
            let output = container.call(&[&["update"], flags, &[&container.id]].concat()).fails_with("");
            assert!(!runtime.is("pillbox") || output.stderr.contains("linux.intelRdt: "), "{output:?}");
        }
        // Without a value the flag has no effect.
        container.call(&["update", "--l3-cache-schema", "", &container.id]).ok();
    });
}

#[test]
fn the_pidfd_socket_gets_the_process() {
    each_runtime_but(&[("crun", "has no --pidfd-socket")], |runtime| {
        let container = Container::sleeping(runtime);
        container.write_spec();
        let socket = container.folder.join("pidfd");
        let path = socket.to_str().expect("path");
        let pid_of = |listener: &UnixListener| {
            let (bytes, descriptors) = receive(listener);
            assert!(!bytes.is_empty() && descriptors.len() == 1);
            let descriptor = std::os::fd::AsRawFd::as_raw_fd(&descriptors[0]);
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).expect("fdinfo");
            let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd");
            pid.trim().parse::<u32>().expect("pid")
        };
        let listener = UnixListener::bind(&socket).expect("socket");
        container.finish(&mut container.bundle_command("create", &["--pidfd-socket", path])).ok();
        assert_eq!(pid_of(&listener), container.pid());
        container.start().ok();
        let pid_file = container.folder.join("pid");
        let flags =
            ["exec", "--detach", "--pidfd-socket", path, "--pid-file", pid_file.to_str().expect("path")];
        container.call(&[&flags[..], &[&container.id, "sleep", "1000"]].concat()).ok();
        let expected = fs::read_to_string(&pid_file).expect("pid file");
        assert_eq!(pid_of(&listener).to_string(), expected);
    });
}

#[test]
fn exec_goes_into_a_cgroup_below() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        fs::create_dir(container.cgroup().join("below")).expect("cgroup");
        let exec = |cgroup: &str| {
            container.call(&["exec", "--cgroup", cgroup, &container.id, "cat", "/proc/self/cgroup"])
        };
        // crun's process is in a cgroup namespace whose root is there.
        let said = exec("below").ok().stdout;
        assert!(said.trim_end().ends_with("/below") || runtime.is("crun"), "{said}");
        exec("nonesuch").fails_with("");
        if runtime.is("pillbox") {
            exec("memory:below").fails_with("--cgroup memory:below: a controller has no hierarchy");
            exec("../..").fails_with("--cgroup");
        }
        fs::remove_dir(container.cgroup().join("below")).ok();
    });
}

#[test]
fn spec_writes_the_file_that_is_named() {
    each_runtime_but(&[("runc", "has no --file")], |runtime| {
        let container = Container::new(runtime);
        let folder = container.bundle();
        let spec =
            || container.finish(runtime.command().args(["spec", "-f", "other.json"]).current_dir(&folder));
        spec().ok();
        let text = fs::read_to_string(folder.join("other.json")).expect("other.json");
        assert!(text.contains("ociVersion") && !folder.join("config.json").exists());
        if !runtime.is("crun") {
            // crun overwrites it.
            spec().fails_with("other.json exists already");
        }
    });
}

#[test]
fn a_log_is_a_file() {
    each_runtime_but(&[("runc", "takes what is before the colon for a part of the name")], |runtime| {
        let container = Container::new(runtime);
        let log = container.folder.join("log");
        let destination = format!("--log=file:{}", log.display());
        container.call(&[&destination, "--log-format=json", "state", "nonesuch"]).fails_with("");
        assert!(fs::read_to_string(&log).expect("log").contains("\"msg\""));
    });
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        for destination in ["journald:x", "syslog:x"] {
            container.call(&["--log", destination, "list"]).fails_with("must be a file");
        }
    });
}

#[test]
fn help_of_a_command() {
    each_runtime_but(&[("crun", "has no help command")], |runtime| {
        let container = Container::new(runtime);
        assert!(container.call(&["help"]).ok().stdout.contains("create"));
        for name in ["help", "h"] {
            assert!(container.call(&[name, "exec"]).ok().stdout.contains("--process"), "{name}");
        }
        container.call(&["help", "nonesuch"]).fails_with("nonesuch");
    });
    each_runtime_but(&[("runc", "knows other letters")], |runtime| {
        let container = Container::new(runtime);
        assert_eq!(container.call(&["-V"]).ok().stdout, container.call(&["--version"]).ok().stdout);
        container.call(&["exec", "--usage"]).ok();
        assert!(container.call(&["exec", "-?"]).ok().stdout.contains("--process"));
    });
}

/// cprates/box writes them before the command.
#[test]
fn configuration_and_state_folder_before_the_command() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let (config, elsewhere) =
            (container.bundle().join("config.json"), container.folder.join("other.json"));
        fs::rename(config, &elsewhere).expect("rename");
        let mut run = runtime.command();
        run.arg("-spec").arg(&elsewhere).arg("-workdir").arg(container.state_folder());
        let output = container.finish(run.args(["run", &container.id]).current_dir(container.bundle()));
        assert_eq!(output.ok().stdout, "ran\n");
        let list = json!([]).to_string() + "\n";
        let mut command = runtime.command();
        command.arg("--workdir").arg(container.state_folder()).args(["list", "--format", "json"]);
        assert_eq!(container.finish(&mut command).ok().stdout, list);
    });
}

#[test]
fn the_callers_groups_are_kept_on_demand() {
    each_runtime_but(&[("runc", "does not know crun's annotation")], |runtime| {
        for (value, kept) in [("1", true), ("0", false)] {
            let mut container = Container::sh(runtime, "grep Groups /proc/self/status");
            container.spec["annotations"] = json!({"run.oci.keep_original_groups": value});
            container.spec["process"]["user"]["additionalGids"] = json!([7]);
            let mut command = std::process::Command::new("setpriv");
            let run = container.bundle_command("run", &[]);
            command.arg("--groups=41,42").arg(run.get_program()).args(run.get_args());
            let groups = container.finish(command.stdin(std::process::Stdio::null())).ok().stdout;
            assert_eq!(groups.trim_end(), if kept { "Groups:\t41 42" } else { "Groups:\t7" }, "{value}");
        }
    });
}

#[test]
fn signal_0_asks_whether_there_is_somebody() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create().ok();
        container.kill("0").ok();
        container.start().ok();
        container.kill("0").ok();
        container.kill("KILL").ok();
        container.wait_status("stopped");
        container.kill("0").fails_with("not running");
    });
}
