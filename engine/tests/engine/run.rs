//! `box run --rm`: from a folder, a tar or a layout to a program's end.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Room, finish, wait_for};

#[test]
fn statuses_are_dockers() {
    let Some(room) = Room::new() else { return };
    room.run(&[], &["true"]).exits(0);
    room.run(&[], &["sh", "-c", "exit 7"]).exits(7);
    room.run(&[], &["sh", "-c", "kill -15 $$; sleep 1"]).exits(0);
    room.run(&[], &["nonesuch"]).fails(127, "nonesuch");
    room.run(&[], &["/etc/passwd"]).fails(126, "permission denied");
    room.call(&["run", "--rm", "--gpus", "all", "./rootfs"]).fails(125, "--gpus");
    room.call(&["run", "--rm", "./nonesuch", "true"]).fails(125, "./nonesuch");
    room.call(&["run", "--rm", "--pull", "never", "nonesuch", "true"])
        .fails(125, "nonesuch: there is no such image");
    room.run(&[], &[]).fails(125, "no command");
    room.call(&["run", "--rm", "-h", "x\n6.6.6.6 y", "./rootfs", "true"])
        .fails(125, r#"--hostname "x\n6.6.6.6 y""#);
    room.call(&["walk"]).fails(125, "walk");
    room.assert_gone();
}

#[test]
fn what_a_program_sees() {
    let Some(room) = Room::new() else { return };
    let flags = ["--hostname", "inside", "-e", "A=b c", "-w", "/tmp", "--add-host", "db:10.0.0.9"];
    let script = "hostname; echo $A; pwd; echo $PATH; echo $HOME; cat /etc/hosts; cat /etc/hostname";
    let said = room.run(&flags, &["sh", "-c", script]).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(&lines[..3], ["inside", "b c", "/tmp"]);
    assert_eq!(lines[3], "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    assert_eq!(lines[4], "/root");
    assert!(said.contains("10.0.0.9\tdb\n") && said.ends_with("inside\n"), "{said}");
    // Nothing of the host: its processes, its interfaces.
    let said = room.run(&[], &["sh", "-c", "ls -d /proc/[0-9]* | wc -l; ls /sys/class/net"]).ok();
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count <= 4)), "{said}");
    assert_eq!(lines.collect::<Vec<_>>(), ["lo"]);
    room.assert_gone();
}

#[test]
fn users_are_the_images() {
    let Some(room) = Room::new() else { return };
    let id = |user: &str| room.run(&["-u", user], &["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"]);
    assert_eq!(id("web").ok(), "33 34 34 50\n");
    assert_eq!(id("33:50").ok(), "33 50 50\n");
    assert_eq!(id("4242").ok(), "4242 0 0\n");
    id("nobody").fails(125, "--user nobody: the image's /etc/passwd has no user \"nobody\"");
    id("0:nosuch").fails(125, "--user 0:nosuch: the image's /etc/group has no group \"nosuch\"");
    id("4294967295").fails(125, "at most 4294967294");
    let said = room.run(&["-u", "web", "--group-add", "7"], &["id", "-G"]).ok();
    assert_eq!(said, "34 7 50\n");
}

#[test]
fn changes_stay_in_the_container() {
    let Some(room) = Room::new() else { return };
    room.run(&[], &["sh", "-c", "echo new >/new; echo changed >/etc/passwd; test -e /new"]).exits(0);
    assert!(!room.rootfs().join("new").exists());
    assert!(fs::read_to_string(room.rootfs().join("etc/passwd")).expect("passwd").starts_with("root:"));
    let said = room.run(
        &["--read-only", "--tmpfs", "/scratch:size=64k"],
        &["sh", "-c", "echo x >/new; echo y >/scratch/y && cat /scratch/y"],
    );
    assert_eq!(said.stdout, "y\n");
    assert!(said.stderr.contains("Read-only file system"), "{}", said.stderr);
    room.assert_gone();
}

