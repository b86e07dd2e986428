//! What people see: messages that cannot be written, text that a terminal must not obey, statuses.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;

use crate::harness::{Room, finish, wait_for};
use crate::terminal::Screen;

/// A stderr that takes nothing.
fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

#[test]
fn messages_that_nobody_takes_end_nothing() {
    let Some(room) = Room::new() else { return };
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    drop(reader);
    for stderr in [OwnedFd::from(full()), writer] {
        let mut command = room.command(&["rm", "nonesuch"]);
        let status = command.stderr(stderr).status().expect("box");
        assert_eq!((status.code(), status.signal()), (Some(1), None));
    }
    // A warning and what is lost of the output.
    let mut command =
        room.command(&["run", "--rm", "--network", "none", "./rootfs", "sh", "-c", "echo x >&2; exit 3"]);
    assert_eq!(command.stderr(full()).status().expect("box").code(), Some(3));
    room.assert_gone();
}

#[test]
fn a_terminal_obeys_nothing_of_others() {
    let Some(room) = Room::new() else { return };
    let id = room.start(
        &["--name", "cc", "-l", "a=x\u{1b}[2J\nforged"],
        &["sh", "-c", "touch \"/tmp/$(printf 'a\\033\\nb')\"; sleep 1000"],
    );
    wait_for("the file", || room.call(&["diff", "cc"]).stdout.contains("/tmp/a"));
    let diff = room.call(&["diff", "cc"]).ok();
    assert!(diff.contains("A /tmp/a\\u001b\\nb\n"), "{diff}");
    room.call(&["rm", "x\u{1b}[31m\nbox: fine\u{202e}"]).fails(1, "x\\u001b[31m\\nbox: fine\\u202e");
    // What a program reads stays as it is; a terminal gets it shielded.
    let labels: &[&str] = &["ps", "--format", "{{.Labels}}"];
    assert_eq!(room.call(labels).ok(), "a=x\u{1b}[2J\nforged\n");
    let screen = Screen::open();
    let mut child = screen.start(&room, labels);
    screen.wait_for("a=x\\u001b[2J");
    assert!(child.wait().expect("box").success());
    let told = room.call(&["events", "--since", "1m", "--until", "0s"]).ok();
    assert!(
        told.lines().all(|line| line.contains(&id[..12])) && told.contains("a=x\\u001b[2J\\nforged"),
        "{told}"
    );
    room.call(&["rm", "-f", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn moments_have_dockers_form() {
    let Some(room) = Room::new() else { return };
    let tar = room.tar("base.tar");
    room.call(&["import", tar.to_str().expect("path"), "base:1"]).ok();
    room.call(&["create", "--network", "none", "base:1", "true"]).ok();
    for list in [&["ps", "-a"][..], &["images"]] {
        let shown = room.call(&[list, &["--format", "{{.CreatedAt}}"]].concat()).ok();
        // `2006-01-02 15:04:05 +0000 UTC`
        let words: Vec<usize> = shown.split_whitespace().map(str::len).collect();
        assert!(words == [10, 8, 5, 3] && shown.ends_with(" +0000 UTC\n"), "{shown}");
    }
    let id = room.call(&["ps", "-aq"]).ok();
    room.call(&["rm", id.trim()]).ok();
    room.assert_gone();
}

#[test]
fn tables_have_the_columns_that_are_wanted() {
    let Some(room) = Room::new() else { return };
    let tar = room.tar("rootfs.tar");
    room.call(&["import", &tar.display().to_string(), "one"]).ok();
    room.call(&[
        "create",
        "--name",
        "cc",
        "--network",
        "none",
        "-l",
        "com.docker.compose.project=web",
        "one",
        "true",
    ])
    .ok();
    room.call(&["volume", "create", "--label", "a=b", "data"]).ok();
    room.call(&["network", "create", "--label", "a=b", "backend"]).ok();
    let lines = |arguments: &[&str]| -> Vec<String> {
        let said = room.call(arguments).ok();
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let table = "table {{.Names}}\\t{{.Label \"com.docker.compose.project\"}}\\t{{.Networks}}";
    assert_eq!(lines(&["ps", "-a", "--format", table]), ["NAMES project NETWORKS", "cc web none"]);
    assert_eq!(lines(&["ps", "-l", "--format", "table {{upper .Names}}"]), ["NAMES", "CC"]);
    assert_eq!(
        lines(&["images", "--format", "table {{.Repository}}\\t{{.Tag}}"]),
        ["REPOSITORY TAG", "one latest"]
    );
    assert_eq!(
        lines(&["volume", "ls", "--format", "table {{.Name}}\\t{{.Labels}}"]),
        ["VOLUME NAME LABELS", "data a=b"]
    );
    assert_eq!(
        lines(&[
            "network",
            "ls",
            "--filter",
            "type=custom",
            "--format",
            "table {{.Name}}\\t{{.Label \"a\"}}"
        ]),
        ["NAME a", "backend b"]
    );
    assert_eq!(lines(&["history", "--format", "table {{.ID}}", "one"])[0], "IMAGE");
    assert_eq!(
        lines(&["system", "df", "--format", "table {{.Type}}\\t{{.TotalCount}}"])[1..3],
        ["Images 1", "Containers 1"]
    );
    assert_eq!(
        lines(&["stats", "--no-stream", "-a", "--format", "table {{.Name}}\\t{{.CPUPerc}}"]),
        ["NAME CPU %", "cc --"]
    );
    // An object a line, without what only templates see.
    let json = lines(&["ps", "-a", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&json[0]).expect("JSON");
    assert_eq!((&row["Labels"], row.get("Label")), (&"com.docker.compose.project=web".into(), None));
    let info: serde_json::Value =
        serde_json::from_str(&room.call(&["info", "-f", "json"]).ok()).expect("JSON");
    assert_eq!(info["Containers"], 1);
    assert_eq!(
        lines(&["version", "--format", "{{.Client.Os}} {{.Server.Version}}"]),
        [format!("linux {}", env!("CARGO_PKG_VERSION"))]
    );
    let event = room
        .call(&["events", "--since", "1m", "--until", "0s", "--filter", "event=create", "--format", "json"])
        .ok();
    let event: serde_json::Value = serde_json::from_str(event.lines().next().expect("event")).expect("JSON");
    assert_eq!(
        (&event["Type"], &event["status"], &event["from"]),
        (&"container".into(), &"create".into(), &"one".into())
    );
    room.call(&["ps", "--format", &"{{if .ID}}".repeat(10_000)]).fails(125, "nested deeper than 100 levels");
    room.call(&["rm", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn lists_are_filtered() {
    let Some(room) = Room::new() else { return };
    for (name, port) in [("first", "127.0.0.1:8080:80"), ("second", "53:53/udp")] {
        room.call(&["create", "--name", name, "-p", port, "./rootfs", "true"]).ok();
    }
    let names = |filter: &str| {
        let said = room.call(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]).ok();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("before=second"), "first");
    assert_eq!(names("since=first"), "second");
    assert_eq!(
        (names("publish=80"), names("publish=53/udp"), names("publish=53")),
        ("first".into(), "second".into(), String::new())
    );
    assert_eq!(names("expose=50-60/udp"), "second");
    room.call(&["ps", "--filter", "publish=x"]).fails(125, "--filter publish=x: must be as 80");
    room.call(&["ps", "-a", "--filter", "before=nonesuch"]).fails(1, "--filter before: No such container");
    assert_eq!(room.call(&["ps", "-aqn", "-1"]).ok().lines().count(), 2);
    assert_eq!(room.call(&["ps", "-ql"]).ok().lines().count(), 1);
    room.call(&["network", "create", "one"]).ok();
    let networks = |filter: &str| room.call(&["network", "ls", "-q", "--no-trunc", "--filter", filter]).ok();
    assert_eq!(networks("dangling=true").trim().len(), 64);
    assert_eq!(networks("driver=macvlan"), "");
    room.call(&["network", "ls", "--filter", "type=odd"])
        .fails(125, "--filter type=odd: must be one of custom, builtin");
    room.call(&["network", "rm", "-f", "nonesuch"]).ok();
    let size = room.call(&["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "first"]).ok();
    assert!(size.split_whitespace().all(|bytes| bytes.parse::<u64>().is_ok()), "{size}");
    room.call(&["rm", "first", "second"]).ok();
    room.assert_gone();
}

#[test]
fn flags_that_box_does_not_have_are_refused_with_a_reason() {
    let Some(room) = Room::new() else { return };
    for (command, words) in [
        (&["images", "--tree"][..], "images: --tree: what is kept of an image is for one platform"),
        (&["history", "--platform", "linux/arm64", "x"], "history: --platform linux/arm64: "),
        (&["push", "--all-tags", "x"], "push: --all-tags: one image is pushed at a time"),
        (&["logs", "--details", "x"], "logs: --details: nothing is kept with a line but its time"),
        (&["rm", "--link", "x"], "rm: --link: there are no links"),
        (&["volume", "create", "--scope", "x"], "volume create: --scope x: there are no clusters"),
        (&["volume", "ls", "--cluster"], "volume ls: --cluster: there are no clusters"),
    ] {
        room.call(command).fails(125, words);
    }
    room.call(&["images", "--tree=false"]).ok();
}

#[test]
fn logs_of_a_time() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "cc"], &["sh", "-c", "echo early; sleep 1.5; echo late"]);
    room.call(&["wait", "cc"]).ok();
    let all = room.call(&["logs", "-t", "cc"]).ok();
    let late = all
        .lines()
        .find(|line| line.ends_with("late"))
        .and_then(|line| line.split(' ').next())
        .expect("time");
    assert_eq!(room.call(&["logs", "--since", late, "cc"]).ok(), "late\n");
    assert_eq!(room.call(&["logs", "--since", "1h", "-n", "1", "cc"]).ok(), "late\n");
    let early = all.lines().next().and_then(|line| line.split(' ').next()).expect("time");
    assert_eq!(room.call(&["logs", "--until", early, "cc"]).ok(), "early\n");
    room.call(&["logs", "--since", "soon", "cc"]).fails(125, "--since soon: must be");
    // The same second, as the clocks of this place have it, and of one that is an hour ahead.
    let here = late[..19].to_string();
    let since = |zone: &str| {
        let mut command = room.command(&["logs", "-n", "1", "--since", &here, "cc"]);
        finish(command.env("TZ", zone)).ok()
    };
    assert_eq!(
        (since("UTC0"), since("AHEAD-1"), since("BEHIND1")),
        ("late\n".into(), "late\n".into(), "".into())
    );
    assert_eq!(room.call(&["logs", "--until", "2006-01-02", "cc"]).ok(), "");
    room.call(&["restart", "-s", "KILL", "--timeout", "5", "cc"]).ok();
    room.call(&["stop", "--time", "0", "cc"]).ok();
    room.call(&["rm", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn a_file_has_its_name_when_it_is_complete() {
    let Some(room) = Room::new() else { return };
    let tar = room.tar("rootfs.tar");
    room.call(&["import", &tar.display().to_string(), "one"]).ok();
    room.call(&["create", "--name", "cc", "--network", "none", "one", "true"]).ok();
    let small = room.folder.join("small");
    std::fs::create_dir(&small).expect("folder");
    let options = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &small, "tmpfs", options, Some(c"size=64k")).expect("tmpfs");
    std::fs::write(small.join("out.tar"), "before").expect("file");
    for command in [["export", "-o", "small/out.tar", "cc"], ["save", "-o", "small/out.tar", "one"]] {
        room.call(&command).fails(1, "--output small/out.tar: ");
        assert_eq!(std::fs::read(small.join("out.tar")).expect("file"), b"before");
        assert_eq!(std::fs::read_dir(&small).expect("folder").count(), 1, "nothing is left beside it");
        let [verb, flag, _, what] = command;
        room.call(&[verb, flag, "whole.tar", what]).ok();
        assert!(std::fs::metadata(room.folder.join("whole.tar")).expect("tar").len() > 100_000);
        // A link stays one; what is no file is written to as it is.
        let link = room.folder.join("link.tar");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink("whole.tar", &link).expect("link");
        room.call(&[verb, flag, "link.tar", what]).ok();
        assert!(std::fs::symlink_metadata(&link).expect("link").is_symlink());
        room.call(&[verb, flag, "/dev/null", what]).ok();
        room.call(&[verb, flag, "small", what]).fails(125, "it is a folder");
        room.call(&[verb, flag, "nowhere/out.tar", what]).fails(1, "--output nowhere/out.tar: no such file");
    }
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).expect("umount");
    room.call(&["rm", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn mounts_that_cannot_be_are_told_by_their_flag() {
    let Some(room) = Room::new() else { return };
    std::fs::write(room.folder.join("file"), "").expect("file");
    for (flag, value, words) in [
        ("-v", "/nowhere:/x", "--volume /nowhere:/x: /nowhere is missing: --mkdir makes it a folder"),
        ("-v", "data:x", "--volume data:x: the target must be an absolute path"),
        ("-v", "/tmp:/", "--volume /tmp:/: nothing can be mounted over the container's root"),
        ("-v", "/tmp:/x:rx", "--volume /tmp:/x:rx: rx: must be ro"),
        ("-v", "d:/x", "--volume d:/x: volume d: must have two characters"),
        ("-v", ":/x", "--volume :/x: a source is missing: must be a path or the name of a volume"),
        ("-v", "/tmp:/x:ro,rw", "--volume /tmp:/x:ro,rw: ro and rw: one of them"),
        ("-e", "=x", "--env =x: must be NAME or NAME=VALUE"),
        (
            "--mount",
            "type=bind,src=/nowhere,dst=/x",
            "--mount type=bind,src=/nowhere,dst=/x: /nowhere is missing",
        ),
        ("--mount", "type=bind,src=/tmp,dst=x", "--mount type=bind,src=/tmp,dst=x: the target must be"),
        ("--mount", "type=disk,dst=/x", "--mount type=disk,dst=/x: type=disk: must be bind, volume or tmpfs"),
        ("--tmpfs", "x:size=1m", "--tmpfs x:size=1m: the target must be an absolute path"),
    ] {
        room.call(&["run", "--rm", flag, value, "./rootfs", "true"]).fails(125, words);
    }
    let twice = ["run", "--rm", "-v", "/tmp:/x", "--tmpfs", "/x/", "./rootfs", "true"];
    room.call(&twice).fails(125, "--tmpfs /x/: /x/: something else is mounted there already");
    assert_eq!(room.call(&["volume", "ls", "-q"]).ok(), "");
    room.assert_gone();
}

#[test]
fn what_is_pruned_is_filtered_and_what_is_gone_is_passed_over() {
    let Some(room) = Room::new() else { return };
    let tar = room.tar("rootfs.tar");
    room.call(&[
        "import",
        "-c",
        "LABEL keep=yes",
        "-c",
        "CMD [\"echo\", \"imported\"]",
        &tar.display().to_string(),
        "base",
    ])
    .ok();
    assert_eq!(room.call(&["run", "--rm", "--network", "none", "base"]).ok(), "imported\n");
    for label in ["keep=yes", "keep=no"] {
        room.call(&["create", "--network", "none", "-l", label, "base", "true"]).ok();
        room.call(&["network", "create", "--label", label, &label.replace('=', "-")]).ok();
        room.call(&["volume", "create", "-d", "local", "--label", label, &label.replace('=', "-")]).ok();
    }
    let detail = room.call(&["system", "df", "-v"]).ok();
    assert!(
        detail.contains("SHARED SIZE") && detail.contains("base") && detail.contains("keep-yes"),
        "{detail}"
    );
    let kept = ["-f", "--filter", "label!=keep=yes"];
    let prune = |what: &str, flags: &[&str]| room.call(&[&[what, "prune"], &kept[..], flags].concat()).ok();
    assert_eq!(prune("container", &[]).lines().filter(|line| line.len() == 64).count(), 1);
    assert!(prune("network", &[]).contains("keep-no\n"));
    assert!(prune("volume", &["-a"]).contains("keep-no\n"));
    assert_eq!(room.call(&["network", "ls", "-q", "--filter", "type=custom"]).ok().lines().count(), 1);
    assert_eq!(room.call(&["volume", "ls", "-q"]).ok(), "keep-yes\n");
    room.call(&["image", "prune", "-af", "--filter", "until=1h"]).ok();
    assert_eq!(room.call(&["images", "-q"]).ok().lines().count(), 1);
    room.call(&["system", "prune", "-f", "--filter", "until=soon"]).fails(125, "until=soon: must be");
    room.call(&["volume", "create", "-d", "nfs", "x"]).fails(125, "--driver nfs: must be local");
    // Each of several removals and prunes of the same things succeeds.
    for round in 0..5 {
        let name = format!("both-{round}");
        room.call(&["create", "--name", &name, "--network", "none", "base", "true"]).ok();
        room.call(&["volume", "create", &name]).ok();
        room.call(&["network", "create", &name]).ok();
        let commands: [&[&str]; 8] = [
            &["container", "prune", "-f"],
            &["container", "prune", "-f"],
            &["volume", "prune", "-af"],
            &["volume", "prune", "-af"],
            &["network", "prune", "-f"],
            &["network", "prune", "-f"],
            &["system", "prune", "-f"],
            &["image", "prune", "-f"],
        ];
        std::thread::scope(|scope| {
            for command in commands {
                scope.spawn(|| room.call(command).exits(0));
            }
        });
    }
    room.assert_gone();
}
