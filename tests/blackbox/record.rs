//! The record of a container: which command may change it when, and what happens if it cannot be read or
//! made.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Container, Runtime, each_runtime, each_runtime_but, pillbox_only, wait_for};

/// Less than any command waits for another one.
const AT_ONCE: Duration = Duration::from_secs(5);

fn hook(container: &Container, script: &str) -> Value {
    let file = container.folder.join("hook");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("hook");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    json!([{"path": file, "env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]}])
}

fn folder(container: &Container) -> PathBuf {
    container.state_folder().join(&container.id)
}

/// The command with a soft limit on its descriptors.
fn with_descriptors(count: u32, command: &Command) -> Command {
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -Sn \"$1\"; shift; exec \"$@\"", "sh", &count.to_string()]);
    limited.arg(command.get_program()).args(command.get_args()).stdin(std::process::Stdio::null());
    limited
}

#[test]
fn a_foreground_run_can_be_worked_on_and_deleted() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        let run = container.run_in_background();
        wait_for("ready", || run.stdout_now().contains("ready").then_some(()));
        let begun = Instant::now();
        container.call(&["pause", &container.id]).ok();
        container.call(&["resume", &container.id]).ok();
        container.call(&["exec", &container.id, "true"]).ok();
        let deleted = container.delete_force();
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        // crun's two processes both remove the state, and disturb each other.
        if runtime.is("pillbox") {
            deleted.ok();
            // It reports how the program ended, and nothing about what another command has removed.
            let output = run.finish();
            assert_eq!((output.code, output.stderr.as_str()), (137, ""));
        }
        container.assert_gone();
    });
}

#[test]
fn the_limits_and_mounts_of_a_foreground_run_can_be_changed() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        let run = container.run_in_background();
        wait_for("ready", || run.stdout_now().contains("ready").then_some(()));
        let [resources, mounts] = ["resources", "mounts"].map(|name| container.folder.join(name));
        fs::write(&resources, "{}").expect("file");
        fs::write(&mounts, r#"[{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]"#).expect("file");
        let [resources, mounts] = [&resources, &mounts].map(|path| path.to_str().expect("path"));
        let begun = Instant::now();
        container.call(&["update", "--resources", resources, &container.id]).ok();
        container.call(&["mounts", "add", &container.id, mounts]).ok();
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        container.kill("KILL").ok();
        assert_eq!(run.finish().code, 137);
        container.assert_gone();
    });
}

#[test]
fn who_deletes_a_foreground_run_runs_its_poststop_hooks_once() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        let log = container.folder.join("log");
        container.spec["hooks"]["poststop"] = hook(&container, &format!("echo stopped >> {}", log.display()));
        let run = container.run_in_background();
        wait_for("ready", || run.stdout_now().contains("ready").then_some(()));
        container.delete_force().ok();
        assert_eq!(run.finish().code, 137);
        assert_eq!(fs::read_to_string(log).expect("log"), "stopped\n");
        container.assert_gone();
    });
}

/// By then the id may be another container's, which must lose nothing.
#[test]
fn a_foreground_run_that_was_deleted_leaves_its_successor_alone() {
    pillbox_only(|runtime| {
        for _ in 0..20 {
            let container = Container::sleeping(runtime);
            let run = container.run_in_background();
            wait_for("ready", || run.stdout_now().contains("ready").then_some(()));
            // A command that can pause it no longer waits for the other one.
            container.call(&["pause", &container.id]).ok();
            run.signal(Signal::STOP);
            container.delete_force().ok();
            container.create_and_start();
            run.signal(Signal::CONT);
            assert_eq!(run.finish().code, 137);
            assert_eq!(container.status(), "running");
            container.delete_force().ok();
            container.assert_gone();
        }
    });
}

