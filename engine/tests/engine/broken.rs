//! Records that cannot be read: they are found and mended or put aside, and keep no other command from its work.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use rustix::fs::FileType;
use serde_json::json;

use crate::boxd::Boxd;
use crate::harness::{Room, wait_for};
use crate::networks::users_room;

/// An image, a volume, a network and a container of each kind of trouble.
fn break_records(room: &Room) -> Vec<&'static str> {
    let data = room.data();
    let write = |path: &str, content: &str| fs::write(data.join(path), content).expect("file");
    write("images/empty", "");
    write("images/rubbish", "{\"name\": 1");
    fs::create_dir(data.join("images/folder")).expect("folder");
    write("volumes/torn/volume.json", "{\"name\": \"to");
    fs::remove_file(data.join("volumes/bare/volume.json")).expect("remove");
    fs::remove_file(data.join("volumes/odd/volume.json")).expect("remove");
    fs::create_dir(data.join("volumes/odd/volume.json")).expect("folder");
    write("volumes/plain", "");
    chown(data.join("volumes/theirs/volume.json"), Some(12345), Some(12345)).expect("chown");
    write("networks/backend.json", "");
    fs::remove_file(data.join("networks/frontend.json")).expect("remove");
    fs::create_dir(data.join("networks/frontend.json")).expect("folder");
    write("names/file", "");
    let broken =
        |name: &str| data.join("containers").join(room.call(&["inspect", "-f", "{{.Id}}", name]).ok().trim());
    fs::write(broken("one").join("container.json"), "rubbish").expect("record");
    fs::create_dir(broken("two").join("progress.json")).expect("folder");
    fs::write(broken("three").join("container.json"), "").expect("record");
    vec![
        "image empty: ",
        "image rubbish: ",
        "image folder: ",
        "volume torn: ",
        "volume bare: ",
        "volume odd: ",
        "volume plain: ",
        "volume theirs: ",
        "network backend: ",
        "network frontend: ",
        "name file of a container: ",
    ]
}

fn make(room: &Room) {
    let tar = room.tar("rootfs.tar");
    for name in ["kept", "other"] {
        room.call(&["import", &tar.display().to_string(), name]).ok();
    }
    for name in ["torn", "bare", "odd", "theirs", "whole"] {
        room.call(&["volume", "create", name]).ok();
    }
    for name in ["backend", "frontend", "used"] {
        room.call(&["network", "create", name]).ok();
    }
    for name in ["one", "two", "three", "four"] {
        room.call(&["create", "--name", name, "--network", "none", "kept", "true"]).ok();
    }
    fs::write(room.data().join("volumes/torn/_data/content"), "precious").expect("content");
}

