//! Reliability: commands that are killed halfway, raced, repeated.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, mountpoints, pillbox_only};

/// Durations spread over `longest`, the same in every run (a golden-ratio sequence).
fn moments(count: u32, longest: Duration) -> impl Iterator<Item = Duration> {
    (1..=count).map(move |n| longest.mul_f64((f64::from(n) * 0.618_033_988_749_894_9).fract()))
}

#[test]
fn create_killed_at_any_moment_leaves_nothing_after_delete() {
    let peers = [
        ("crun", "leaves a cgroup, or an id that delete does not know"),
        ("runc", "leaves a cgroup when there is no state yet"),
    ];
    each_runtime_but(&peers, |runtime| {
        let container = Container::sh(runtime, "echo ran");
        let begun = Instant::now();
        container.create().ok();
        let longest = begun.elapsed() * 3 / 2;
        container.delete_force().ok();
        for moment in moments(50, longest) {
            let create = container.spawn(&mut container.bundle_command("create", &[]));
            sleep(moment);
            create.signal(Signal::KILL);
            create.finish();
            container.delete_force().ok();
            container.assert_gone();
        }
        assert_eq!(container.run_ok(), "ran\n");
        container.assert_gone();
    });
}

#[test]
fn run_killed_at_any_moment_leaves_nothing_after_delete() {
    let peers = [("crun", "as above"), ("runc", "as above")];
    each_runtime_but(&peers, |runtime| {
        let container = Container::sleeping(runtime);
        for moment in moments(20, Duration::from_millis(60)) {
            let run = container.run_in_background();
            sleep(moment);
            run.signal(Signal::KILL);
            run.finish();
            container.delete_force().ok();
            container.assert_gone();
        }
    });
}

#[test]
fn start_killed_at_any_moment_can_be_repeated() {
    each_runtime_but(&[("runc", "the second start waits for ever at the fifo")], |runtime| {
        for moment in moments(20, Duration::from_millis(8)) {
            let container = Container::sh(runtime, "echo once; sleep 1000");
            let created = container.create().ok();
            let start = container.spawn(&mut container.command(&["start", &container.id]));
            sleep(moment);
            start.signal(Signal::KILL);
            start.finish();
            if container.status() == "created" {
                // The byte may have been sent: then the program started between the two checks.
                let again = container.start();
                assert!(again.code == 0 || again.stderr.contains("it is running"), "{again:?}");
            }
            created.wait_for("once\n");
            assert_eq!((created.stdout_now().as_str(), container.status().as_str()), ("once\n", "running"));
            container.delete_force().ok();
            container.assert_gone();
        }
    });
}

#[test]
fn delete_killed_at_any_moment_is_finished_by_another() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        for moment in moments(20, Duration::from_millis(20)) {
            container.create_and_start();
            let delete = container.spawn(&mut container.command(&["delete", "--force", &container.id]));
            sleep(moment);
            delete.signal(Signal::KILL);
            delete.finish();
            container.delete_force().ok();
            container.assert_gone();
        }
    });
}

#[test]
fn of_twenty_creates_one_wins() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        let creates: Vec<_> =
            (0..20).map(|_| container.spawn(&mut container.bundle_command("create", &[]))).collect();
        let codes: Vec<_> = creates.into_iter().map(|create| create.finish().code).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        container.start().ok();
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn of_twenty_starts_one_wins() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo once; sleep 1000");
        let created = container.create().ok();
        let starts: Vec<_> =
            (0..20).map(|_| container.spawn(&mut container.command(&["start", &container.id]))).collect();
        let codes: Vec<_> = starts.into_iter().map(|start| start.finish().code).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        created.wait_for("once");
        assert_eq!(created.stdout_now(), "once\n");
    });
}

#[test]
fn deletes_at_once_leave_nothing() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let deletes: Vec<_> = (0..10)
            .map(|_| container.spawn(&mut container.command(&["delete", "--force", &container.id])))
            .collect();
        for delete in deletes {
            delete.finish();
        }
        container.assert_gone();
    });
}

#[test]
fn a_created_container_that_dies_is_stopped() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create().ok();
        let pid = rustix::process::Pid::from_raw(container.pid() as i32).expect("pid");
        rustix::process::kill_process(pid, Signal::KILL).expect("kill");
        container.wait_status("stopped");
        let begun = Instant::now();
        container.start().fails_with("");
        assert!(begun.elapsed() < Duration::from_secs(2));
        container.delete().ok();
        container.assert_gone();
    });
}

#[test]
fn two_hundred_runs_in_a_row() {
    each_runtime(|runtime| {
        let before: Vec<_> =
            mountpoints().into_iter().filter(|path| !path.starts_with("/run/pillbox-test/")).collect();
        let mut container = Container::new(runtime);
        let runs = if runtime.is("pillbox") { 200 } else { 20 };
        for n in 0..runs {
            let code = [0, 1, 42, 255][n % 4];
            container.spec["process"]["args"] =
                serde_json::json!(["/bin/sh", "-c", format!("echo {n}; exit {code}")]);
            let output = container.run();
            assert_eq!((output.code, output.stdout), (code, format!("{n}\n")));
            assert_eq!(output.stderr, "");
        }
        container.assert_gone();
        let after: Vec<_> =
            mountpoints().into_iter().filter(|path| !path.starts_with("/run/pillbox-test/")).collect();
        assert_eq!(before, after);
    });
}

#[test]
fn a_command_that_ends_at_once() {
    each_runtime(|runtime| {
        // A race in another runtime: SIGCHLD before it waits for the signal.
        let container = Container::new(runtime);
        for _ in 0..if runtime.is("pillbox") { 200 } else { 20 } {
            container.run_ok();
        }
    });
}

#[test]
fn many_containers_at_once() {
    each_runtime(|runtime| {
        let containers: Vec<_> =
            (0..16).map(|n| Container::sh(runtime, &format!("sleep 0.1; exit {n}"))).collect();
        let runs: Vec<_> = containers.iter().map(Container::run_in_background).collect();
        for (n, run) in runs.into_iter().enumerate() {
            assert_eq!(run.finish().code, n as i32);
        }
        containers.iter().for_each(Container::assert_gone);
    });
}

/// Every command that asks for the status connects to the gate; a stopped init accepts none of them.
#[test]
fn the_status_of_a_created_container_that_stands_still_is_no_wait() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create().ok();
        container.kill("STOP").ok();
        for _ in 0..20 {
            assert_eq!(container.status(), "created");
        }
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_filter_without_sockets_hides_no_failure_of_the_program() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let script = container.rootfs().join("bin/script");
        std::fs::write(&script, "#!/nonesuch\n").expect("script");
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        container.spec["process"]["args"] = json!(["/bin/script"]);
        container.spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["sendto", "sendmsg", "send"], "action": "SCMP_ACT_ERRNO"}]
        });
        container.run().fails_with("o such file or directory");
        container.assert_gone();
    });
}