#[test]
fn tars_are_unpacked_once() {
    let Some(room) = Room::new() else { return };
    for name in ["rootfs.tar", "rootfs.tar.gz"] {
        room.tar(name);
        for _ in 0..2 {
            let said = room.call(&["run", "--rm", "--network", "none", name, "cat", "/etc/passwd"]).ok();
            assert!(said.starts_with("root:x:0:0"), "{said}");
        }
    }
    // Both are the same tar, and the same layer.
    let layers = room.data().join("layers");
    let folders: Vec<_> =
        fs::read_dir(&layers).expect("layers").map(|entry| entry.expect("entry").path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let inode = |path: &std::path::Path| fs::metadata(path).expect("layer").ino();
    let before = inode(&folders[0]);
    // One that has changed is another image.
    fs::write(room.rootfs().join("etc/new"), "new").expect("file");
    room.tar("rootfs.tar");
    let said = room.call(&["run", "--rm", "--network", "none", "rootfs.tar", "cat", "/etc/new"]).ok();
    assert_eq!(said, "new");
    assert_eq!((fs::read_dir(&layers).expect("layers").count(), inode(&folders[0])), (2, before));
    // The store is nobody else's.
    for name in ["", "layers", "containers", "volumes"] {
        assert_eq!(
            fs::metadata(room.data().join(name)).expect("store").permissions().mode() & 0o77,
            0,
            "{name}"
        );
    }
    let others = room.folder.join("others");
    fs::create_dir(&others).expect("folder");
    std::os::unix::fs::chown(&others, Some(65_534), None).expect("chown");
    let refused = room.call(&["--data-root", "others", "ps"]);
    refused.fails(125, "it is another user's");
    room.assert_gone();
}

/// A file of 4 GiB with one byte in it is not larger on the disk than in the tar.
#[test]
fn holes_stay_holes() {
    let Some(room) = Room::new() else { return };
    let file = fs::File::create(room.rootfs().join("sparse")).expect("file");
    file.set_len(1 << 32).expect("length");
    file.write_all_at(b"x", (1 << 32) - 1).expect("write");
    let tar = room.folder.join("sparse.tar");
    let made = Command::new("tar").arg("-C").arg(room.rootfs()).arg("-Scf").arg(&tar).arg(".").status();
    assert!(made.expect("tar").success());
    let shown = ["run", "--rm", "--network", "none", "./sparse.tar", "stat", "-c", "%s %b", "/sparse"];
    let said = room.call(&shown).ok();
    let (size, blocks) = said.trim().split_once(' ').expect("two numbers");
    assert_eq!(size, (1u64 << 32).to_string());
    assert!(blocks.parse::<u64>().expect("a number") < 1000, "{said}");
    room.call(&["system", "prune", "-a", "-f"]).exits(0);
}

#[test]
fn what_is_no_tar_is_refused() {
    let Some(room) = Room::new() else { return };
    let tar = fs::read(room.tar("whole.tar")).expect("tar");
    let refused = |name: &str, content: &[u8], words: &str| {
        fs::write(room.folder.join(name), content).expect("file");
        room.call(&["run", "--rm", name, "true"]).fails(125, words);
    };
    refused("cut.tar", &tar[..tar.len() / 2], "the tar is cut: it ends");
    refused("text.tar", &b"no tar at all ".repeat(100), "text.tar: no tar");
    refused("wrong.tar.gz", b"\x1f\x8bnonsense", "wrong.tar.gz: ");
    let layers: Vec<_> = fs::read_dir(room.data().join("layers")).expect("layers").collect();
    assert!(layers.is_empty(), "{layers:?}");
}

#[test]
fn streams_are_the_callers() {
    let Some(room) = Room::new() else { return };
    let run = |flags: &[&str], script: &str| {
        let fixed: [&str; 4] = ["run", "--rm", "--network", "none"];
        room.command(&[&fixed, flags, &["./rootfs", "sh", "-c", script]].concat())
    };
    // Without -i there is nothing to read.
    let mut command = run(&[], "cat; echo end");
    let output = finish(command.stdin(Stdio::from(fs::File::open("/etc/passwd").expect("file"))));
    assert_eq!(output.ok(), "end\n");
    // With it, the end of stdin reaches the program.
    let mut child = run(&["-i"], "cat; echo end; echo wrong >&2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("box");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(b"to the program\n").expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("box");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "to the program\nend\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "wrong\n");
    room.assert_gone();
}

/// A terminal of script(1)'s.
fn in_terminal(room: &Room, arguments: &[&str]) -> String {
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"));
    let words: Vec<String> = room.command(arguments).get_args().map(quoted).collect();
    let script = format!("stty rows 33 cols 77; timeout {}; echo status $?", words.join(" "));
    let output = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .current_dir(&room.folder)
        .stdin(Stdio::piped())
        .output()
        .expect("script");
    // The end of script's own stdin shows as ^@ or ^D.
    String::from_utf8_lossy(&output.stdout).replace(['\r', '\u{8}'], "").replace("^@", "").replace("^D", "")
}

#[test]
fn terminals() {
    let Some(room) = Room::new() else { return };
    let script = "test -t 0 && test -t 1 && echo terminal; stty size; echo $TERM; exit 3";
    let said =
        in_terminal(&room, &["run", "--rm", "-it", "--network", "none", "./rootfs", "sh", "-c", script]);
    assert_eq!(said, "terminal\n33 77\nxterm\nstatus 3\n");
    let mut command = room.command(&["run", "--rm", "-it", "--network", "none", "./rootfs", "true"]);
    finish(&mut command).fails(125, "--tty: stdin is no terminal");
    room.assert_gone();
}

#[test]
fn signals_are_passed_on() {
    let Some(room) = Room::new() else { return };
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = room.command(&["run", "--rm", "--network", "none", "./rootfs", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("box");
    let mut stdout = child.stdout.take().expect("stdout");
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).expect("ready");
    // To timeout(1), which passes it on to box.
    let pid = Pid::from_raw(child.id() as i32).expect("pid");
    kill_process(pid, Signal::TERM).expect("kill");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("output");
    assert_eq!(rest, "got it\n");
    child.wait().expect("box");
    room.assert_gone();
}

#[test]
fn signals_stay_outside_where_that_is_asked_for() {
    let Some(room) = Room::new() else { return };
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let line =
        ["run", "--name", "own", "--sig-proxy=false", "--network", "none", "./rootfs", "sh", "-c", script];
    let mut child = room.command(&line).stdout(Stdio::piped()).spawn().expect("box");
    let mut stdout = child.stdout.take().expect("stdout");
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).expect("ready");
    kill_process(Pid::from_raw(child.id() as i32).expect("pid"), Signal::TERM).expect("kill");
    child.wait().expect("box");
    assert_eq!(room.call(&["inspect", "-f", "{{.State.Status}}", "own"]).ok(), "running\n");
    assert_eq!(room.call(&["logs", "own"]).ok(), "ready\n");
    room.call(&["rm", "-f", "own"]).ok();
    room.assert_gone();
}

/// The container of a box that is killed is put away by the next command.
#[test]
fn a_killed_box_leaves_nothing_for_long() {
    let Some(room) = Room::new() else { return };
    let word = format!("31415{}", std::process::id());
    let mut command = room.command(&["run", "--rm", "--network", "none", "./rootfs", "sleep", &word]);
    let mut child = command.spawn().expect("box");
    let is_running = || {
        crate::host::processes_naming(&word)
            .iter()
            .any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"))
    };
    wait_for("the container", is_running);
    for pid in crate::host::processes_naming(&word) {
        if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "box\n") {
            kill_process(Pid::from_raw(pid as i32).expect("pid"), Signal::KILL).expect("kill");
        }
    }
    child.wait().expect("timeout");
    assert!(is_running(), "nobody has ended it yet");
    room.run(&[], &["true"]).ok();
    assert!(!is_running());
    room.assert_gone();
}

