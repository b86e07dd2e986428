//! exec: another process in a running container, in all forms that shims, conmon and people use.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{
    Container, Output, Runtime, all_processors_of_the_cgroup, each_runtime, each_runtime_but, pillbox_only,
    skip, status_field, wait_for,
};

/// A running container.
fn running(runtime: &Runtime) -> Container<'_> {
    let container = Container::sleeping(runtime);
    container.create_and_start().wait_for("ready");
    container
}

/// `exec FLAGS ID WORDS`.
#[track_caller]
fn exec(container: &Container, flags: &[&str], words: &[&str]) -> Output {
    let mut command = container.command(&["exec"]);
    container.finish(command.args(flags).arg(&container.id).args(words))
}

#[test]
fn it_is_in_the_containers_namespaces() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let script =
            "for ns in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$ns; done; hostname; pwd";
        let output = exec(&container, &[], &["sh", "-c", script]).ok().stdout;
        let mut lines = output.lines();
        for name in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
            let link = fs::read_link(format!("/proc/{}/ns/{name}", container.pid())).expect("namespace");
            assert_eq!(lines.next(), link.to_str());
        }
        assert_eq!(lines.collect::<Vec<_>>(), ["box", "/"]);
    });
}

#[test]
fn it_is_in_the_containers_time_namespace() {
    if !fs::exists("/proc/self/ns/time").expect("/proc") {
        return skip("this kernel has no time namespaces");
    }
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.with_namespace("time", None);
        container.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}});
        container.create_and_start().wait_for("ready");
        let output =
            exec(&container, &[], &["sh", "-c", "cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time"]);
        let output = output.ok().stdout;
        let lines: Vec<_> = output.lines().collect();
        assert!(lines[0].parse::<u64>().expect("uptime") > 1_000_000, "{output}");
        let link = fs::read_link(format!("/proc/{}/ns/time", container.pid())).expect("namespace");
        assert_eq!(lines[1], link.to_str().expect("link"));
    });
}

#[test]
fn scheduling_of_a_process_document() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let file = container.folder.join("process.json");
        let process = json!({
            "args": ["/bin/sh", "-c", "cut -d' ' -f19,41 /proc/self/stat; ionice"], "cwd": "/",
            "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
            "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}
        });
        fs::write(&file, process.to_string()).expect("file");
        let output = exec(&container, &["--process", file.to_str().expect("path")], &[]).ok().stdout;
        assert_eq!(output, "5 3\nbest-effort: prio 6\n");
    });
}

/// The kernel gives a deadline only to processes that may use every processor.
#[test]
fn a_deadline_of_a_process_document() {
    each_runtime_but(&[("crun", "forks when it has the deadline, which the kernel refuses")], |runtime| {
        let container = running(runtime);
        let file = container.folder.join("process.json");
        let process = json!({
            "args": ["/bin/cut", "-d ", "-f41", "/proc/self/stat"], "cwd": "/", "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "scheduler": {"policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 50_000_000, "period": 50_000_000}
        });
        fs::write(&file, process.to_string()).expect("file");
        let output = exec(&container, &["--process", file.to_str().expect("path")], &[]).ok().stdout;
        assert_eq!(output, "6\n");
    });
}

/// Whatever the runtime may use, and whatever it does about that meanwhile.
#[test]
fn all_processors() {
    let allowed = all_processors_of_the_cgroup();
    let first = allowed.split([',', '-']).next().expect("a CPU").to_string();
    each_runtime(|runtime| {
        let container = running(runtime);
        let own = container.command(&["exec", &container.id, "/bin/cat", "/proc/self/status"]);
        // A batch process is not woken at once; several times, because it is a race.
        let held = ["taskset", "-c", &first];
        for before in std::iter::once(&held[..]).chain(std::iter::repeat_n(&["chrt", "-b", "0"][..], 20)) {
            let mut command = Command::new(before[0]);
            command.args(&before[1..]).arg(own.get_program()).args(own.get_args());
            let output = container.finish(&mut command).ok().stdout;
            assert_eq!(status_field(&output, "Cpus_allowed_list"), allowed, "{before:?}");
        }
    });
}