#[test]
fn poststart_hooks_may_call_back() {
    each_runtime_but(&[("runc", "runs poststart with create, before there is a state")], |runtime| {
        let mut container = Container::sleeping(runtime);
        let [said, resources] = ["said", "resources"].map(|name| container.folder.join(name));
        fs::write(&resources, "{}").expect("file");
        let call = format!("{} --root {}", runtime.path.display(), container.state_folder().display());
        let id = &container.id;
        let script = format!(
            "exec > {} 2>&1; cat > /dev/null
            {call} state {id} | grep -o running
            {call} update --resources {} {id} && {call} pause {id} && {call} resume {id} && echo done",
            said.display(),
            resources.display()
        );
        container.spec["hooks"]["poststart"] = hook(&container, &script);
        let begun = Instant::now();
        container.create().ok();
        container.start().ok();
        assert_eq!(fs::read_to_string(&said).expect("said"), "running\ndone\n");
        container.delete_force().ok();
        let run = container.run_in_background();
        wait_for("ready", || run.stdout_now().contains("ready").then_some(()));
        wait_for("the hook", || (fs::read_to_string(&said).ok()? == "running\ndone\n").then_some(()));
        container.kill("KILL").ok();
        run.finish();
        assert!(begun.elapsed() < 2 * AT_ONCE, "{:?}", begun.elapsed());
        container.assert_gone();
    });
}

/// What keeps the other command busy may be the container itself.
#[test]
fn a_start_that_hangs_in_a_hook_does_not_keep_a_container_from_being_deleted() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        let inside = container.rootfs().join("hook");
        fs::write(&inside, "#!/bin/sh\necho here > /tmp/here\nexec sleep 1000\n").expect("hook");
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).expect("chmod");
        container.spec["hooks"]["startContainer"] = json!([{"path": "/hook"}]);
        container.create().ok();
        let start = container.spawn(&mut container.command(&["start", &container.id]));
        wait_for("the hook", || container.rootfs().join("tmp/here").exists().then_some(()));
        let begun = Instant::now();
        container.delete_force().ok();
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        start.finish().fails_with("startContainer");
        container.assert_gone();
    });
}

/// Without enough descriptors nothing can be found out about a container, and it must not be taken for
/// missing.
#[test]
fn a_container_that_cannot_be_looked_at_is_not_forgotten() {
    pillbox_only(|runtime| {
        let mut gone = 0;
        for count in 3..=14 {
            let container = Container::sleeping(runtime);
            container.create_and_start();
            let delete = container.command(&["delete", "--force", &container.id]);
            let output = container.finish(&mut with_descriptors(count, &delete));
            if output.code == 0 {
                gone += 1;
            } else {
                assert_eq!(output.error_lines().len(), 1, "{output:?}");
                assert!(["running", "stopped"].contains(&container.status().as_str()), "{output:?}");
                container.delete_force().ok();
            }
            container.assert_gone();
        }
        assert!((1..12).contains(&gone), "{gone} of 12 deleted");
    });
}

/// The same holds for a record that cannot be read: it may be there.
#[test]
fn a_record_that_cannot_be_read_is_an_error() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let record = folder(&container).join("state.json");
        let aside = container.folder.join("aside");
        fs::rename(&record, &aside).expect("rename");
        symlink(&aside, &record).expect("link");
        container.delete_force().fails_with("state.json");
        container.call(&["list"]).fails_with("state.json");
        fs::remove_file(&record).expect("rm");
        fs::create_dir(&record).expect("mkdir");
        container.delete_force().fails_with("state.json");
        fs::remove_dir(&record).expect("rmdir");
        fs::rename(&aside, &record).expect("rename");
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_root_that_cannot_be_looked_at_is_an_error() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let aside = container.folder.join("aside");
        fs::rename(container.state_folder(), &aside).expect("rename");
        // pillbox never makes a link in this place: what is behind it is unknown.
        symlink(&aside, container.state_folder()).expect("link");
        container.delete_force().fails_with("state folder");
        container.call(&["list"]).fails_with("state folder");
        container.call(&["state", &container.id]).fails_with("state folder");
        fs::remove_file(container.state_folder()).expect("rm");
        fs::rename(&aside, container.state_folder()).expect("rename");
        assert_eq!(container.status(), "running");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_damaged_record_is_no_unfinished_creation() {
    pillbox_only(|runtime| {
        let whole = {
            let container = Container::sleeping(runtime);
            container.create().ok();
            fs::read(folder(&container).join("state.json")).expect("state.json")
        };
        let head = String::from_utf8_lossy(&whole).find(",\"config\":{").expect("a configuration");
        let cuts = (0..head).step_by(29).map(|length| whole[..length].to_vec());
        let others = [vec![0; 100], b"{}".to_vec(), b"[]".to_vec(), vec![b' '; 70_000]];
        for text in cuts.chain(others) {
            let container = Container::sleeping(runtime);
            container.create_and_start();
            let pid = container.pid();
            fs::write(folder(&container).join("state.json"), &text).expect("state.json");
            container.call(&["state", &container.id]).fails_with(&container.id);
            container.delete().fails_with(&container.id);
            assert!(Path::new(&format!("/proc/{pid}")).exists());
            let deleted = container.delete_force();
            assert!(deleted.code == 0 && deleted.stderr.contains("hooks.poststop: not run"), "{deleted:?}");
            container.assert_gone();
        }
    });
}

