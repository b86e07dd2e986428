//! create, start, state, kill, delete: the five operations of the specification, as callers use them.

use std::fs;

use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, wait_for};

#[test]
fn create_start_kill_delete() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        let created = container.create().ok();
        assert_eq!(container.status(), "created");
        container.start().ok();
        assert_eq!(container.status(), "running");
        created.wait_for("ready");
        container.kill("TERM").ok();
        container.wait_status("stopped");
        container.delete().ok();
        container.assert_gone();
    });
}

#[test]
fn the_command_runs_only_after_start() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo started");
        let created = container.create().ok();
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(created.stdout_now(), "");
        container.start().ok();
        wait_for("output", || (created.stdout_now() == "started\n").then_some(()));
    });
}

#[test]
fn state_has_all_fields() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["annotations"] = json!({"org.example.key": "a \"value\"\nof two lines"});
        container.create_and_start().wait_for("ready");
        let state = container.state();
        assert!(state["ociVersion"].as_str().expect("ociVersion").starts_with("1."));
        assert_eq!(state["id"], json!(container.id));
        assert_eq!(state["status"], "running");
        assert_eq!(state["bundle"], json!(container.bundle()));
        assert_eq!(state["annotations"], container.spec["annotations"]);
        let created = state["created"].as_str().expect("created");
        assert!(created.len() > 20 && created.as_bytes()[10] == b'T', "RFC 3339: {created}");
        let pid = state["pid"].as_u64().expect("pid");
        let command_line =
            fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("pid is the container's process");
        assert!(command_line.contains("trap"), "{command_line:?}");
    });
}

#[test]
fn state_of_a_stopped_container_has_pid_0() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create_and_start();
        container.wait_status("stopped");
        assert_eq!(container.pid(), 0);
    });
}

#[test]
fn state_names_the_root_file_system() {
    each_runtime_but(&[("crun", "gives root.path as it stands in config.json")], |runtime| {
        let container = Container::new(runtime);
        container.create().ok();
        assert_eq!(container.state()["rootfs"], json!(container.rootfs()));
    });
}

#[test]
fn a_created_container_can_be_deleted() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create().ok();
        container.delete().ok();
        container.assert_gone();
    });
}

#[test]
fn a_created_container_can_be_killed() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create().ok();
        container.kill("KILL").ok();
        container.wait_status("stopped");
        container.delete().ok();
        container.assert_gone();
    });
}

/// Its init is pid 1 of a pid namespace, which gets only signals that it handles.
#[test]
fn a_created_container_can_be_terminated() {
    each_runtime_but(&[("crun", "needs SIGKILL")], |runtime| {
        for own in [true, false] {
            let mut container = Container::new(runtime);
            if !own {
                container.without_namespace("pid");
            }
            for signal in ["TERM", "INT", "HUP", "QUIT"] {
                container.create().ok();
                container.kill(signal).ok();
                container.wait_status("stopped");
                container.start().fails_with("");
                container.delete().ok();
                container.assert_gone();
            }
        }
    });
}

/// Signals that end init while it waits are for the program to handle.
#[test]
fn what_ends_a_created_container_is_not_inherited_by_its_program() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "exec grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status");
        let created = container.create_and_start();
        container.wait_status("stopped");
        let said = created.stdout_now();
        assert_eq!(said.lines().count(), 3, "{said}");
        for line in said.lines() {
            let (_, mask) = line.split_once(':').expect("a mask");
            assert!(mask.trim().chars().all(|digit| digit == '0'), "{said}");
        }
    });
}

#[test]
fn delete_refuses_a_running_container() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        container.delete().fails_with(&container.id);
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn delete_force_of_a_missing_container_succeeds() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.delete_force().ok();
        container.create().ok();
        container.delete_force().ok();
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_missing_container_is_an_error_everywhere_else() {
    each_runtime_but(&[("crun", "names the id between the words that callers match")], |runtime| {
        let container = Container::new(runtime);
        for arguments in [
            &["state", &container.id][..],
            &["start", &container.id],
            &["kill", &container.id, "TERM"],
            &["delete", &container.id],
            &["pause", &container.id],
            &["resume", &container.id],
            &["ps", &container.id],
            &["exec", &container.id, "true"],
        ] {
            container.call(arguments).fails_with("container does not exist");
        }
    });
}