#[test]
fn records_that_cannot_be_read() {
    let Some(room) = Room::new() else { return };
    make(&room);
    let faults = break_records(&room);
    // Others are not kept from their work.
    for command in [
        &["run", "--rm", "--network", "none", "kept", "true"][..],
        &["run", "-d", "--rm", "--network", "none", "-v", "new:/new", "kept", "true"],
        &["ps", "-a"],
        &["images"],
        &["volume", "ls"],
        &["network", "ls"],
        &["volume", "create", "another"],
        &["volume", "rm", "another"],
        &["network", "create", "another"],
        &["network", "rm", "another"],
        &["inspect", "four", "kept", "whole", "used"],
        &["start", "-a", "four"],
        &["tag", "other", "again"],
        &["rmi", "again", "other"],
        &["system", "df"],
        &["info"],
        &["image", "prune", "-f"],
    ] {
        room.call(command).exits(0);
    }
    let listed = room.call(&["volume", "ls"]).exits(0);
    assert!(
        listed.stdout.contains("whole") && listed.stderr.contains("warning: volume torn: "),
        "{listed:?}"
    );
    room.call(&["volume", "inspect", "torn"]).fails(1, "box system check --repair");
    // What the broken names lead to, nobody knows: nothing that they may have is deleted.
    assert!(fs::read_dir(room.data().join("layers")).expect("layers").count() > 0);
    let found = room.call(&["system", "check"]).exits(1).stdout;
    for fault in &faults {
        assert_eq!(found.matches(fault).count(), 1, "{fault}\n{found}");
    }
    assert_eq!(found.matches("\ncontainer ").count(), 3, "{found}");
    assert!(found.contains("it belongs to the user 12345"), "{found}");
    let repaired = room.call(&["system", "check", "--repair"]).exits(0).stdout;
    assert_eq!(repaired.lines().count(), found.lines().count(), "{repaired}");
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    // Data is never lost with its record.
    for name in ["torn", "bare", "odd", "theirs"] {
        room.call(&["volume", "inspect", name]).ok();
    }
    let said =
        room.call(&["run", "--rm", "--network", "none", "-v", "torn:/data", "kept", "cat", "/data/content"]);
    assert_eq!(said.ok(), "precious");
    let aside = |folder: &str| {
        let names = fs::read_dir(room.data().join(folder)).expect("folder").flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().starts_with(".broken-")).count()
    };
    assert_eq!((aside("images"), aside("networks"), aside("containers"), aside("names")), (3, 2, 3, 1));
    assert_eq!(room.call(&["ps", "-aq"]).ok().lines().count(), 1);
    room.call(&["create", "--name", "one", "--network", "none", "kept", "true"]).ok();
    room.call(&["network", "create", "backend"]).ok();
    room.call(&["rm", "one", "four"]).ok();
    for entry in fs::read_dir(room.data().join("containers")).expect("folder").flatten() {
        fs::remove_dir_all(entry.path()).expect("remove");
    }
    room.assert_gone();
}

#[test]
fn a_store_that_is_whole_says_nothing() {
    let Some(room) = Room::new() else { return };
    make(&room);
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    assert_eq!(room.call(&["network", "ls", "-q"]).ok().lines().count(), 6);
    assert!(Path::new(&room.data()).join("events/now").is_file());
    room.call(&["rm", "one", "two", "three", "four"]).ok();
    room.assert_gone();
}

/// A removal that is killed, or the power, may take a container's name before the container.
#[test]
fn a_container_whose_name_leads_nowhere() {
    let Some(room) = Room::new() else { return };
    room.give_rootfs();
    let create = || room.call(&["create", "--name", "lost", "./rootfs", "true"]).ok().trim().to_string();
    let id = create();
    fs::remove_file(room.data().join("names/lost")).expect("name");
    assert_eq!(room.call(&["inspect", "-f", "{{.Id}}", "lost"]).ok().trim(), id);
    // Whoever has the name is meant by it.
    let other = create();
    assert_eq!(room.call(&["inspect", "-f", "{{.Id}}", "lost"]).ok().trim(), other);
    room.call(&["rm", "lost"]).ok();
    assert_eq!(room.call(&["ps", "-aq", "--no-trunc"]).ok().trim(), id);
    room.call(&["rm", "lost"]).ok();
    room.call(&["rm", "lost"]).fails(1, "No such container: lost");
    room.assert_gone();
}

/// A store of an earlier version has none of its own, and a full disk takes none.
#[test]
fn a_store_whose_mountpoints_cannot_be_made() {
    let Some(room) = Room::new() else { return };
    make(&room);
    let mountpoints = room.data().join("mountpoints");
    fs::remove_dir_all(&mountpoints).expect("remove");
    fs::write(&mountpoints, "").expect("file");
    assert_eq!(room.call(&["ps", "-aq"]).ok().lines().count(), 4);
    room.call(&["images"]).ok();
    room.call(&["rm", "one"]).ok();
    room.call(&["system", "prune", "-f"]).ok();
    room.call(&["rmi", "kept"]).ok();
    let run = ["run", "--rm", "--network", "none", "other", "cat", "/etc/hostname"];
    room.call(&run).fails(125, "/mountpoints");
    fs::remove_file(&mountpoints).expect("remove");
    room.call(&run).ok();
    room.assert_gone();
}

