//! `run`: exit status, signals, stdin, detaching, the pid file.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Container, each_runtime, each_runtime_but, wait_for};

#[test]
fn run_passes_the_exit_status_on() {
    each_runtime(|runtime| {
        for code in [0, 1, 3, 126, 127, 255] {
            let output = Container::sh(runtime, &format!("exit {code}")).run();
            assert_eq!((output.code, output.stderr.as_str()), (code, ""));
        }
    });
}

#[test]
fn run_turns_a_fatal_signal_into_128_plus_its_number() {
    each_runtime(|runtime| {
        // pid 1 of a pid namespace is immune to its own signals, so there is no such namespace here.
        for (signal, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11)] {
            let mut container = Container::sh(runtime, &format!("kill -{signal} $$; sleep 9"));
            container.without_namespace("pid");
            let output = container.run();
            assert_eq!((output.code, output.stderr.as_str()), (128 + number, ""));
        }
    });
}

#[test]
fn run_leaves_nothing() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "sleep 1000 & exit 0");
        container.run_ok();
        container.assert_gone();
    });
}

#[test]
fn run_keep_leaves_the_stopped_container() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "exit 4");
        let output = container.finish(&mut container.bundle_command("run", &["--keep"]));
        assert_eq!((output.code, output.stderr.as_str()), (4, ""));
        assert_eq!(container.status(), "stopped");
        container.delete().ok();
        container.assert_gone();
    });
}

#[test]
fn signals_to_the_runtime_reach_the_container() {
    each_runtime(|runtime| {
        let script = "trap 'echo USR1' USR1; trap 'echo HUP' HUP; trap 'echo TERM; exit 7' TERM
            echo ready; while :; do sleep 0.05; done";
        let running = Container::sh(runtime, script);
        let run = running.run_in_background();
        let mut expected = String::from("ready\n");
        for (signal, line) in [(Signal::USR1, "USR1\n"), (Signal::HUP, "HUP\n"), (Signal::TERM, "TERM\n")] {
            wait_for(line, || (run.stdout_now() == expected).then_some(()));
            run.signal(signal);
            expected += line;
        }
        let output = run.finish();
        assert_eq!((output.code, output.stdout), (7, expected));
        running.assert_gone();
    });
}

#[test]
fn stdin_reaches_the_container_and_ends_there() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "cat; echo end");
        let mut run = container.run_in_background();
        let text = "line\n".repeat(50_000);
        run.stdin().write_all(text.as_bytes()).expect("stdin");
        assert_eq!(run.finish().ok().stdout, text + "end\n");
    });
}

#[test]
fn stdout_and_stderr_stay_apart() {
    each_runtime(|runtime| {
        let output = Container::sh(runtime, "echo out; echo err >&2").run();
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "out\n", "err\n"));
    });
}

#[test]
fn run_detached_returns_while_the_container_runs() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.finish(&mut container.bundle_command("run", &["--detach"])).ok();
        assert_eq!(container.status(), "running");
        // Callers take the container over: no process of the runtime may stay with it.
        let path = fs::canonicalize(&runtime.path).expect("runtime");
        let pids = fs::read_dir("/proc").expect("/proc").flatten();
        let watchers = pids.filter(|entry| {
            let command_line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            command_line.contains(&container.id)
                && fs::read_link(entry.path().join("exe")).is_ok_and(|program| program == path)
        });
        assert_eq!(watchers.count(), 0);
        container.kill("KILL").ok();
        container.wait_status("stopped");
        container.delete().ok();
        container.assert_gone();
    });
}

#[test]
fn a_detached_container_is_reparented() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.finish(&mut container.bundle_command("run", &["-d"])).ok();
        // The init of the pid namespace adopts it, as a shim would as a subreaper.
        let stat = fs::read_to_string(format!("/proc/{}/stat", container.pid())).expect("stat");
        assert_eq!(stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)), Some("1"));
    });
}

#[test]
fn the_pid_file_holds_digits_alone() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        let file = container.folder.join("pid");
        for (verb, flag) in [("create", "--pid-file"), ("run", "--pid-file")] {
            let mut flags = vec![flag, file.to_str().expect("path")];
            flags.extend((verb == "run").then_some("--detach"));
            container.finish(&mut container.bundle_command(verb, &flags)).ok();
            assert_eq!(fs::read_to_string(&file).expect("pid file"), container.pid().to_string());
            container.delete_force().ok();
            fs::remove_file(&file).expect("pid file");
        }
    });
}

#[test]
fn no_pid_file_after_a_failure() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = serde_json::json!(["/nonesuch"]);
        let file = container.folder.join("pid");
        let flags = ["--pid-file", file.to_str().expect("path")];
        container.finish(&mut container.bundle_command("create", &flags)).fails_with("nonesuch");
        assert!(!file.exists());
    });
}

#[test]
fn the_container_starts_with_signals_in_their_default_state() {
    let handled = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status | tr -d '\\t\\n'";
    each_runtime_but(&[("runc", "hands an ignored HUP down now and then, as Go's programs do")], |runtime| {
        let container = Container::sh(runtime, handled);
        let mut shell = std::process::Command::new("bash");
        let inner = container.bundle_command("run", &[]);
        // HUP and PIPE are ignored, as by nohup and many daemons.
        shell.arg("-c").arg("trap '' HUP PIPE; exec \"$@\"").arg("bash");
        shell.arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        let output = container.finish(&mut shell).ok();
        assert!(output.stdout.starts_with("SigBlk:0000000000000000SigIgn:0000000000000000"), "{output:?}");
    });
}

#[test]
fn the_caller_may_ignore_sigchld() {
    each_runtime_but(&[("crun", "its waitpid fails: No child processes")], |runtime| {
        let container = Container::sh(runtime, "exit 5");
        let inner = container.bundle_command("run", &[]);
        let mut shell = std::process::Command::new("bash");
        shell.arg("-c").arg("trap '' CHLD; exec \"$@\"").arg("bash");
        shell.arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        let output = container.finish(&mut shell);
        assert_eq!((output.code, output.stderr.as_str()), (5, ""));
    });
}