#[test]
fn the_affinity_of_a_process_document() {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let allowed = status_field(&status, "Cpus_allowed_list");
    let first = allowed.split([',', '-']).next().expect("a CPU").to_string();
    each_runtime(|runtime| {
        let container = running(runtime);
        let file = container.folder.join("process.json");
        for (affinity, expected) in [
            (json!({"initial": first}), first.clone()),
            (json!({"final": first}), first.clone()),
            (json!({"initial": first, "final": allowed}), allowed.clone()),
        ] {
            let process = json!({
                "args": ["/bin/cat", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0}, "execCPUAffinity": affinity
            });
            fs::write(&file, process.to_string()).expect("file");
            let output = exec(&container, &["--process", file.to_str().expect("path")], &[]).ok().stdout;
            assert_eq!(status_field(&output, "Cpus_allowed_list"), expected, "{affinity}");
        }
    });
}

#[test]
fn the_exit_status_is_the_commands() {
    each_runtime(|runtime| {
        let container = running(runtime);
        for code in [0, 1, 7, 255] {
            let output = exec(&container, &[], &["sh", "-c", &format!("exit {code}")]);
            assert_eq!((output.code, output.stderr.as_str()), (code, ""));
        }
        assert_eq!(exec(&container, &[], &["sh", "-c", "kill -9 $$"]).code, 137);
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn what_follows_the_id_is_no_flag() {
    each_runtime(|runtime| {
        let container = running(runtime);
        assert_eq!(
            exec(&container, &[], &["echo", "--detach", "-t", "--", "-e"]).ok().stdout,
            "--detach -t -- -e\n"
        );
    });
}

#[test]
fn flags() {
    each_runtime_but(&[("crun", "has no --additional-gids")], |runtime| {
        let container = running(runtime);
        let flags =
            ["--cwd", "/etc", "-e", "A=b c", "-e", "D=e", "--user", "1000:1001", "--additional-gids", "7"];
        let output =
            exec(&container, &flags, &["sh", "-c", "pwd; echo $A $D; id -u; id -g; cat /proc/self/status"])
                .ok();
        assert!(output.stdout.starts_with("/etc\nb c e\n1000\n1001\n"), "{output:?}");
        assert!(status_field(&output.stdout, "Groups").split(' ').all(|group| group == "7"), "{output:?}");
    });
}

#[test]
fn a_process_document() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let file = container.folder.join("process.json");
        let process = json!({
            "args": ["/bin/sh", "-c", "pwd; echo $A; cat /proc/self/status; exit 3"], "cwd": "/tmp",
            "env": ["PATH=/bin", "A=from the file"], "user": {"uid": 5, "gid": 6},
            "capabilities": {"bounding": ["CAP_KILL"]}, "noNewPrivileges": true
        });
        fs::write(&file, process.to_string()).expect("file");
        let output = exec(&container, &["--process", file.to_str().expect("path")], &[]);
        assert_eq!((output.code, output.stderr.as_str()), (3, ""), "{output:?}");
        assert!(output.stdout.starts_with("/tmp\nfrom the file\n"), "{output:?}");
        assert_eq!(status_field(&output.stdout, "Uid"), "5\t5\t5\t5");
        assert_eq!(status_field(&output.stdout, "CapBnd"), "0000000000000020");
        assert_eq!(status_field(&output.stdout, "NoNewPrivs"), "1");
    });
}

#[test]
fn detached_with_a_pid_file() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let file = container.folder.join("pid");
        let flags = ["--detach", "--pid-file", file.to_str().expect("path")];
        exec(&container, &flags, &["sleep", "1000"]).ok();
        let pid = fs::read_to_string(&file).expect("pid file");
        assert!(pid.bytes().all(|byte| byte.is_ascii_digit()), "{pid:?}");
        let command_line = || fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("process");
        wait_for("the command", || (command_line() == "sleep\x001000\x00").then_some(()));
        let cgroup = fs::read_to_string(container.cgroup().join("cgroup.procs")).expect("cgroup");
        assert!(cgroup.lines().any(|line| line == pid), "{cgroup}");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_working_folder_that_is_missing_is_not_made() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let output = exec(&container, &["--cwd", "/nonesuch/folder"], &["true"]).fails_with("chdir");
        // Callers turn these words into 127.
        assert!(output.stderr.to_lowercase().contains("no such file or directory"), "{output:?}");
        assert_eq!(output.code, if runtime.is("crun") { 1 } else { 255 });
        assert!(!container.rootfs().join("nonesuch").exists());
    });
}