/// A name's link is short enough for a link of ext4 that takes no block of the disk; those that were made before have the id's digits.
#[test]
fn names_of_both_forms() {
    let Some(room) = Room::new() else { return };
    room.give_rootfs();
    let create = |name: &str| {
        let made = room.call(&["create", "--name", name, "--network", "none", "./rootfs", "true"]).ok();
        made.trim().to_string()
    };
    let (old, new) = (create("old"), create("new"));
    let link = |name: &str| room.data().join("names").join(name);
    assert!(fs::read_link(link("new")).expect("link").as_os_str().len() < 60);
    fs::remove_file(link("old")).expect("name");
    symlink(&old, link("old")).expect("link");
    for (name, id) in [("old", &old), ("new", &new)] {
        assert_eq!(room.call(&["inspect", "-f", "{{.Id}}", name]).ok().trim(), id);
        let taken = room.call(&["create", "--name", name, "--network", "none", "./rootfs", "true"]);
        taken.fails(1, &format!("--name {name}: container {} has this name", &id[..12]));
    }
    room.call(&["rename", "old", "other"]).ok();
    assert!(!link("old").is_symlink());
    room.call(&["rm", "other", "new"]).ok();
    assert_eq!(fs::read_dir(room.data().join("names")).expect("names").count(), 0);
    room.assert_gone();
}

/// Nor is what is no link at all a name.
#[test]
fn a_name_that_is_no_link() {
    let Some(room) = Room::new() else { return };
    room.call(&["create", "--name", "one", "--network", "none", "./rootfs", "true"]).ok();
    let path = room.data().join("names/odd");
    fs::write(&path, "").expect("name");
    let words = format!("{}: must be a link: box system check --repair", path.display());
    room.call(&["inspect", "odd"]).fails(1, &words);
    room.call(&["create", "--name", "odd", "--network", "none", "./rootfs", "true"]).fails(1, &words);
    room.call(&["system", "check", "--repair"]).exits(0);
    room.call(&["create", "--name", "odd", "--network", "none", "./rootfs", "true"]).ok();
    room.call(&["rm", "one", "odd"]).ok();
    room.assert_gone();
}

/// A torn record is no reason to say that a container is gone, and none to keep it.
#[test]
fn a_container_whose_record_is_torn() {
    let Some(room) = Room::new() else { return };
    for text in ["", "{\"id\":", "[]"] {
        let create = ["create", "--name", "torn", "--network", "none", "./rootfs", "true"];
        let id = room.call(&create).ok().trim().to_string();
        fs::write(room.data().join("containers").join(&id).join("container.json"), text).expect("record");
        let words = format!("container {}: its record cannot be read: box system check --repair", &id[..12]);
        for reference in ["torn", &id, &id[..8]] {
            room.call(&["rm", reference]).fails(1, &words);
            room.call(&["start", reference]).fails(1, &words);
            room.call(&["rename", reference, "other"]).fails(1, &words);
        }
        room.call(&["rm", "-f", if text.is_empty() { "torn" } else { &id }]).ok();
        assert_eq!(fs::read_dir(room.data().join("names")).expect("names").count(), 0);
        room.call(&create).ok();
        room.call(&["rm", "torn"]).ok();
    }
    room.assert_gone();
}

fn make_node(path: &Path, kind: FileType) {
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), 0).expect("a node");
}

