//! An ordinary user without any privileges: `spec --rootless`, and everything that follows from it.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{
    Container, Output, Runtime, Terminal, copy_program, pillbox_only, read_slowly, skip, start_writing_to,
    wait_for,
};

const USER: u32 = 65534;

/// A bundle that belongs to [`USER`], with the output of `spec --rootless` for that user.
fn rootless(runtime: &Runtime) -> Container<'_> {
    let mut container = Container::new(runtime);
    for path in [&container.folder, &container.bundle(), &container.rootfs(), &container.state_folder()] {
        chown(path, Some(USER), Some(USER)).expect("chown");
    }
    for entry in fs::read_dir(container.rootfs()).expect("rootfs").flatten() {
        chown(entry.path(), Some(USER), Some(USER)).expect("chown");
    }
    let mut spec = as_user(&container, &["spec", "--rootless"]);
    container.finish(spec.current_dir(container.bundle())).ok();
    let written = fs::read(container.bundle().join("config.json")).expect("config.json");
    container.spec = serde_json::from_slice(&written).expect("JSON");
    container.spec["process"]["terminal"] = json!(false);
    container.spec["root"]["readonly"] = json!(false);
    container
}

/// The runtime as [`USER`], with a copy of its program that the user can read.
fn as_user(container: &Container, arguments: &[&str]) -> Command {
    let program = container.folder.join("runtime");
    if !program.exists() {
        copy_program(&container.runtime.path, &program);
    }
    let mut command = Command::new("setpriv");
    let user = USER.to_string();
    command.args([
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    command.arg(program).arg("--root").arg(container.state_folder()).args(arguments);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("XDG_RUNTIME_DIR", &container.folder);
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn call(container: &Container, arguments: &[&str]) -> Output {
    container.finish(&mut as_user(container, arguments))
}

#[track_caller]
fn run(container: &Container) -> Output {
    container.write_spec();
    let bundle = container.bundle();
    call(container, &["run", "--bundle", bundle.to_str().expect("path"), &container.id])
}

#[test]
fn spec_rootless_maps_the_caller() {
    pillbox_only(|runtime| {
        let container = rootless(runtime);
        let linux = &container.spec["linux"];
        assert_eq!(linux["uidMappings"], json!([{"containerID": 0, "hostID": USER, "size": 1}]));
        assert_eq!(linux["gidMappings"], json!([{"containerID": 0, "hostID": USER, "size": 1}]));
        let kinds: Vec<_> =
            linux["namespaces"].as_array().expect("namespaces").iter().map(|ns| &ns["type"]).collect();
        assert!(kinds.contains(&&json!("user")), "{kinds:?}");
    });
}

#[test]
fn a_user_runs_a_container() {
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        let script = "id -u; cat /proc/self/uid_map; touch /tmp/file; echo > /dev/null && echo null; exit 3";
        container.spec["process"]["args"] = json!(["sh", "-c", script]);
        let output = run(&container);
        assert_eq!((output.code, output.stderr.as_str()), (3, ""), "{output:?}");
        let words: Vec<_> = output.stdout.split_whitespace().collect();
        assert_eq!(words, ["0", "0", &USER.to_string(), "1", "null"]);
        let made = fs::metadata(container.rootfs().join("tmp/file")).expect("file");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), USER);
        container.assert_gone();
    });
}

/// setgroups(2) is denied there, as it is if a user maps only the own id, and no configuration says so.
#[test]
fn a_user_joins_the_user_namespace_of_another_container() {
    pillbox_only(|runtime| {
        let mut first = rootless(runtime);
        first.spec["process"]["args"] = json!(["sleep", "1000"]);
        first.write_spec();
        call(&first, &["run", "--detach", "--bundle", first.bundle().to_str().expect("path"), &first.id])
            .ok();
        let state = call(&first, &["state", &first.id]).ok().stdout;
        let pid = &serde_json::from_str::<serde_json::Value>(&state).expect("state")["pid"];
        let mut second = rootless(runtime);
        for kind in ["user", "pid"] {
            second.with_namespace(kind, Some(&format!("/proc/{pid}/ns/{kind}")));
        }
        for field in ["uidMappings", "gidMappings"] {
            second.spec["linux"].as_object_mut().expect("linux").remove(field);
        }
        second.spec["process"]["args"] = json!(["sh", "-c", "id -u; cat /proc/1/comm"]);
        let output = run(&second).ok();
        assert_eq!(output.stdout, "0\nsleep\n");
        second.spec["process"]["user"]["additionalGids"] = json!([0]);
        run(&second).fails_with("process.user.additionalGids");
        second.assert_gone();
        call(&first, &["delete", "--force", &first.id]).ok();
    });
}