#[test]
fn a_command_that_is_missing() {
    each_runtime_but(&[("crun", "answers 1"), ("runc", "answers 255 in words of its own")], |runtime| {
        let container = running(runtime);
        let file = container.folder.join("pid");
        let flags = ["--pid-file", file.to_str().expect("path")];
        let output = exec(&container, &flags, &["nonesuch"]);
        assert_eq!(output.code, 255, "{output:?}");
        assert!(
            output.stderr.contains("exec: \"nonesuch\": executable file not found in $PATH"),
            "{output:?}"
        );
        assert_eq!(output.error_lines().len(), 1, "{output:?}");
        // conmon recognises a failure only by a missing pid file.
        assert!(!file.exists());
    });
}

#[test]
fn it_needs_a_running_container() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create_and_start();
        container.wait_status("stopped");
        let output = exec(&container, &[], &["true"]);
        assert!(output.code > 0 && !output.stderr.is_empty(), "{output:?}");
    });
}

#[test]
fn stdin_and_stdout_are_the_callers() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let mut command = container.command(&["exec", &container.id, "cat"]);
        let mut run = container.spawn(command.stdin(std::process::Stdio::piped()));
        std::io::Write::write_all(&mut run.stdin(), b"through\n").expect("stdin");
        assert_eq!(run.finish().ok().stdout, "through\n");
    });
}

/// CVE-2022-29162, CVE-2022-27650.
#[test]
fn an_added_capability_is_not_inheritable() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let output =
            exec(&container, &["--cap", "CAP_SYS_CHROOT"], &["cat", "/proc/self/status"]).ok().stdout;
        let of = |name: &str| u64::from_str_radix(&status_field(&output, name), 16).expect("hex");
        assert_eq!((of("CapEff") >> 18) & 1, 1);
        assert_eq!(of("CapAmb"), 0);
        assert!(runtime.is("runc") || of("CapInh") == 0, "{output}");
    });
}

/// After execve an ordinary user has only ambient capabilities, and only an inheritable one can be ambient.
#[test]
fn an_added_capability_that_is_inheritable_is_a_users() {
    each_runtime_but(&[("crun", "makes nothing ambient that exec adds")], |runtime| {
        let mut container = Container::sleeping(runtime);
        for set in ["bounding", "effective", "permitted", "inheritable"] {
            container.spec["process"]["capabilities"][set] = json!(["CAP_SYS_CHROOT"]);
        }
        container.create_and_start().wait_for("ready");
        let flags = ["--user", "1000", "--cap", "CAP_SYS_CHROOT"];
        let output = exec(&container, &flags, &["cat", "/proc/self/status"]).ok().stdout;
        let of = |name: &str| u64::from_str_radix(&status_field(&output, name), 16).expect("hex");
        assert_eq!((of("CapAmb"), of("CapEff")), (1 << 18, 1 << 18), "{output}");
    });
}

/// CVE-2016-3697, crun's CVE-2026-30892: a number means that uid, whatever the image's passwd calls it, or is
/// an error.
#[test]
fn strict_user_ids() {
    each_runtime_but(
        &[("crun", "wraps -1 and 2^32 around"), ("runc", "wraps 2^32 around to root")],
        |runtime| {
            let container = running(runtime);
            fs::write(container.rootfs().join("etc/passwd"), "1000:x:0:0::/:/bin/sh\n").expect("passwd");
            for user in ["1", "1000", "4294967294"] {
                let output = exec(&container, &["--user", user], &["id", "-u"]).ok();
                assert_eq!(output.stdout, format!("{user}\n"));
            }
            for user in
                ["4294967295", "4294967296", "-1", "99999999999999999999", "1000:-1", "1000:4294967295"]
            {
                let output = exec(&container, &[&format!("--user={user}")], &["id", "-u"]);
                assert!(output.code > 0, "{user}: {output:?}");
            }
        },
    );
}