/// What the runtime has recorded of one that runs: whether it does is not known any more, and it is told at once.
#[test]
fn a_container_whose_state_is_damaged() {
    let Some(room) = Room::new() else { return };
    fs::create_dir(room.folder.join("empty")).expect("a folder");
    let boxd = Boxd::start(&room, "d");
    let damage: [&dyn Fn(&Path); 6] = [
        &|state| fs::write(state, "").expect("a file"),
        &|state| fs::write(state, "rubbish").expect("a file"),
        &|state| make_node(state, FileType::Fifo),
        &|state| fs::create_dir(state).expect("a folder"),
        &|state| symlink("elsewhere", state).expect("a link"),
        &|state| make_node(state, FileType::Socket),
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let id = room.start(&["--name", "torn"], &["sleep", "1000"]);
        let id = id.trim();
        let pid: i32 =
            room.call(&["inspect", "--format", "{{.State.Pid}}", "torn"]).ok().trim().parse().expect("pid");
        let state = room.folder.join("runtime/pillbox").join(id).join("state.json");
        let aside = room.folder.join("aside");
        fs::rename(&state, &aside).expect("its state");
        damage(&state);
        if number % 2 == 1 {
            // Nobody has it in his hands any more.
            let monitor = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
            let parent = monitor.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
            let parent = rustix::process::Pid::from_raw(parent.trim().parse().expect("pid")).expect("pid");
            rustix::process::kill_process(parent, rustix::process::Signal::KILL).expect("kill");
        }
        let remedy =
            if number < 3 { format!("box rm --force {}", &id[..12]) } else { "put that back".to_string() };
        let words = [&*state.display().to_string(), &remedy];
        let began = std::time::Instant::now();
        let calls: [&[&str]; 8] = [
            &["ps", "-a"],
            &["stats", "--no-stream"],
            &["stop", "torn"],
            &["kill", "torn"],
            &["exec", "torn", "true"],
            &["cp", "torn:/bin", "empty"],
            &["rm", "torn"],
            &["inspect", "torn"],
        ];
        for call in calls {
            let said = room.call(call);
            let is_told = said.stderr.lines().all(|line| words.iter().all(|word| line.contains(word)));
            assert!(is_told && said.stderr.lines().count() == 1, "{call:?}: {}", said.stderr);
        }
        if number >= 3 {
            // The file may be somewhere, and has to come back.
            room.call(&["rm", "-f", "torn"]).fails(1, words[0]);
            let _ = fs::remove_dir(&state).or_else(|_| fs::remove_file(&state));
            fs::rename(&aside, &state).expect("its state");
        }
        if number < 2 {
            let list = boxd.json("GET", "/containers/json?all=1", None, 200);
            assert_eq!((&list[0]["Id"], &list[0]["State"]), (&json!(id), &json!("dead")));
            assert!(boxd.refused("GET", "/containers/torn/json", None, 500).contains(words[1]));
            assert_eq!(boxd.call("DELETE", "/containers/torn?force=1", None).status, 204);
        } else {
            room.call(&["rm", "-f", "torn"]).ok();
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
        wait_for("the end of its process", || !Path::new(&format!("/proc/{pid}")).exists());
        assert!(!state.parent().expect("a folder").exists());
        assert_eq!(room.call(&["ps", "-a", "-q"]).exits(0).stdout, "");
    }
    room.assert_gone();
}

/// The same of an ordinary user's container, which has no cgroup that could tell its processes; its ports are free then.
#[test]
fn a_users_container_whose_state_is_damaged() {
    let Some((room, _alone)) = users_room() else { return };
    room.call(&["network", "create", "net"]).ok();
    for flags in [&["--network", "none"][..], &["--network", "net", "-p", "127.0.0.1:18098:80"]] {
        for is_monitored in [true, false] {
            let id = room
                .call(&[&["run", "-d", "--name", "torn"], flags, &["./rootfs", "sleep", "1000"]].concat());
            let id = id.exits(0).stdout;
            let pid = room.call(&["inspect", "--format", "{{.State.Pid}}", "torn"]).ok();
            let process = format!("/proc/{}", pid.trim());
            assert_eq!(room.call(&["stats", "--no-stream"]).exits(0).stderr, "");
            if !is_monitored {
                let status = fs::read_to_string(format!("{process}/status")).expect("status");
                let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
                let parent =
                    rustix::process::Pid::from_raw(parent.trim().parse().expect("pid")).expect("pid");
                rustix::process::kill_process(parent, rustix::process::Signal::KILL).expect("kill");
            }
            let state = room.folder.join("runtime/pillbox").join(id.trim()).join("state.json");
            fs::write(&state, "{").expect("a file");
            let said = room.call(&["stats", "--no-stream"]).exits(0).stderr;
            assert!(said.contains("box rm --force") && said.lines().count() == 1, "{said}");
            room.call(&["rm", "-f", "torn"]).ok();
            wait_for("the end of its process", || !Path::new(&process).exists());
            assert!(!state.parent().expect("a folder").exists());
            std::net::TcpListener::bind("127.0.0.1:18098").expect("the port is free");
        }
    }
    room.call(&["network", "rm", "net"]).ok();
    room.assert_gone();
}