#[test]
fn a_user_creates_starts_kills_deletes() {
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        container.spec["process"]["args"] = json!(["sleep", "1000"]);
        container.write_spec();
        let bundle = container.bundle();
        call(&container, &["create", "--bundle", bundle.to_str().expect("path"), &container.id]).ok();
        call(&container, &["start", &container.id]).ok();
        assert!(call(&container, &["state", &container.id]).ok().stdout.contains("\"running\""));
        call(&container, &["exec", &container.id, "true"]).ok();
        call(&container, &["kill", &container.id, "KILL"]).ok();
        call(&container, &["delete", "--force", &container.id]).ok();
        container.assert_gone();
    });
}

#[test]
fn the_default_root_of_a_user_is_in_xdg_runtime_dir() {
    pillbox_only(|runtime| {
        let container = rootless(runtime);
        container.write_spec();
        let bundle = container.bundle();
        let own = as_user(&container, &["create", "--bundle", bundle.to_str().expect("path"), &container.id]);
        // The same call without --root STATE.
        let arguments: Vec<_> =
            own.get_args().filter(|word| *word != "--root" && *word != container.state_folder()).collect();
        let mut command = Command::new(own.get_program());
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("XDG_RUNTIME_DIR", &container.folder);
        container.finish(command.stdin(Stdio::null())).ok();
        let folder = container.folder.join("pillbox");
        assert!(folder.join(&container.id).is_dir());
        // Another --root after the first: the last one counts.
        let root = folder.to_str().expect("path");
        call(&container, &["--root", root, "delete", "--force", &container.id]).ok();
    });
}

#[test]
fn a_host_id_that_is_not_the_users_is_refused() {
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        container.spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        let output = run(&container);
        assert!(output.code == 1 && output.error_lines().len() == 1, "{output:?}");
        assert!(output.stderr.contains("uid"), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn a_users_tmpfs_copies_up_what_belongs_to_nobody() {
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        container.spec["process"]["args"] = json!(["stat", "-c", "%n %a %u", "/seed/own", "/seed/setuid"]);
        let seed = container.rootfs().join("seed");
        fs::create_dir(&seed).expect("folder");
        chown(&seed, Some(USER), Some(USER)).expect("chown");
        for (name, mode, owner) in [("own", 0o4755, USER), ("setuid", 0o4755, 1234)] {
            fs::write(seed.join(name), "").expect("file");
            chown(seed.join(name), Some(owner), Some(owner)).expect("chown");
            fs::set_permissions(seed.join(name), fs::Permissions::from_mode(mode)).expect("chmod");
        }
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup", "mode=755"]);
        // A user without a number here becomes root, but the user's program does not run as root.
        assert_eq!(run(&container).ok().stdout, "/seed/own 4755 0\n/seed/setuid 755 0\n");
    });
}

/// In a user namespace the kernel lets no process undo flags of mounts from outside. A flag that is named is
/// an error, as in runc; one that is only inherited stays.
#[test]
fn a_flag_that_is_locked_is_not_undone_silently() {
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        container.spec["process"]["args"] =
            json!(["sh", "-c", "grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f6"]);
        let source = container.folder.join("source");
        fs::create_dir(&source).expect("folder");
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("tmpfs", &source, "tmpfs", flags, None).expect("tmpfs");
        let before = container.spec.clone();
        for options in [&["rbind", "rw"][..], &["rbind", "dev"], &["rbind", "ro", "rw"]] {
            container.spec = before.clone();
            container.mount("bind", &source, "/mnt", options);
            assert_eq!(run(&container).ok().stdout, "rw,nosuid,noexec,relatime\n", "{options:?}");
        }
        container.spec = before;
        container.mount("bind", &source, "/mnt", &["rbind", "exec"]);
        run(&container)
            .fails_with("set mount options: not permitted: what another user namespace has mounted");
    });
}