/// Without a cgroup the journal tells which process init is. If nothing tells it, or only that of another process, nobody is killed.
#[test]
fn a_damaged_record_of_a_container_without_a_cgroup() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.write_spec();
        let mut create = container.command(&["--cgroup-manager", "disabled", "create", "--bundle"]);
        container.finish(create.arg(container.bundle()).arg(&container.id)).ok();
        let pid = container.pid();
        let (record, note) = (folder(&container).join("state.json"), folder(&container).join("process"));
        let whole = fs::read(&record).expect("state.json");
        let noted = fs::read_link(&note).expect("the entry");
        let is_there = || Path::new(&format!("/proc/{pid}")).exists();
        let change = |text: &str| {
            fs::remove_file(&note).expect("rm");
            symlink(text, &note).expect("symlink");
        };
        fs::write(&record, &whole[..whole.len().min(40)]).expect("state.json");
        container.call(&["state", &container.id]).fails_with(&container.id);
        change("nonsense");
        container.delete_force().fails_with("process: \"nonsense\" is no process");
        fs::remove_file(&note).expect("rm");
        container.delete_force().fails_with("is not known");
        assert!(is_there());
        symlink(&noted, &note).expect("symlink");
        assert_eq!(container.delete_force().code, 0);
        // Whoever is its parent by now has to collect it.
        wait_for("the process's end", || (!is_there()).then_some(()));
        container.assert_gone();
    });
}

/// The pid may be somebody else's by now: what else is noted tells.
#[test]
fn a_noted_process_is_no_other_one() {
    pillbox_only(|runtime| {
        let mut other = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let container = Container::sleeping(runtime);
        container.write_spec();
        let mut create = container.command(&["--cgroup-manager", "disabled", "create", "--bundle"]);
        container.finish(create.arg(container.bundle()).arg(&container.id)).ok();
        let pid = container.pid();
        let note = folder(&container).join("process");
        let noted = fs::read_link(&note).expect("the entry").display().to_string();
        let (_, rest) = noted.split_once(' ').expect("words");
        fs::remove_file(&note).expect("rm");
        symlink(format!("{} {rest}", other.id()), &note).expect("symlink");
        fs::write(folder(&container).join("state.json"), "{").expect("state.json");
        assert_eq!(container.delete_force().code, 0);
        assert!(other.try_wait().expect("sleep").is_none(), "somebody else's process was killed");
        other.kill().expect("kill");
        other.wait().expect("wait");
        let own = rustix::process::Pid::from_raw(pid as i32).expect("pid");
        rustix::process::kill_process(own, Signal::KILL).expect("kill");
        wait_for("its end", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
        container.assert_gone();
    });
}

#[test]
fn a_record_that_is_larger_than_any_is_read_by_nobody() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let record = folder(&container).join("state.json");
        fs::File::create(&record).and_then(|file| file.set_len(1 << 30)).expect("a large file");
        let begun = Instant::now();
        container.call(&["state", &container.id]).fails_with(&container.id);
        container.call(&["list"]).fails_with(&container.id);
        assert_eq!(container.delete_force().code, 0);
        assert!(begun.elapsed() < 2 * AT_ONCE, "{:?}", begun.elapsed());
        container.assert_gone();
    });
}

