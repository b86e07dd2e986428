//! Hardening that is always on: what init has while it waits, what the caller's state can do to a container,
//! and that a container killed halfway takes nothing of the host along.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, pillbox_only, skip, status_field, wait_for};

/// The targets of a process's descriptors.
fn descriptors(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").flatten();
    let mut targets: Vec<_> = links
        .filter_map(|link| Some(fs::read_link(link.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    targets.sort();
    targets
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("pid"), signal).expect("kill");
}

/// The trees that the runtime opened for init are attached, or no longer needed.
#[test]
fn init_waits_with_the_gate_and_stdio_alone() {
    let peers = [("crun", "holds /proc/self/fd and the fifo"), ("runc", "holds the fifo and its log")];
    each_runtime_but(&peers, |runtime| {
        let mut container = Container::sleeping(runtime);
        let file = container.folder.join("file");
        fs::write(&file, "").expect("file");
        for n in 0..20 {
            let folder = container.folder.clone();
            container.mount("none", folder, &format!("/bound/{n}"), &["rbind", "ro"]);
            container.mount("none", &file, &format!("/files/{n}"), &["bind"]);
        }
        // With the host's cgroup namespace a tree of the host's hierarchy is prepared, and not used.
        container.without_namespace("cgroup");
        container.spec["linux"]["maskedPaths"] = json!(["/proc/keys", "/sys/firmware", "/etc/passwd"]);
        container.create().ok();
        let open = descriptors(container.pid());
        let (sockets, others): (Vec<_>, Vec<_>) =
            open.iter().partition(|target| target.starts_with("socket:"));
        assert_eq!((sockets.len(), others.len()), (2, 3), "{open:?}");
        let stdio = |target: &str| target == "/dev/null" || target.contains("/output/std");
        assert!(others.iter().all(|target| stdio(target)), "{open:?}");
        container.start().ok();
        container.delete_force().ok();
    });
}

/// More mounts than the program may have descriptors: those that the runtime opened for init do not count.
#[test]
fn mounts_do_not_use_up_the_programs_descriptors() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "ls /bound | wc -l");
        for n in 0..60 {
            let folder = container.folder.clone();
            container.mount("none", folder, &format!("/bound/{n}"), &["bind", "ro"]);
        }
        container.spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 20}]);
        assert_eq!(container.run_ok(), "60\n");
        container.create_and_start().wait_for("60\n");
    });
}

/// The connection at the gate takes a descriptor; the program's limit is set after that.
#[test]
fn few_descriptors_are_the_programs_alone() {
    // crun and runc need some twenty themselves.
    pillbox_only(|runtime| {
        for limit in [0, 3, 4, 5, 16] {
            let mut container = Container::new(runtime);
            container.spec["process"]["rlimits"] =
                json!([{"type": "RLIMIT_NOFILE", "soft": limit, "hard": limit}]);
            container.spec["process"]["args"] = json!(["/bin/echo", "ran"]);
            assert_eq!(container.run_ok(), "ran\n", "{limit}");
            let created = container.create_and_start();
            created.wait_for("ran\n");
            container.wait_status("stopped");
            container.delete().ok();
            if limit >= 4 {
                container.spec["process"]["args"] = json!(["/bin/sh", "-c", "ulimit -n; ulimit -Hn"]);
                assert_eq!(container.run_ok(), format!("{limit}\n{limit}\n"));
            }
        }
        let mut container = Container::sleeping(runtime);
        container.spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 6, "hard": 40}]);
        container.create_and_start().wait_for("ready");
        let output = container.call(&["exec", &container.id, "sh", "-c", "ulimit -n; ulimit -Hn"]).ok();
        assert_eq!(output.stdout, "6\n40\n");
    });
}