#[test]
fn what_only_root_can_give_is_refused_by_name() {
    pillbox_only(|runtime| {
        let mut mapped = rootless(runtime);
        let source = mapped.folder.clone();
        mapped.mount("none", source, "/mapped", &["bind", "idmap"]);
        run(&mapped).fails_with("\"idmap\": mapping a mount's owners needs CAP_SYS_ADMIN");
        mapped.assert_gone();
        let mut moved = rootless(runtime);
        let namespaces = moved.spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        if !namespaces.iter().any(|namespace| namespace["type"] == "network") {
            namespaces.push(json!({"type": "network"}));
        }
        moved.spec["linux"]["netDevices"] = json!({"lo": {}});
        run(&moved).fails_with("linux.netDevices: only a privileged runtime");
        moved.assert_gone();
    });
}

/// newuidmap(1) and newgidmap(1) write what the administrator has granted. They are set-user-ID, so the user
/// keeps the bounding set; the grants are in files of this case's own.
#[test]
fn a_user_adds_and_removes_mounts() {
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        container.spec["process"]["args"] = json!(["sleep", "1000"]);
        container.write_spec();
        let (bundle, id) = (container.bundle(), container.id.clone());
        call(&container, &["run", "--detach", "--bundle", bundle.to_str().expect("path"), &id]).ok();
        let list = container.folder.join("list");
        let change = |verb: &str, text: serde_json::Value| {
            fs::write(&list, text.to_string()).expect("list");
            call(&container, &["mounts", verb, &id, list.to_str().expect("path")])
        };
        let tmpfs = json!([{"destination": "/data", "type": "tmpfs", "options": ["size=64k"]}]);
        change("add", tmpfs.clone()).ok();
        let mounted =
            || call(&container, &["exec", &id, "grep", "-c", " /data ", "/proc/self/mountinfo"]).stdout;
        assert_eq!(mounted(), "1\n");
        change("remove", tmpfs).ok();
        assert_eq!(mounted(), "0\n");
        let bind = json!([{"destination": "/data", "type": "bind", "source": "/etc", "options": ["bind"]}]);
        change("add", bind).fails_with("a bind mount into a container that runs needs CAP_SYS_ADMIN");
        call(&container, &["delete", "--force", &id]).ok();
        container.assert_gone();
    });
}

#[test]
fn ranges_are_mapped_by_the_helpers() {
    if Command::new("newuidmap").output().is_err() {
        return skip("newuidmap(1) is not installed (package uidmap)");
    }
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        let maps = json!([
            {"containerID": 0, "hostID": USER, "size": 1},
            {"containerID": 1, "hostID": 100_000, "size": 65_536}
        ]);
        container.spec["linux"]["uidMappings"] = maps.clone();
        container.spec["linux"]["gidMappings"] = maps;
        container.spec["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9]});
        let program = "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; id -G";
        container.spec["process"]["args"] = json!(["/bin/sh", "-c", program]);
        container.write_spec();
        let granted = container.folder.join("granted");
        fs::write(&granted, format!("{USER}:100000:65536\n")).expect("granted ranges");
        let run =
            as_user(&container, &["run", "--bundle", &container.bundle().to_string_lossy(), &container.id]);
        let words: Vec<_> = run.get_args().filter(|word| *word != "--bounding-set=-all").collect();
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c"]);
        command
            .arg("mount --bind \"$0\" /etc/subuid && mount --bind \"$0\" /etc/subgid && exec setpriv \"$@\"");
        command.arg(&granted).args(words).stdin(Stdio::null());
        let output = container.finish(&mut command).ok();
        let words: Vec<_> = output.stdout.split_whitespace().collect();
        let map = ["0", &USER.to_string(), "1", "1", "100000", "65536"].map(str::to_string);
        assert_eq!(words, [&map[..], &map[..], &["7", "8", "8", "9"].map(str::to_string)].concat());
        container.assert_gone();
    });
}