#[test]
fn a_log_with_a_relative_path_gets_what_list_says() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create().ok();
        fs::write(folder(&container).join("state.json"), "{").expect("state.json");
        let mut list = container.command(&["--log", "log", "list"]);
        container.finish(list.current_dir(&container.folder)).fails_with(&container.id);
        assert!(!container.state_folder().join("log").exists());
        assert!(fs::read_to_string(container.folder.join("log")).expect("log").contains(&container.id));
    });
}

#[test]
fn a_creation_without_descriptors_leaves_nothing() {
    pillbox_only(|runtime| {
        for detached in [true, false] {
            let mut container = Container::sh(runtime, "exit 0");
            let volume = container.folder.join("volume");
            fs::create_dir(&volume).expect("folder");
            container.mount("bind", &volume, "/volume", &["bind"]);
            let mut done = 0;
            for count in 3..=40 {
                let command = container.bundle_command(if detached { "create" } else { "run" }, &[]);
                let output = container.finish(&mut with_descriptors(count, &command));
                if output.code == 0 {
                    done += 1;
                    container.delete_force().ok();
                } else {
                    assert_eq!(output.error_lines().len(), 1, "{count}: {output:?}");
                }
                container.assert_gone();
            }
            assert!((1..38).contains(&done), "{done} of 38");
        }
    });
}

/// Two containers with the same cgroup: what is left of the one that has ended belongs to the other one by
/// now.
fn two_of_one_cgroup<'r>(runtime: &'r Runtime) -> [Container<'r>; 2] {
    let ended = Container::sh(runtime, "exit 0");
    ended.create_and_start();
    ended.wait_status("stopped");
    let mut other = Container::sleeping(runtime);
    other.spec["linux"]["cgroupsPath"] = ended.spec["linux"]["cgroupsPath"].clone();
    [ended, other]
}

/// `delete` of the first one, even if its root does not know the second.
#[test]
fn a_cgroup_that_another_container_has_taken_over_is_that_ones() {
    pillbox_only(|runtime| {
        // With the cgroup as it is, and with one that was made anew, by which containers of different roots
        // are distinguished.
        for (same_root, anew) in [(true, false), (true, true), (false, true)] {
            let [ended, other] = two_of_one_cgroup(runtime);
            if anew {
                fs::remove_dir(ended.cgroup()).expect("rmdir");
            }
            let root = if same_root { ended.state_folder() } else { other.state_folder() };
            let call = |verb: &[&str]| {
                let mut command = runtime.command();
                other.finish(command.arg("--root").arg(&root).args(verb))
            };
            other.write_spec();
            let bundle = other.bundle();
            call(&["create", "--bundle", bundle.to_str().expect("path"), &other.id]).ok();
            call(&["start", &other.id]).ok();
            ended.call(&["kill", "--all", &ended.id, "KILL"]).ok();
            assert_eq!(ended.call(&["ps", "--format", "json", &ended.id]).ok().stdout.trim(), "[]");
            ended.delete().ok();
            let state: Value = serde_json::from_str(&call(&["state", &other.id]).ok().stdout).expect("JSON");
            assert_eq!(state["status"], "running");
            call(&["delete", "--force", &other.id]).ok();
            ended.assert_gone();
            other.assert_gone();
        }
    });
}

/// Without a pid namespace only the cgroup leads to this process.
#[test]
fn what_was_executed_while_the_container_was_deleted_does_not_survive() {
    pillbox_only(|runtime| {
        for round in 0..25 {
            let mut container = Container::sleeping(runtime);
            container.without_namespace("pid");
            container.create_and_start();
            let mark = format!("{}-executed", container.id);
            let exec = ["exec", &container.id, "sh", "-c", "sleep 1000; :", &mark];
            let executed: Vec<_> = (0..3).map(|_| container.spawn(&mut container.command(&exec))).collect();
            std::thread::sleep(Duration::from_millis(round));
            container.delete_force().ok();
            executed.into_iter().for_each(|exec| assert_ne!(exec.finish().code, 0));
            container.assert_gone();
        }
    });
}