#[test]
fn start_works_once() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        container.start().fails_with("");
        assert_eq!(container.status(), "running");
        container.kill("KILL").ok();
        container.wait_status("stopped");
        container.start().fails_with("");
        assert_eq!(container.status(), "stopped");
    });
}

#[test]
fn kill_of_a_stopped_container_says_so() {
    // Podman, containerd and CRI-O look for these texts, in this spelling.
    let known = ["container not running", "no such process", "process already finished"];
    each_runtime_but(&[("crun", "says `No such process`")], |runtime| {
        let container = Container::new(runtime);
        container.create_and_start();
        container.wait_status("stopped");
        let output = container.kill("TERM").fails_with("");
        assert!(known.iter().any(|text| output.stderr.contains(text)), "{output:?}");
    });
}

#[test]
fn kill_all_of_a_stopped_container_succeeds() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create_and_start();
        container.wait_status("stopped");
        container.call(&["kill", "--all", &container.id, "9"]).ok();
    });
}

/// kill(2): signal 0 asks whether there is a process.
#[test]
fn signal_0_asks() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.call(&["kill", &container.id, "0"]).fails_with("");
        container.call(&["kill", "--all", &container.id, "0"]).fails_with("");
        container.create_and_start();
        container.kill("0").ok();
        container.call(&["kill", "--all", &container.id, "0"]).ok();
        container.kill("KILL").ok();
        container.wait_status("stopped");
        container.kill("0").fails_with("");
        // As any other signal to all of no processes.
        container.call(&["kill", "--all", &container.id, "0"]).ok();
    });
}

#[test]
fn kill_takes_names_and_numbers() {
    each_runtime(|runtime| {
        let script = "trap 'echo 10' USR1; trap 'echo 12' USR2; trap 'echo 15; exit' TERM
            echo ready; while :; do sleep 0.05; done";
        let container = Container::sh(runtime, script);
        let created = container.create_and_start();
        let mut expected = String::from("ready\n");
        for (signal, line) in [("USR1", "10\n"), ("SIGUSR2", "12\n"), ("10", "10\n"), ("", "15\n")] {
            wait_for("the signal", || (created.stdout_now() == expected).then_some(()));
            let arguments = ["kill", container.id.as_str(), signal];
            container.call(if signal.is_empty() { &arguments[..2] } else { &arguments }).ok();
            expected += line;
        }
        wait_for("TERM by default", || (created.stdout_now() == expected).then_some(()));
    });
}

#[test]
fn kill_refuses_an_unknown_signal() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        container.kill("NONESUCH").fails_with("NONESUCH");
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn kill_all_reaches_every_process() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "sleep 1000 & sleep 1000 & echo ready; wait");
        container.without_namespace("pid");
        let created = container.create_and_start();
        wait_for("ready", || created.stdout_now().contains("ready").then_some(()));
        container.call(&["kill", "--all", &container.id, "KILL"]).ok();
        container.wait_status("stopped");
        container.delete().ok();
        container.assert_gone();
    });
}

/// More processes than it may have descriptors.
#[test]
fn kill_all_reaches_more_processes_than_it_can_hold_open() {
    each_runtime(|runtime| {
        let script = "trap 'exit 0' USR1; for i in $(seq 120); do sleep 1000 & done; echo ready; wait; wait";
        let container = Container::sh(runtime, script);
        let created = container.create_and_start();
        wait_for("ready", || created.stdout_now().contains("ready").then_some(()));
        let mut kill = std::process::Command::new("/bin/sh");
        kill.args(["-c", "ulimit -Sn 90; exec \"$@\"", "sh"]).arg(&runtime.path);
        kill.arg("--root").arg(container.state_folder()).args(["kill", "--all", &container.id, "USR1"]);
        container.finish(&mut kill).ok();
        container.wait_status("stopped");
    });
}

#[test]
fn an_id_is_free_again_after_delete() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo again");
        for _ in 0..3 {
            assert_eq!(container.run_ok(), "again\n");
            container.assert_gone();
        }
    });
}

#[test]
fn the_bundle_may_change_after_create() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo original");
        let created = container.create().ok();
        fs::remove_file(container.bundle().join("config.json")).expect("removed");
        container.start().ok();
        wait_for("output", || (created.stdout_now() == "original\n").then_some(()));
        container.wait_status("stopped");
        container.delete().ok();
        container.assert_gone();
    });
}