/// Between the gate and execve(2) init is nobody's child: whether it got there is known from what it left
/// unread.
#[test]
fn start_does_not_take_a_killed_init_for_a_program() {
    let peers = [("crun", "takes it for one"), ("runc", "takes it for one, or waits for ever")];
    each_runtime_but(&peers, |runtime| {
        for _ in 0..5 {
            let container = Container::sh(runtime, "echo ran");
            let created = container.create().ok();
            let pid = container.pid();
            kill(pid, Signal::STOP);
            let start = container.spawn(&mut container.command(&["start", &container.id]));
            wait_for("start to wait for init", || {
                let starting = start.pid().as_raw_pid() as u32;
                let status = fs::read_to_string(format!("/proc/{starting}/status")).ok()?;
                let connected = descriptors(starting).iter().any(|target| target.starts_with("socket:"));
                (connected && status_field(&status, "State").starts_with('S')).then_some(())
            });
            kill(pid, Signal::KILL);
            start.finish().fails_with("before it executed the program");
            container.wait_status("stopped");
            assert_eq!(created.stdout_now(), "");
            container.delete().ok();
            container.assert_gone();
        }
    });
}

/// The same for processes that the runtime itself waits for, wherever they are when they are killed.
#[test]
fn an_exec_whose_process_is_killed_on_the_way_says_so() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        // In a paused container no process gets any further.
        container.call(&["pause", &container.id]).ok();
        let listed = || -> BTreeSet<u32> {
            let text = fs::read_to_string(container.cgroup().join("cgroup.procs")).expect("cgroup");
            text.lines().map(|pid| pid.parse().expect("pid")).collect()
        };
        let before = listed();
        let exec =
            container.spawn(&mut container.command(&["exec", "--ignore-paused", &container.id, "true"]));
        let newcomer = wait_for("one more process", || listed().difference(&before).next().copied());
        kill(newcomer, Signal::KILL);
        exec.finish().fails_with("it was killed by signal 9");
        container.call(&["resume", &container.id]).ok();
        assert_eq!(container.call(&["exec", &container.id, "echo", "ran"]).ok().stdout, "ran\n");
    });
}

/// At any moment: the command succeeds, or its error says that the container has ended.
#[test]
fn commands_while_the_container_is_killed() {
    pillbox_only(|runtime| {
        for round in 0..20 {
            for command in ["start", "mounts"] {
                let container = Container::sleeping(runtime);
                container.create().ok();
                let list = container.folder.join("mounts.json");
                let mounts = json!([{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]);
                fs::write(&list, mounts.to_string()).expect("list");
                let first = container.pid();
                let mut call = container.command(&[command]);
                if command == "mounts" {
                    call.arg("add").arg(&container.id).arg(list);
                } else {
                    call.arg(&container.id);
                }
                let running = container.spawn(&mut call);
                std::thread::sleep(Duration::from_micros(250 * round));
                kill(first, Signal::KILL);
                let ended = running.finish();
                if ended.code == 0 {
                    continue;
                }
                let ways = match command {
                    "start" => ["cannot start container", "init ended before it executed the program"],
                    _ => ["cannot change the mounts of container", "container not running"],
                };
                assert!(ways.iter().any(|way| ended.stderr.contains(way)), "{ended:?}");
            }
        }
    });
}

/// A busy command may wait for something that outlives the container's first process.
#[test]
fn delete_by_force_ends_what_is_left_before_it_waits() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "sleep 1000 & echo ready; exec sleep 1000");
        container.without_namespace("pid");
        container.create_and_start().wait_for("ready");
        // Locks the folder, as a busy command does.
        let folder = File::open(container.state_folder().join(&container.id)).expect("state folder");
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("lock");
        kill(container.pid(), Signal::KILL);
        container.wait_status("stopped");
        let left = || fs::read_to_string(container.cgroup().join("cgroup.procs")).expect("cgroup");
        assert_eq!(left().lines().count(), 1);
        let delete = container.spawn(&mut container.command(&["delete", "--force", &container.id]));
        wait_for("its end", || left().is_empty().then_some(()));
        drop(folder);
        delete.finish().ok();
        container.assert_gone();
    });
}