#[test]
fn binds_are_the_hosts() {
    let Some(room) = Room::new() else { return };
    fs::create_dir(room.folder.join("shared")).expect("folder");
    fs::write(room.folder.join("shared/file"), "the host's").expect("file");
    assert_eq!(room.run(&["-v", "./shared:/mnt"], &["cat", "/mnt/file"]).ok(), "the host's");
    room.run(&["-v", "./shared:/mnt:ro"], &["touch", "/mnt/new"]).exits(1);
    let mount = format!("type=bind,source={}/shared,target=/mnt", room.folder.display());
    room.run(&["--mount", &mount], &["touch", "/mnt/new"]).ok();
    assert!(room.folder.join("shared/new").exists());
    room.run(&["-v", "./missing:/mnt"], &["true"])
        .fails(125, "missing is missing: --mkdir makes it a folder");
    assert!(!room.folder.join("missing").exists());
    room.call(&["explain", "--mkdir", "-v", "./missing:/mnt", "./rootfs", "true"]).ok();
    room.run(&["--mkdir", "-v", "./nowhere:/mnt", "-m", "nonsense"], &["true"]).exits(125);
    assert!(!room.folder.join("missing").exists() && !room.folder.join("nowhere").exists());
    room.run(&["--mkdir", "-v", "./missing/below:/mnt"], &["touch", "/mnt/new"]).ok();
    assert!(room.folder.join("missing/below/new").exists());
    room.run(&["--mkdir", "-v", "./shared/file:/file"], &["cat", "/file"]).ok();
    room.run(&["--mkdir", "-v", "./shared/file/below:/mnt"], &["true"]).fails(125, "--mkdir: ");
    room.run(&["-v", "a b:/mnt"], &["true"]).fails(125, "volume a b: must have");
    room.assert_gone();
}

