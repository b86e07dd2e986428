//! Files of containers, and what is known of them: cp, export, diff, commit, inspect, top, rename. As root and as an ordinary user.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::harness::{Room, finish, wait_for};
use crate::rootless::{USER, WITHOUT_RANGES, room as room_of};

/// A room of root's, of a user with ranges of ids, and of one without.
fn rooms() -> Vec<Room> {
    let rooms = [Room::new(), room_of(USER), room_of(WITHOUT_RANGES)];
    let rooms: Vec<Room> = rooms.into_iter().flatten().collect();
    rooms.iter().for_each(Room::give_rootfs);
    rooms
}

fn write(room: &Room, name: &str, text: &str) {
    let path = room.folder.join(name);
    fs::write(&path, text).expect("file");
    std::os::unix::fs::chown(&path, Some(room.user()), Some(room.user())).expect("chown");
}

/// Whoever has no ranges of ids is told so each time.
fn start(room: &Room, flags: &[&str], command: &[&str]) -> String {
    let fixed: [&str; 4] = ["run", "-d", "--network", "none"];
    room.call(&[&fixed, flags, &["./rootfs"], command].concat()).exits(0).stdout.trim().to_string()
}

fn read(room: &Room, name: &str) -> String {
    fs::read_to_string(room.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn copying_follows_dockers_rules() {
    for room in rooms() {
        // Once into one that was never started, once into one that runs, once into one that has ended.
        room.call(&["create", "--name", "cc", "--network", "none", "./rootfs", "sleep", "1000"]).exits(0);
        for round in ["created", "running", "exited"] {
            match round {
                "running" => drop(room.call(&["start", "cc"]).ok()),
                "exited" => drop(room.call(&["stop", "-t", "0", "cc"]).ok()),
                _ => {}
            }
            write(&room, "file", round);
            let cp = |from: &str, to: &str| room.call(&["cp", from, to]);
            // A file: into a folder, under another name, over a file.
            cp("file", "cc:/tmp").ok();
            cp("cc:/tmp/file", "back").ok();
            assert_eq!(read(&room, "back"), round);
            cp("file", "cc:/tmp/other").ok();
            cp("cc:tmp/other", "back").ok();
            assert_eq!(read(&room, "back"), round);
            cp("file", "cc:/nonesuch/").fails(1, "/nonesuch/: ");
            cp("file", "cc:/nonesuch/file").fails(1, "its folder is missing");
            cp("cc:/nonesuch", "back").fails(1, "there is no such file in the container");
            cp("missing", "cc:/tmp").fails(1, "missing: ");
            // A folder: new, into one that is there, its content alone.
            fs::create_dir_all(room.folder.join("tree/below")).expect("folder");
            write(&room, "tree/below/leaf", "green");
            cp("tree", &format!("cc:/tmp/new-{round}")).ok();
            cp("tree", "cc:/tmp").ok();
            cp("tree/.", "cc:/tmp").ok();
            for place in [
                format!("cc:/tmp/new-{round}/below/leaf"),
                "cc:/tmp/tree/below/leaf".into(),
                "cc:/tmp/below/leaf".into(),
            ] {
                cp(&place, "back").ok();
                assert_eq!(read(&room, "back"), "green", "{place}");
            }
            cp("tree", "cc:/tmp/file").fails(1, "a folder cannot be copied onto a file");
            cp("cc:/tmp/tree", "back").fails(1, "a folder cannot be copied onto a file");
            cp("cc:/tmp/tree", &format!("copied-{round}")).ok();
            assert_eq!(read(&room, &format!("copied-{round}/below/leaf")), "green");
            cp("cc:/tmp/tree/.", &format!("copied-{round}")).ok();
            cp("cc:/x", "cc:/y").fails(1, "from container to container");
            cp("x", "y").fails(1, "one of them must be CONTAINER:PATH");
        }
        room.call(&["rm", "cc"]).ok();
        room.assert_gone();
    }
}

#[test]
fn copying_stays_in_the_container() {
    for room in rooms() {
        write(&room, "secret", "the host's");
        start(&room, &["--name", "cc"], &["sleep", "1000"]);
        let secret = room.folder.join("secret");
        let lead = format!(
            "ln -s {} /tmp/link; ln -s /tmp /out; ln -s ../../../../../../etc/passwd /tmp/up",
            secret.display()
        );
        room.call(&["exec", "cc", "sh", "-c", &lead]).ok();
        for _ in ["running", "exited"] {
            // A link is a link, unless it is to be followed: then it leads to what is there in the container.
            room.call(&["cp", "cc:/tmp/link", "as-link"]).ok();
            assert_eq!(fs::read_link(room.folder.join("as-link")).expect("link"), secret);
            fs::remove_file(room.folder.join("as-link")).expect("remove");
            room.call(&["cp", "-L", "cc:/tmp/link", "followed"]).fails(1, "no such file in the container");
            room.call(&["cp", "-L", "cc:/tmp/up", "followed"]).ok();
            assert_eq!(
                read(&room, "followed"),
                fs::read_to_string(room.rootfs().join("etc/passwd")).expect("passwd")
            );
            room.call(&["cp", "secret", "cc:/out"]).ok();
            room.call(&["cp", "cc:/tmp/secret", "back"]).ok();
            assert_eq!(read(&room, "back"), "the host's");
            room.call(&["stop", "-t", "0", "cc"]).ok();
        }
        // Nothing follows a link out of the folder that is copied to.
        fs::create_dir(room.folder.join("target")).expect("folder");
        symlink("/etc", room.folder.join("target/etc")).expect("link");
        room.call(&["cp", "cc:/etc", "target"]).fails(1, "something that is no folder is there already");
        room.call(&["rm", "cc"]).ok();
        room.assert_gone();
    }
}

#[test]
fn owners_and_rights_of_copies() {
    for room in rooms() {
        write(&room, "file", "x");
        fs::set_permissions(room.folder.join("file"), fs::Permissions::from_mode(0o4711)).expect("chmod");
        start(&room, &["--name", "cc"], &["sleep", "1000"]);
        let stat = |path: &str| room.call(&["exec", "cc", "stat", "-c", "%u:%g %a", path]).ok();
        // Whose it was on the host means nothing in the container, and its rights are not those of root there.
        room.call(&["cp", "file", "cc:/tmp/plain"]).ok();
        assert_eq!(stat("/tmp/plain"), "0:0 711\n");
        room.call(&["exec", "cc", "chmod", "4711", "/bin/busybox"]).exits(0);
        room.call(&["cp", "cc:/bin/busybox", "program"]).ok();
        let status = fs::metadata(room.folder.join("program")).expect("program");
        assert_eq!((status.mode() & 0o7777, status.uid()), (0o711, room.user()));
        if room.user() == 0 {
            room.call(&["cp", "-a", "file", "cc:/tmp/kept"]).ok();
            assert_eq!(stat("/tmp/kept"), "0:0 4711\n");
        }
        room.call(&["rm", "-f", "cc"]).ok();
    }
}

#[test]
fn tars_come_and_go() {
    for room in rooms() {
        start(&room, &["--name", "cc"], &["sleep", "1000"]);
        room.call(&["exec", "cc", "sh", "-c", "mkdir /tmp/d; echo 1 >/tmp/d/one; ln /tmp/d/one /tmp/d/two"])
            .ok();
        let tar = room.command(&["cp", "cc:/tmp/d", "-"]).output().expect("box").stdout;
        write(&room, "d.tar", "");
        fs::write(room.folder.join("d.tar"), &tar).expect("file");
        let listed = Command::new("tar").arg("-tf").arg(room.folder.join("d.tar")).output().expect("tar");
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "d/\nd/one\nd/two\n");
        room.call(&["exec", "cc", "mkdir", "/tmp/into"]).ok();
        let mut command = room.command(&["cp", "-", "cc:/tmp/into"]);
        finish(command.stdin(Stdio::from(fs::File::open(room.folder.join("d.tar")).expect("tar")))).ok();
        let said =
            room.call(&["exec", "cc", "sh", "-c", "cat /tmp/into/d/two; stat -c %h /tmp/into/d/one"]).ok();
        assert_eq!(said, "1\n2\n");
        let mut command = room.command(&["cp", "-", "cc:/nonesuch"]);
        finish(command.stdin(Stdio::null())).fails(1, "a folder is needed for a tar");
        // No tar at all.
        let mut child = room
            .command(&["cp", "-", "cc:/tmp"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("box");
        child.stdin.take().expect("stdin").write_all(&[7; 2048]).expect("write");
        let output = child.wait_with_output().expect("box");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no tar"), "{output:?}");
        room.call(&["rm", "-f", "cc"]).ok();
        room.assert_gone();
    }
}

#[test]
fn exports_are_whole() {
    for room in rooms() {
        start(&room, &["--name", "cc"], &["sleep", "1000"]);
        room.call(&["exec", "cc", "sh", "-c", "echo new >/tmp/new; rm /bin/yes"]).ok();
        for round in ["running", "exited"] {
            room.call(&["export", "-o", "all.tar", "cc"]).ok();
            let listed =
                Command::new("tar").arg("-tf").arg(room.folder.join("all.tar")).output().expect("tar");
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            let names: Vec<&str> = listed.lines().collect();
            assert!(
                names.contains(&"tmp/new") && names.contains(&"bin/busybox") && names.contains(&"proc/"),
                "{listed}"
            );
            assert!(!names.contains(&"bin/yes") && !listed.contains("proc/1"), "{round}: {listed}");
            // What comes out goes in.
            assert_eq!(
                room.call(&["run", "--rm", "--network", "none", "all.tar", "cat", "/tmp/new"]).stdout,
                "new\n"
            );
            room.call(&["stop", "-t", "0", "cc"]).ok();
        }
        let changed = room.call(&["diff", "cc"]).ok();
        let lines: Vec<&str> = changed.lines().collect();
        for line in ["C /tmp", "A /tmp/new", "C /bin", "D /bin/yes"] {
            assert!(lines.contains(&line), "{changed}");
        }
        assert!(!lines.contains(&"D /bin/cat"));
        room.call(&["commit", "cc", "mine"]).fails(125, "only layers of images go into an image");
        room.call(&["rm", "cc"]).ok();
        room.assert_gone();
    }
}

#[test]
fn commits_are_images() {
    for room in rooms() {
        room.tar("rootfs.tar");
        let script =
            "echo new >/tmp/new; rm /bin/yes; rm -r /etc; mkdir /etc; echo fresh >/etc/passwd; sleep 1000";
        room.call(&["run", "-d", "--name", "cc", "--network", "none", "rootfs.tar", "sh", "-c", script])
            .exits(0);
        wait_for("the changes", || room.call(&["exec", "cc", "cat", "/etc/passwd"]).stdout == "fresh\n");
        let change = [
            "--change",
            "CMD [\"cat\", \"/tmp/new\"]",
            "--change",
            "ENV WORD=said",
            "-m",
            "why",
            "-a",
            "who",
        ];
        let id = room.call(&[&["commit"], &change[..], &["cc", "mine"]].concat()).ok();
        assert!(id.starts_with("sha256:"), "{id}");
        assert_eq!(room.state("cc"), "running");
        assert_eq!(room.call(&["run", "--rm", "--network", "none", "mine"]).stdout, "new\n");
        let script = "echo $WORD; ls /etc; ls /bin/yes";
        let said = room.call(&["run", "--rm", "--network", "none", "mine", "sh", "-c", script]);
        assert!(
            said.stdout.starts_with("said\n")
                && said.stdout.contains("passwd")
                && !said.stdout.contains("group"),
            "{said:?}"
        );
        assert!(said.stderr.contains("/bin/yes"), "{said:?}");
        room.call(&["commit", "--change", "FROM x", "cc", "other"])
            .fails(125, "--change FROM x: must be CMD");
        room.call(&["rm", "-f", "cc"]).ok();
        room.assert_gone();
    }
}

#[test]
fn everything_known_is_shown() {
    for room in rooms() {
        let id = start(
            &room,
            &["--name", "cc", "-e", "A=1", "-l", "kind=test", "-v", "./rootfs:/mnt:ro"],
            &["sleep", "1000"],
        );
        let field = |field: &str| room.call(&["inspect", "-f", &format!("{{{{{field}}}}}"), "cc"]).ok();
        assert_eq!(field(".Id"), format!("{id}\n"));
        assert_eq!(field(".Name"), "/cc\n");
        assert_eq!((field(".State.Status"), field(".State.Running")), ("running\n".into(), "true\n".into()));
        assert_eq!(field("json .Config.Cmd"), "[\"sleep\",\"1000\"]\n");
        assert_eq!(field(".Config.Labels.kind"), "test\n");
        assert!(field("json .Mounts").contains("\"RW\":false"));
        let pid: i32 = field(".State.Pid").trim().parse().expect("a pid");
        let shown = room.call(&["top", "cc"]).ok();
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!((lines[1][1], &lines[1][7..]), (&*pid.to_string(), &["sleep", "1000"][..]));
        assert_eq!(lines.len(), 2, "{shown}");
        let shown = room.call(&["top", "cc", "-eo", "pid,comm"]).ok();
        assert_eq!(
            shown.split_whitespace().collect::<Vec<_>>(),
            ["PID", "COMMAND", &pid.to_string(), "sleep"]
        );
        room.call(&["top", "cc", "-eo", "comm"]).fails(1, "ps -eo comm: it shows no column PID");
        room.call(&["rename", "cc", "renamed"]).ok();
        assert_eq!((room.state("cc"), room.state("renamed")), (String::new(), "running".into()));
        start(&room, &["--name", "cc"], &["sleep", "1000"]);
        room.call(&["rename", "renamed", "cc"]).fails(1, "has this name");
        room.call(&["rename", "renamed", "-"]).fails(1, "--name -");
        let both = room.call(&["inspect", "cc", "nonesuch", "renamed"]).exits(1);
        assert!(both.stdout.starts_with("[\n") && both.stderr.contains("No such object: nonesuch"));
        room.call(&["stop", "-t", "0", "cc"]).ok();
        assert_eq!(
            room.call(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "cc"]).ok(),
            "exited 137\n"
        );
        room.call(&["top", "cc"]).fails(1, "it is not running");
        assert_eq!(room.call(&["port", "renamed"]).ok(), "");
        room.call(&["port", "renamed", "80"]).fails(1, "80/tcp");
        room.call(&["rm", "-f", "cc", "renamed"]).ok();
        room.assert_gone();
    }
}

#[test]
fn what_is_committed_goes_to_others() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["import", "rootfs.tar", "base"]).exits(0);
    room.call(&[
        "run",
        "--name",
        "cc",
        "--network",
        "none",
        "base",
        "sh",
        "-c",
        "echo new >/tmp/new; rm /bin/yes",
    ])
    .ok();
    room.call(&["commit", "cc", "mine:2"]).ok();
    assert!(room.call(&["history", "mine:2"]).ok().contains("sh -c echo new"));
    let layers = room.call(&["inspect", "-f", "{{len .RootFS.Layers}}", "mine:2"]).ok();
    assert_eq!(layers, "2\n");
    room.call(&["save", "-o", "mine.saved", "mine:2"]).ok();
    room.call(&["rm", "cc"]).ok();
    room.call(&["image", "prune", "-a", "-f"]).ok();
    room.call(&["load", "-i", "mine.saved"]).ok();
    let said =
        room.call(&["run", "--rm", "--network", "none", "mine:2", "sh", "-c", "cat /tmp/new; ls /bin/yes"]);
    assert!(said.stdout == "new\n" && said.stderr.contains("/bin/yes"), "{said:?}");
    room.assert_gone();
}