#[test]
fn leaked_descriptors_do_not_reach_it() {
    each_runtime(|runtime| {
        let container = running(runtime);
        let inner = container.command(&["exec", &container.id, "ls", "/proc/self/fd"]);
        let mut shell = Command::new("bash");
        shell
            .args(["-c", "exec \"$@\" 77</ 9</ 3</", "bash"])
            .arg(inner.get_program())
            .args(inner.get_args());
        assert_eq!(container.finish(&mut shell).ok().stdout, "0\n1\n2\n3\n");
    });
}

#[test]
fn a_hundred_in_a_row() {
    each_runtime(|runtime| {
        let container = running(runtime);
        for n in 0..if runtime.is("pillbox") { 100 } else { 10 } {
            assert_eq!(exec(&container, &[], &["echo", &n.to_string()]).ok().stdout, format!("{n}\n"));
        }
        let processes =
            || fs::read_to_string(container.cgroup().join("cgroup.procs")).expect("cgroup").lines().count();
        // The container's shell, and at most its current sleep.
        wait_for("nothing to be left", || (processes() <= 2).then_some(()));
    });
}

/// What an exec in a paused container waits for may never come.
#[test]
fn a_signal_ends_an_exec_in_a_paused_container() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        let processes = || {
            let text = fs::read_to_string(container.cgroup().join("cgroup.procs"));
            text.expect("cgroup.procs").lines().count()
        };
        container.call(&["pause", &container.id]).ok();
        let before = processes();
        for signal in [Signal::TERM, Signal::INT] {
            let command = ["exec", "--ignore-paused", &container.id, "true"];
            let exec = container.spawn(&mut container.command(&command));
            wait_for("one more process", || (processes() == before + 1).then_some(()));
            exec.signal(signal);
            let ended = exec.finish();
            assert_eq!(ended.code, 255);
            ended.fails_with("the container is paused");
            wait_for("its process to go", || (processes() == before).then_some(()));
        }
        container.call(&["resume", &container.id]).ok();
        container.call(&["exec", &container.id, "true"]).ok();
    });
}

/// In a frozen cgroup its process is not in the container's pid namespace yet, and does not end with it.
#[test]
fn an_exec_that_stands_still_ends_with_the_container() {
    pillbox_only(|runtime| {
        for detach in [false, true] {
            let container = Container::sleeping(runtime);
            container.create_and_start().wait_for("ready");
            let processes = || {
                let text = fs::read_to_string(container.cgroup().join("cgroup.procs"));
                text.expect("cgroup.procs").lines().count()
            };
            container.call(&["pause", &container.id]).ok();
            let before = processes();
            let command = ["exec", "--ignore-paused", &format!("--detach={detach}"), &container.id, "true"];
            let exec = container.spawn(&mut container.command(&command));
            wait_for("one more process", || (processes() == before + 1).then_some(()));
            container.kill("KILL").ok();
            let ended = exec.finish();
            assert_eq!(ended.code, 255);
            ended.fails_with("container not running");
            wait_for("its process to go", || (processes() == 0).then_some(()));
            container.wait_status("stopped");
        }
    });
}

/// The cgroup may be frozen after exec has checked it.
#[test]
fn an_exec_that_stands_still_unexpectedly_ends_on_signals() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        // exec checks only the container's own cgroup.
        let below = container.cgroup().join("below");
        fs::create_dir(&below).expect("cgroup");
        fs::write(below.join("cgroup.freeze"), "1").expect("freeze");
        let command = ["exec", "--cgroup", "below", &container.id, "true"];
        let exec = container.spawn(&mut container.command(&command));
        let listed = || fs::read_to_string(below.join("cgroup.procs")).expect("cgroup");
        wait_for("a process", || (!listed().is_empty()).then_some(()));
        exec.signal(Signal::TERM);
        exec.finish().fails_with("a signal ended it before the program ran");
        wait_for("its end", || listed().is_empty().then_some(()));
    });
}