/// Changes below what they are changes of are nothing for overlayfs.
#[test]
fn a_folder_with_the_store_in_it_is_refused() {
    let Some(room) = Room::new() else { return };
    for folder in ["/", ".", "./home/.local/share/pillbox"] {
        for verb in ["run", "create"] {
            room.call(&[verb, "--network", "none", folder, "true"]).fails(125, "give another --data-root");
        }
    }
    room.assert_gone();
}

#[test]
fn rights_are_dockers() {
    let Some(room) = Room::new() else { return };
    let status = |flags: &[&str], field: &str| {
        let said = room.run(flags, &["cat", "/proc/self/status"]).ok();
        crate::host::status_field(&said, field)
    };
    assert_eq!(status(&[], "CapEff"), "00000000a80425fb");
    assert_eq!(status(&["--cap-drop", "ALL", "--cap-add", "chown"], "CapEff"), "0000000000000001");
    assert_eq!(
        (status(&[], "Seccomp"), status(&["--security-opt", "seccomp=unconfined"], "Seccomp")),
        ("2".into(), "0".into())
    );
    // What is no profile is not taken for none.
    fs::write(room.folder.join("profile.json"), "null").expect("file");
    room.run(&["--security-opt", "seccomp=profile.json"], &["true"]).fails(125, "must be an object of JSON");
    assert_eq!(status(&["--security-opt", "no-new-privileges"], "NoNewPrivs"), "1");
    room.run(&[], &["mount", "-t", "tmpfs", "none", "/tmp"]).exits(1);
    room.run(&["--cap-add", "fly"], &["true"]).fails(125, "--cap-add FLY");
    // What tells of the host is hidden.
    assert_eq!(room.run(&[], &["cat", "/proc/timer_list"]).ok(), "");
    room.run(&[], &["sh", "-c", "echo 1 >/proc/sys/kernel/panic"]).exits(1);
}

/// Two containers with one name, and many at once.
#[test]
fn several_at_once() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    let start = |number: usize| {
        let name = format!("parallel-{number}");
        let mut command = room.command(&[
            "run",
            "--rm",
            "--name",
            &name,
            "--network",
            "none",
            "rootfs.tar",
            "sh",
            "-c",
            "echo $HOSTNAME; exit 9",
        ]);
        command.stdout(Stdio::null()).spawn().expect("box")
    };
    let children: Vec<_> = (0..8).map(start).collect();
    for mut child in children {
        assert_eq!(child.wait().expect("box").code(), Some(9));
    }
    assert_eq!(fs::read_dir(room.data().join("layers")).expect("layers").count(), 1);
    room.assert_gone();
}

#[test]
fn how_long_each_step_took() {
    let Some(room) = Room::new() else { return };
    let output = room.run(&["--timeline"], &["echo", "here"]).exits(0);
    assert_eq!(output.stdout, "here\n");
    for step in ["store", "image", "create", "prepare", "run", "cgroup::Make", "init::Clone", "remove"] {
        assert!(output.stderr.lines().any(|line| line.ends_with(step)), "{step}: {}", output.stderr);
    }
    room.run(&["--timeline=trace.json"], &["true"]).ok();
    let trace = fs::read_to_string(room.folder.join("trace.json")).expect("trace");
    let trace: serde_json::Value = serde_json::from_str(&trace).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let run = events.iter().find(|event| event["name"] == "run").expect("run");
    let clone = events.iter().find(|event| event["name"] == "init::Clone").expect("clone");
    assert!(clone["ts"].as_f64() > run["ts"].as_f64() && clone["dur"].as_f64() < run["dur"].as_f64());
    room.run(&["--timeline=none/trace.json"], &["true"]).fails(125, "--timeline=none/trace.json");
    room.assert_gone();
}