/// The caller's own mount at the root's place (an engine's image) is not the container's to unmount.
#[test]
fn delete_unmounts_only_what_create_mounted() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.without_namespace("mount");
        container.spec["mounts"] = json!([]);
        for member in ["maskedPaths", "readonlyPaths"] {
            container.spec["linux"].as_object_mut().expect("linux").remove(member);
        }
        let rootfs = container.rootfs();
        mount(&rootfs, &rootfs, "", MountFlags::BIND | MountFlags::REC, None).expect("bind");
        let mounts = || {
            let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
            let at = |line: &&str| line.split(' ').nth(4) == rootfs.to_str();
            text.lines().filter(at).map(String::from).collect::<Vec<_>>()
        };
        let before = mounts();
        assert_eq!(before.len(), 1);
        container.create_and_start();
        assert_eq!(mounts().len(), 2);
        container.delete_force().ok();
        assert_eq!(mounts(), before);

        // As left by a `create` that is killed before init has mounted anything.
        container.create().ok();
        let state = container.state_folder().join(&container.id);
        let note = fs::read_link(state.join("mounted")).expect("note");
        container.delete_force().ok();
        fs::create_dir(&state).expect("state folder");
        symlink(&note, state.join("mounted")).expect("note");
        container.delete_force().ok();
        assert_eq!(mounts(), before, "{note:?}");

        for n in 0..40 {
            let create = container.spawn(&mut container.bundle_command("create", &[]));
            std::thread::sleep(Duration::from_micros(500 * n));
            create.signal(Signal::KILL);
            create.finish();
            container.delete_force().ok();
            assert_eq!(mounts(), before);
        }
    });
}

/// Hidden from the first process, it would be all that processes of exec see, and without masks.
#[test]
fn a_mount_that_covers_the_root_is_refused() {
    each_runtime_but(&[("crun", "mounts it, and masks nothing in it")], |runtime| {
        for destination in ["/etc/..", "/link", "/dev/../link/"] {
            for kind in ["tmpfs", "bind"] {
                let mut container = Container::new(runtime);
                symlink("/", container.rootfs().join("link")).expect("symlink");
                let (source, options) =
                    (container.folder.clone(), if kind == "bind" { "bind" } else { "rw" });
                container.mount(kind, source, destination, &[options]);
                container.run().fails_with("root");
                container.assert_gone();
            }
        }
    });
}

#[test]
fn a_mount_at_the_root_is_the_root() {
    each_runtime_but(&[("runc", "refuses it")], |runtime| {
        let other = Container::new(runtime);
        fs::write(other.rootfs().join("other"), "other\n").expect("file");
        fs::write(other.rootfs().join("secret"), "secret\n").expect("file");
        let mut container = Container::sh(
            runtime,
            "cat /other /secret /../other; trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done",
        );
        fs::create_dir(container.rootfs().join("below")).expect("folder");
        // It is the first mount, so that the later ones come to lie in it.
        let source = other.rootfs().to_str().expect("path").to_string();
        let mount = json!({"destination": "/", "type": "bind", "source": source, "options": ["bind"]});
        container.spec["mounts"].as_array_mut().expect("mounts").insert(0, mount);
        container.spec["linux"]["maskedPaths"] = json!(["/secret"]);
        container.create_and_start().wait_for("other\nother\nready");
        let output = container.call(&[
            "exec",
            &container.id,
            "sh",
            "-c",
            "cat /other /secret; ls -d /below; cat /proc/1/comm",
        ]);
        assert_eq!(output.stdout, "other\nsh\n", "{output:?}");
        container.delete_force().ok();
        // crun copies: older versions copy the whole image.
        if runtime.is("pillbox") {
            let options = ["tmpcopyup"];
            container.spec["mounts"][0] =
                json!({"destination": "/", "type": "tmpfs", "source": "tmpfs", "options": options});
            container.run().fails_with("tmpcopyup");
            container.assert_gone();
        }
    });
}

