//! Signals to a runtime whose container runs in the foreground.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, pillbox_only, wait_for};

/// Signals that cannot be caught, that concern a parent, or that C libraries reserve for their threads.
const NOT_PASSED_ON: [i32; 5] = [9, 17, 19, 32, 33];

/// Sent through a shell: rustix has no names for realtime signals.
fn send(pid: rustix::process::Pid, number: i32) {
    let status = Command::new("kill").arg(format!("-{number}")).arg(pid.to_string()).status().expect("kill");
    assert!(status.success());
}

#[test]
fn every_signal_reaches_the_program() {
    each_runtime(|runtime| {
        let script = "for s in $(seq 64); do trap \"echo got $s\" $s 2>/dev/null; done
            echo ready; while [ ! -e /end ]; do sleep 0.02; done; exit 3";
        let container = Container::sh(runtime, script);
        let run = container.run_in_background();
        wait_for("ready", || run.stdout_now().contains("ready\n").then_some(()));
        // Without a terminal the peers ignore WINCH; Go programs keep the signals that they use between
        // threads.
        let kept: &[i32] = match runtime.name.as_str() {
            "crun" => &[28],
            "runc" => &[23, 27, 28, 34],
            _ => &[],
        };
        for number in (1..=64).filter(|number| !NOT_PASSED_ON.contains(number) && !kept.contains(number)) {
            send(run.pid(), number);
            let line = format!("got {number}\n");
            wait_for(&line, || run.stdout_now().contains(&line).then_some(()));
        }
        std::fs::write(container.rootfs().join("end"), "").expect("end");
        assert_eq!(run.finish().code, 3);
        container.assert_gone();
    });
}

#[test]
fn real_time_signals_reach_an_exec() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        let script = "trap 'exit 9' 37; echo ready; while :; do sleep 0.02; done";
        let mut exec = container.command(&["exec", &container.id, "sh", "-c", script]);
        let exec = container.spawn(&mut exec);
        wait_for("ready", || exec.stdout_now().contains("ready\n").then_some(()));
        send(exec.pid(), 37);
        assert_eq!(exec.finish().code, 9);
        container.delete_force().ok();
    });
}

#[test]
fn what_the_caller_blocks_or_ignores_changes_nothing() {
    each_runtime_but(&[("crun", "its waitpid fails where SIGCHLD is ignored")], |runtime| {
        for setting in ["--block-signal=CHLD,TERM", "--ignore-signal=CHLD,PIPE,HUP"] {
            let container = Container::sh(
                runtime,
                "trap 'exit 6' TERM; trap 'echo HUP' HUP; echo ready; while :; do sleep 0.02; done",
            );
            let inner = container.bundle_command("run", &[]);
            let mut command = Command::new("env");
            command.arg(setting).arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
            let run = container.spawn(&mut command);
            wait_for("ready", || run.stdout_now().contains("ready\n").then_some(()));
            run.signal(Signal::HUP);
            wait_for("HUP", || run.stdout_now().contains("HUP\n").then_some(()));
            run.signal(Signal::TERM);
            assert_eq!(run.finish().code, 6, "{setting}");
        }
    });
}

#[test]
fn a_signal_after_the_programs_end_does_not_take_its_status_away() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "exit 5");
        let begun = container.folder.join("begun");
        let hook = format!("touch {}; sleep 0.5", begun.display());
        container.spec["hooks"] = json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", hook]}]});
        let run = container.run_in_background();
        wait_for("the hook", || begun.exists().then_some(()));
        run.signal(Signal::INT);
        run.signal(Signal::TERM);
        assert_eq!(run.finish().code, 5);
        container.assert_gone();
    });
}

#[test]
fn signals_get_through_while_an_agent_keeps_the_programs_execve_waiting() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "exit 5");
        // pid 1 of a pid namespace is immune to signals that it does not catch.
        container.without_namespace("pid");
        let path = container.folder.join("agent.sock");
        container.spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "syscalls": [{"names": ["execve", "execveat"], "action": "SCMP_ACT_NOTIFY"}]
        });
        let agent = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        let run = container.run_in_background();
        // The agent's queue holds the listener, at which nothing ever answers.
        let (_connection, _) = agent.accept().expect("accept");
        std::thread::sleep(Duration::from_millis(300));
        run.signal(Signal::TERM);
        assert_ne!(run.finish().code, 0);
        container.assert_gone();
    });
}

/// A cgroup above may be frozen: what init waits for may never come.
#[test]
fn a_signal_ends_a_run_that_stands_still_before_its_program() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        let above = container.cgroup();
        std::fs::create_dir(&above).expect("cgroup");
        std::fs::write(above.join("cgroup.freeze"), "1").expect("freeze");
        container.spec["linux"]["cgroupsPath"] = json!(format!("/{}/below", container.id));
        let run = container.run_in_background();
        let listed = || std::fs::read_to_string(above.join("below/cgroup.procs")).unwrap_or_default();
        wait_for("init", || (!listed().is_empty()).then_some(()));
        run.signal(Signal::TERM);
        run.finish().fails_with("a signal ended it before the program ran");
        std::fs::remove_dir(&above).expect("nothing is left in the cgroup");
        container.assert_gone();
    });
}