#[test]
fn of_start_and_delete_at_once_nothing_is_left() {
    each_runtime(|runtime| {
        for _ in 0..if runtime.is("pillbox") { 20 } else { 3 } {
            let container = Container::sleeping(runtime);
            container.create().ok();
            let start = container.spawn(&mut container.command(&["start", &container.id]));
            let kill = container.spawn(&mut container.command(&["kill", &container.id, "KILL"]));
            let delete = container.spawn(&mut container.command(&["delete", "--force", &container.id]));
            start.finish();
            kill.finish();
            delete.finish();
            container.delete_force();
            container.assert_gone();
        }
    });
}

/// The program has run: callers want its status.
#[test]
fn clean_up_that_fails_does_not_hide_the_programs_status() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "read line; exit 7");
        let mut run = container.run_in_background();
        wait_for("running", || {
            let state = container.call(&["state", &container.id]);
            state.stdout.contains("\"running\"").then_some(())
        });
        let stranger = folder(&container).join("stranger");
        fs::write(&stranger, "").expect("file");
        drop(run.stdin());
        let output = run.finish();
        assert_eq!(output.code, 7, "{output:?}");
        assert!(
            output.stderr.contains("clean up container") && output.error_lines().len() == 1,
            "{output:?}"
        );
        fs::remove_file(&stranger).expect("rm");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn a_destruction_that_fails_does_not_hide_why_there_is_one() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        let stranger = folder(&container).join("stranger");
        let script = format!("touch {}; exit 9", stranger.display());
        container.spec["hooks"]["poststart"] = hook(&container, &script);
        container.create().ok();
        let output = container.start().fails_with("poststart hook failed with exit code 9; remove ");
        assert_eq!(output.error_lines().len(), 1, "{output:?}");
        fs::remove_file(&stranger).expect("rm");
        container.delete_force().ok();
        container.assert_gone();
    });
}

/// Another command may be busy with the container for longer than it is waited for.
#[test]
fn no_program_runs_behind_a_failure_that_cannot_be_cleaned_up() {
    pillbox_only(|runtime| {
        let make = || {
            let mut container = Container::sleeping(runtime);
            let [begun, end] = ["begun", "end"].map(|name| container.folder.join(name).display().to_string());
            let script = format!("touch {begun}; while [ ! -e {end} ]; do sleep 0.02; done; exit 9");
            container.spec["hooks"]["poststart"] = hook(&container, &script);
            // Its processes are known by their numbers alone.
            container.spec["linux"]["resources"] = json!({});
            container
        };
        let [of_run, of_start] = [make(), make()];
        let without_cgroup = ["--cgroup-manager=disabled"];
        let command = |container: &Container, verb| {
            let mut command = container.command(&without_cgroup);
            container.write_spec();
            command.arg(verb);
            if verb != "start" {
                command.arg("--bundle").arg(container.bundle());
            }
            command.arg(&container.id);
            command
        };
        of_start.finish(&mut command(&of_start, "create")).ok();
        let calls = [(&of_run, "run"), (&of_start, "start")].map(|(container, verb)| {
            let call = container.spawn(&mut command(container, verb));
            wait_for("the hook", || container.folder.join("begun").exists().then_some(()));
            let pid = container.pid();
            let busy = fs::File::open(folder(container)).expect("open");
            rustix::fs::flock(&busy, rustix::fs::FlockOperation::LockExclusive).expect("lock");
            fs::write(container.folder.join("end"), "").expect("end");
            (container, call, pid, busy)
        });
        for (container, call, pid, busy) in calls {
            call.finish().fails_with("poststart hook failed with exit code 9");
            wait_for("the program's end", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
            drop(busy);
            container.delete_force().ok();
            container.assert_gone();
        }
    });
}