/// A process that joins a user namespace is not dumpable from then on, and its files in /proc are root's.
#[test]
fn the_oom_score_of_a_user_who_joins_a_user_namespace() {
    pillbox_only(|runtime| {
        let mut first = rootless(runtime);
        first.spec["process"]["args"] = json!(["sleep", "1000"]);
        first.spec["process"]["oomScoreAdj"] = json!(345);
        first.write_spec();
        let bundle = first.bundle();
        call(&first, &["run", "--detach", "--bundle", bundle.to_str().expect("path"), &first.id]).ok();
        let state = call(&first, &["state", &first.id]).ok().stdout;
        let state: serde_json::Value = serde_json::from_str(&state).expect("state");
        let mut second = rootless(runtime);
        second.with_namespace("user", Some(&format!("/proc/{}/ns/user", state["pid"])));
        let cat = ["cat", "/proc/self/oom_score_adj"];
        second.spec["process"]["oomScoreAdj"] = json!(345);
        second.spec["process"]["args"] = json!(cat);
        for _ in 0..10 {
            assert_eq!(run(&second).ok().stdout, "345\n");
            assert_eq!(call(&first, &["exec", &first.id, cat[0], cat[1]]).ok().stdout, "345\n");
        }
        call(&first, &["delete", "--force", &first.id]).ok();
    });
}

/// After su(1), and with a pipe of root's, the user may not open the streams.
#[test]
fn a_terminal_works_where_the_users_streams_belong_to_another() {
    pillbox_only(|runtime| {
        const SCRIPT: &str = "trap 'touch /got' TERM; touch /begun; seq 20000 & wait; wait; exit 3";
        let expected: String = (1..=20000).map(|number| format!("{number}\n")).collect();
        for (streams, stalls) in [("pipe", true), ("own terminal", true), ("terminal", false)] {
            let mut container = rootless(runtime);
            container.spec["process"]["terminal"] = json!(true);
            container.spec["process"]["args"] = json!(["sh", "-c", SCRIPT]);
            container.write_spec();
            let bundle = container.bundle();
            let arguments = ["run", "--bundle", bundle.to_str().expect("path"), &container.id];
            let mut command = as_user(&container, &arguments);
            let output = container.folder.join("output");
            let terminal = Terminal::open();
            let (run, reader) = match streams {
                "pipe" => {
                    let (reader, writer) = std::io::pipe().expect("pipe");
                    let run = start_writing_to(&mut command, writer, &output);
                    // Closes the write end with the command.
                    command.stdout(Stdio::null());
                    (run, File::from(std::os::fd::OwnedFd::from(reader)))
                }
                "own terminal" => (terminal.spawn(&container, &command), terminal.screen()),
                _ => {
                    command.stdin(terminal.slave());
                    let run = start_writing_to(&mut command, terminal.slave(), &output);
                    command.stdin(Stdio::null()).stdout(Stdio::null());
                    (run, terminal.screen())
                }
            };
            wait_for("the program", || container.rootfs().join("begun").exists().then_some(()));
            if stalls {
                std::thread::sleep(Duration::from_millis(200));
                run.signal(Signal::TERM);
                wait_for("TERM", || container.rootfs().join("got").exists().then_some(()));
            }
            drop(terminal);
            let screen = read_slowly(reader, Duration::from_millis(1));
            assert_eq!(run.finish().code, 3, "{streams}");
            assert!(screen.join().expect("screen") == expected, "{streams}: something is missing");
        }
    });
}

/// They join an init over which only its user has rights.
#[test]
fn hooks_in_a_users_container() {
    pillbox_only(|runtime| {
        let mut container = rootless(runtime);
        let script = "cat > /dev/null; readlink /proc/self/ns/user >> $LOG";
        let log = container.rootfs().join("tmp/log");
        let hook = |shell: &str, log: &str| {
            json!([{"path": shell, "args": ["sh", "-c", script],
                "env": ["PATH=/bin:/usr/bin", format!("LOG={log}")]}])
        };
        container.spec["hooks"]["createContainer"] = hook("/bin/sh", log.to_str().expect("path"));
        container.spec["hooks"]["startContainer"] = hook("/bin/sh", "/tmp/log");
        container.spec["process"]["args"] = json!(["readlink", "/proc/self/ns/user"]);
        let output = run(&container);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
        assert_eq!(fs::read_to_string(&log).expect("log"), output.stdout.repeat(2));
        let bundle = container.bundle();
        let bundle = bundle.to_str().expect("path");
        let created = call(&container, &["create", "--bundle", bundle, &container.id]).ok();
        // As hooks do it, before the program runs.
        call(&container, &["exec", &container.id, "true"]).ok();
        call(&container, &["start", &container.id]).ok();
        created.wait_for("user:");
        assert_eq!(fs::read_to_string(&log).expect("log").lines().count(), 4);
        call(&container, &["delete", "--force", &container.id]).ok();
        container.assert_gone();
    });
}