/// Somebody lets the processes go on that commit has stopped, and somebody ends them.
#[test]
fn an_image_is_made_whatever_others_do_meanwhile() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["import", "rootfs.tar", "base"]).exits(0);
    for (meanwhile, name) in [(&["unpause", "cc"][..], "made:1"), (&["kill", "cc"], "made:2")] {
        let script = "dd if=/dev/zero of=/large bs=1M count=24 2>/dev/null; echo ready; exec sleep 1000";
        let run = ["run", "-d", "--name", "cc", "--network", "none", "base", "sh", "-c", script];
        room.call(&run).ok();
        wait_for("the file", || room.call(&["logs", "cc"]).stdout == "ready\n");
        let mut commit = room.command(&["commit", "cc", name]);
        let commit = commit.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("box");
        wait_for("the pause", || room.state("cc") == "paused");
        room.call(meanwhile).ok();
        let made = commit.wait_with_output().expect("box");
        assert!(made.status.success(), "{meanwhile:?}: {}", String::from_utf8_lossy(&made.stderr));
        room.call(&["run", "--rm", "--network", "none", name, "stat", "/large"]).exits(0);
        room.call(&["rm", "-f", "cc"]).ok();
    }
    room.assert_gone();
}

/// What is mounted below a read-only source is read-only as well, also when the container does not run.
#[test]
fn read_only_with_what_is_below() {
    let Some(room) = Room::new() else { return };
    let below = room.folder.join("shared/below");
    fs::create_dir_all(&below).expect("folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&below).status();
    assert!(mounted.expect("mount").success());
    fs::write(room.folder.join("file"), "new").expect("file");
    room.call(&["create", "--name", "cc", "--network", "none", "-v", "./shared:/mnt:ro", "./rootfs", "true"])
        .ok();
    for place in ["cc:/mnt/file", "cc:/mnt/below/file"] {
        let said = room.call(&["cp", "file", place]).exits(1);
        assert!(said.stderr.contains("read-only file system"), "{}", said.stderr);
    }
    assert!(!below.join("file").exists());
    let unmounted = Command::new("umount").arg(&below).status();
    assert!(unmounted.expect("umount").success());
    room.call(&["rm", "cc"]).ok();
    room.assert_gone();
}