/// With options that are too long for fsconfig(2), the flags go to the mount that was made, wherever its path
/// leads by then.
#[test]
fn a_mount_with_long_options_gets_its_flags() {
    each_runtime(|runtime| {
        let script =
            "grep ' /merged/here ' /proc/self/mountinfo; cat /merged/here/file; (: > /merged/here/x) 2>&1";
        let mut container = Container::sh(runtime, script);
        let layers: Vec<_> =
            (0..6).map(|n| container.folder.join(format!("{n}-{}", "x".repeat(60)))).collect();
        for layer in &layers {
            fs::create_dir(layer).expect("layer");
        }
        fs::write(layers[5].join("file"), "from below\n").expect("file");
        let list: Vec<_> = layers.iter().map(|layer| layer.to_str().expect("path")).collect();
        let option = format!("lowerdir={}", list.join(":"));
        assert!(option.len() > 400);
        container.mount("overlay", "overlay", "/merged/here", &[&option, "ro", "nodev", "nosuid"]);
        let output = container.run();
        for part in ["nodev", "nosuid", "from below\n", "Read-only file system"] {
            assert!(output.stdout.contains(part), "{part}: {output:?}");
        }
        assert!(output.stdout.contains(" ro,"), "{output:?}");
    });
}

/// No other process may look into init or write into it, whatever its rights: its files in /proc are root's.
#[test]
fn init_is_not_dumpable_until_it_is_the_program() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        let created = container.create().ok();
        let owner = || fs::metadata(format!("/proc/{}/environ", container.pid())).expect("process").uid();
        assert_eq!(owner(), 0);
        container.start().ok();
        created.wait_for("ready");
        assert_eq!(owner(), 1000);
        container.delete_force().ok();
    });
}

#[test]
fn stdio_that_is_closed_is_the_null_device() {
    each_runtime_but(&[("crun", "crashes"), ("runc", "hands down pipes of its own")], |runtime| {
        let script =
            "for n in 0 1 2 3; do readlink /proc/self/fd/$n >> /said 2>/dev/null || echo none >> /said; done";
        let container = Container::sh(runtime, script);
        let inner = container.bundle_command("run", &[]);
        let mut shell = Command::new("bash");
        shell.args(["-c", "exec \"$@\" <&- >&- 2>&-", "bash"]);
        let output = container.finish(shell.arg(inner.get_program()).args(inner.get_args()));
        assert_eq!(output.code, 0, "{output:?}");
        let said = fs::read_to_string(container.rootfs().join("said")).expect("said");
        let said: Vec<_> = said.lines().collect();
        // readlink's own stdout is the file; the descriptors themselves belong to nothing on the host.
        assert!(said[0] == "/dev/null" && said[2] == "/dev/null", "{said:?}");
        assert!(!said.iter().any(|target| target.contains("pillbox-test")), "{said:?}");
    });
}

/// With the caller's SECBIT_NOROOT a container's root would have no capabilities; with other bits too many.
#[test]
fn the_callers_securebits_are_not_the_containers() {
    each_runtime_but(&[("crun", "passes them on"), ("runc", "passes them on")], |runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
        let expected = status_field(&container.run_ok(), "CapEff");
        let inner = container.bundle_command("run", &[]);
        let mut setpriv = Command::new("setpriv");
        // The capabilities that pillbox needs for this bundle, which root then no longer has by itself.
        let needed = "+sys_admin,+setpcap,+setuid,+setgid,+mknod,+chown,+dac_override,+fowner,+net_admin,+sys_chroot,+kill,\
                      +audit_write,+net_bind_service";
        setpriv.arg(format!("--inh-caps={needed}")).arg(format!("--ambient-caps={needed}"));
        setpriv.arg("--securebits=+noroot,+no_setuid_fixup");
        let status = container.finish(setpriv.arg(inner.get_program()).args(inner.get_args())).ok().stdout;
        assert_eq!(status_field(&status, "CapEff"), expected);
        assert_eq!(status_field(&status, "CapAmb"), "0000000000000000");
        // Locked bits stay, which has to be reported.
        let inner = container.bundle_command("run", &[]);
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--securebits=+no_setuid_fixup,+no_setuid_fixup_locked"]);
        container.finish(setpriv.arg(inner.get_program()).args(inner.get_args())).fails_with("securebits");
        container.assert_gone();
    });
}

#[test]
fn a_container_has_a_session_keyring_of_its_own() {
    if !fs::exists("/proc/keys").expect("/proc") {
        return skip("this kernel has no keyrings");
    }
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /proc/keys");
        container.spec["linux"]["maskedPaths"] = json!([]);
        let keys = container.run_ok();
        assert!(keys.contains(&container.id), "{keys}");
    });
}
