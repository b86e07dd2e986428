//! Volumes: what outlives containers, and what they begin with.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use serde_json::json;

use crate::harness::Room;

fn volumes(room: &Room) -> Vec<String> {
    room.call(&["volume", "ls", "-q"]).ok().lines().map(str::to_string).collect()
}

/// Something that the image has at /srv: owners, modes, links.
fn furnish(room: &Room) {
    let srv = room.rootfs().join("srv");
    fs::create_dir_all(srv.join("sub")).expect("folder");
    fs::write(srv.join("sub/file"), "the image's").expect("file");
    symlink("sub/file", srv.join("link")).expect("link");
    fs::set_permissions(&srv, fs::Permissions::from_mode(0o750)).expect("chmod");
}

#[test]
fn a_volume_with_a_name() {
    let Some(room) = Room::new() else { return };
    furnish(&room);
    chown(room.rootfs().join("srv/sub/file"), Some(33), Some(34)).expect("chown");
    // It begins with what the image has there, and keeps what was changed.
    assert_eq!(
        room.run(&["-v", "data:/srv"], &["sh", "-c", "cat /srv/link; echo new >/srv/new"]).ok(),
        "the image's"
    );
    let said = room.run(
        &["-v", "data:/mnt:ro"],
        &[
            "sh",
            "-c",
            "cat /mnt/new; stat -c '%u:%g %a' /mnt /mnt/sub/file; touch /mnt/x 2>/dev/null; echo $?",
        ],
    );
    assert_eq!(said.ok(), "new\n0:0 750\n33:34 644\n1\n");
    assert!(!room.rootfs().join("srv/new").exists());
    assert_eq!(volumes(&room), ["data"]);
    // One that is filled is not filled again; one that is not to be filled is empty.
    room.run(&["-v", "data:/bin"], &["/bin/true"]).exits(127);
    assert_eq!(room.run(&["-v", "empty:/srv:nocopy"], &["ls", "/srv"]).ok(), "");
    room.call(&["volume", "rm", "empty"]).ok();

    room.start(&["--name", "user", "--mount", "type=volume,source=data,target=/data"], &["sleep", "1000"]);
    room.call(&["volume", "rm", "data"]).fails(1, "a container has it: remove that first");
    room.call(&["rm", "-f", "-v", "user"]).ok();
    let document: serde_json::Value =
        serde_json::from_str(&room.call(&["volume", "inspect", "data"]).ok()).expect("JSON");
    let path = document[0]["Mountpoint"].as_str().expect("path");
    assert_eq!(fs::read_to_string(format!("{path}/new")).expect("file"), "new\n");
    assert_eq!(document[0]["Labels"], json!({}));
    room.call(&["volume", "rm", "data"]).ok();
    room.call(&["volume", "rm", "data"]).fails(1, "there is none");
    assert!(volumes(&room).is_empty());
    room.assert_gone();
}

/// Filling is done in the folder that others have mounted, and goes on where it was killed.
#[test]
fn a_volume_that_is_filled_while_it_is_used() {
    let Some(room) = Room::new() else { return };
    furnish(&room);
    room.start(&["--name", "user", "-v", "data:/empty"], &["sleep", "1000"]);
    room.run(&["-v", "data:/srv"], &["sh", "-c", "echo new >/srv/new"]).ok();
    assert_eq!(
        room.call(&["exec", "user", "sh", "-c", "cat /empty/link /empty/new"]).ok(),
        "the image'snew\n"
    );
    assert_eq!(room.call(&["exec", "user", "stat", "-c", "%a", "/empty"]).ok(), "750\n");
    room.call(&["exec", "user", "touch", "/empty/seen"]).ok();
    assert_eq!(room.run(&["-v", "data:/srv"], &["ls", "/srv"]).ok(), "link\nnew\nseen\nsub\n");
    room.call(&["rm", "-f", "user"]).ok();
    // As whoever was killed has left it: complete, and in part where it belongs.
    let volume = room.data().join("volumes/data");
    fs::create_dir_all(volume.join("filled/fs")).expect("folder");
    fs::rename(volume.join("_data/sub"), volume.join("filled/fs/sub")).expect("rename");
    fs::write(volume.join("filled/fs/new"), "the image's").expect("file");
    let said = room.run(&["-v", "data:/srv:nocopy"], &["sh", "-c", "cat /srv/sub/file /srv/new"]);
    assert_eq!(said.ok(), "the image'snew\n");
    assert!(!volume.join("filled").exists());
    room.call(&["volume", "rm", "data"]).ok();
    room.assert_gone();
}

#[test]
fn volumes_without_names_go_with_their_container() {
    let Some(room) = Room::new() else { return };
    furnish(&room);
    assert_eq!(room.run(&["-v", "/srv"], &["cat", "/srv/sub/file"]).ok(), "the image's");
    assert!(volumes(&room).is_empty());
    room.start(&["--name", "keeps", "-v", "/srv"], &["sleep", "1000"]);
    assert_eq!(volumes(&room).len(), 1);
    room.call(&["rm", "-f", "keeps"]).ok();
    assert_eq!(volumes(&room).len(), 1);
    room.call(&["volume", "create", "named"]).ok();
    let pruned = room.call(&["volume", "prune", "-f"]).ok();
    assert_eq!(
        (pruned.lines().next(), volumes(&room)),
        (Some("Deleted Volumes:"), vec!["named".to_string()])
    );
    room.start(&["--name", "keeps", "-v", "/srv"], &["sleep", "1000"]);
    room.call(&["rm", "-f", "-v", "keeps"]).ok();
    assert_eq!(volumes(&room), ["named"]);
    room.call(&["volume", "prune", "--all"]).fails(125, "--force does it without");
    room.call(&["volume", "prune", "--all", "--force"]).ok();
    assert!(volumes(&room).is_empty());
    room.assert_gone();
}

/// As an ordinary user the copy is made by the ids of the container.
#[test]
fn of_an_ordinary_user() {
    let Some(room) = crate::rootless::room_with_ranges() else { return };
    furnish(&room);
    chown(room.rootfs().join("srv/sub/file"), Some(33), Some(34)).expect("chown");
    room.tar("rootfs.tar");
    let run = |script: &str| {
        room.call(&["run", "--rm", "--network", "none", "-v", "data:/srv", "rootfs.tar", "sh", "-c", script])
    };
    assert_eq!(
        run("cat /srv/link; stat -c ' %u:%g' /srv/sub/file; echo x >/srv/new").ok(),
        "the image's 33:34\n"
    );
    assert_eq!(run("cat /srv/new").ok(), "x\n");
    let file = room.data().join("volumes/data/_data/sub/file");
    assert_eq!(fs::metadata(file).expect("file").uid(), 100_000 + 32);
    room.call(&["volume", "rm", "data"]).ok();
    room.assert_gone();
}

/// Whoever removes volumes does not take them from a container that is about to be made or started.
#[test]
fn a_removal_beside_containers_that_begin() {
    let Some(room) = Room::new() else { return };
    furnish(&room);
    let bin = room.folder.join("box");
    let script = format!(
        "while test -e go; do '{0}' \"$@\" volume rm data; '{0}' \"$@\" volume prune -af; done",
        bin.display()
    );
    let roots =
        ["--data-root".into(), room.data(), "--exec-root".into(), room.folder.join("runtime/pillbox")];
    fs::write(room.folder.join("go"), "").expect("file");
    let mut remover = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg("sh")
        .args(roots)
        .current_dir(&room.folder)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("sh");
    let faults: Vec<String> = (0..60)
        .filter_map(|_| {
            let output = room.run(&["-v", "data:/srv", "-v", "/nameless"], &["cat", "/srv/sub/file"]);
            (output.status != 0 || output.stdout != "the image's").then_some(output.stderr)
        })
        .collect();
    fs::remove_file(room.folder.join("go")).expect("file");
    remover.wait().expect("sh");
    assert_eq!(faults, Vec::<String>::new());
    room.call(&["volume", "prune", "-af"]).ok();
    assert!(volumes(&room).is_empty());
    room.assert_gone();
}

/// What cannot be made leaves nothing of it: no volume, no folder, no name.
#[test]
fn a_container_that_cannot_be_made_leaves_no_volume() {
    let Some(room) = Room::new() else { return };
    room.call(&["volume", "create", "broken"]).ok();
    fs::write(room.data().join("volumes/broken/volume.json"), "{").expect("file");
    let flags = ["create", "--name", "none", "-v", "/nameless", "-v", "broken:/srv", "./rootfs", "true"];
    room.call(&flags).fails(1, "volumes/broken/volume.json: ");
    fs::remove_dir_all(room.data().join("volumes/broken")).expect("folder");
    assert!(volumes(&room).is_empty(), "{:?}", volumes(&room));
    assert_eq!(fs::read_dir(room.data().join("names")).expect("names").count(), 0);
    room.assert_gone();
}

/// Files of one user of the host's are another's in the container, and what that one makes is the first one's.
#[test]
fn owners_of_a_mount() {
    let Some(room) = Room::new() else { return };
    let shared = room.folder.join("shared");
    fs::create_dir(&shared).expect("folder");
    for (name, owner) in [("", 1000), ("file", 1000), ("strange", 2000)] {
        let path = shared.join(name);
        if !name.is_empty() {
            fs::write(&path, "").expect("file");
        }
        chown(&path, Some(owner), Some(owner)).expect("chown");
    }
    let idmap = "idmap=uids=1000-0-1#1001-33-1;gids=1000-0-1";
    let script = "stat -c %u:%g /d/file /d/strange; touch /d/new";
    for flags in [
        ["-v", &format!("./shared:/d:{idmap}")],
        ["--mount", &format!("type=bind,src=shared,dst=/d,{idmap}")],
    ] {
        assert_eq!(room.run(&flags, &["sh", "-c", script]).ok(), "0:0\n65534:65534\n");
        let made = fs::metadata(shared.join("new")).expect("file");
        assert_eq!((made.uid(), made.gid()), (1000, 1000));
        fs::remove_file(shared.join("new")).expect("file");
    }
    // A volume as well; groups stay as they are.
    room.run(&["-v", "data:/d"], &["sh", "-c", "touch /d/file; chown 1000:7 /d/file"]).ok();
    let said = room.run(&["-v", "data:/d:ro,idmap=uids=1000-33-1"], &["stat", "-c", "%u:%g", "/d/file"]);
    assert_eq!(said.ok(), "33:7\n");
    // One that does not run has nobody who could show them.
    room.call(&[
        "create",
        "--name",
        "still",
        "--network",
        "none",
        "-v",
        &format!("./shared:/d:{idmap}"),
        "./rootfs",
        "true",
    ])
    .ok();
    let mode = room
        .call(&["inspect", "-f", "{{range .Mounts}}{{.Mode}}{{end}} {{index .HostConfig.Binds 0}}", "still"])
        .ok();
    assert_eq!(mode.trim(), format!("{idmap} {}:/d:{idmap}", shared.display()));
    room.call(&["cp", "still:/d/file", "."])
        .fails(1, "only there /d has its owners (idmap): box start still");
    room.call(&["rm", "still"]).ok();
    room.call(&["volume", "rm", "data"]).ok();
    // Labels of SELinux need no flag; what box does not do says why.
    assert_eq!(room.run(&["-v", "./shared:/d:z,ro"], &["ls", "/d"]).ok(), "file\nstrange\n");
    for (flag, why) in [
        ("U", "box gives no files of the host another owner"),
        ("idmap", "it must say which are shown as which"),
        ("idmap=uids=1000-0", "must be STORED-SHOWN-COUNT"),
        ("idmap=1000-0-1", "must be uids=STORED-SHOWN-COUNT"),
    ] {
        room.run(&["-v", &format!("./shared:/d:{flag}")], &["true"]).fails(125, why);
        room.run(&["--mount", &format!("type=bind,src=shared,dst=/d,{flag}")], &["true"]).fails(125, why);
    }
    room.assert_gone();
}

#[test]
fn a_user_maps_no_owners() {
    let Some(room) = crate::rootless::room_with_ranges() else { return };
    let flags = ["-v", "data:/d:idmap=uids=0-33-1"];
    room.run(&flags, &["true"])
        .fails(125, "idmap: the kernel lets root alone give a file system's files other owners");
    room.call(&["volume", "rm", "data"]).ok();
    room.assert_gone();
}

#[test]
fn volumes_on_other_devices() {
    let Some(room) = Room::new() else { return };
    fs::create_dir_all(room.rootfs().join("data")).expect("folder");
    fs::write(room.rootfs().join("data/begun"), "from the image").expect("file");
    let create = |options: &[&str], name: &str| {
        let flags: Vec<&str> = options.iter().flat_map(|option| ["--opt", option]).collect();
        room.call(&[&["volume", "create"], &flags[..], &[name]].concat())
    };
    create(&["type=tmpfs", "device=tmpfs", "o=size=64k,uid=33,mode=750"], "memory").ok();
    let script = "stat -c %u:%a /data; cat /data/begun; grep -c '/data tmpfs.*size=64k' /proc/mounts; touch /data/x; ls /data | wc -l";
    for _ in 0..2 {
        // It ends with its container.
        let said = room.run(&["-v", "memory:/data"], &["sh", "-c", script]).ok();
        assert_eq!(said, "33:750\nfrom the image1\n2\n");
    }
    assert_eq!(
        room.run(&["-v", "memory:/data:ro"], &["sh", "-c", "touch /data/y || echo no"]).exits(0).stdout,
        "no\n"
    );
    let options = room.call(&["volume", "inspect", "-f", "{{json .Options}}", "memory"]).ok();
    assert_eq!(options.trim(), r#"{"device":"tmpfs","o":"size=64k,uid=33,mode=750","type":"tmpfs"}"#);
    room.start(&["--name", "has", "-v", "memory:/data"], &["sleep", "1000"]);
    room.run(&["-v", "memory:/data"], &["true"])
        .fails_with(125, "is for one container at a time, and has runs with it");
    room.call(&["rm", "-f", "has"]).ok();
    let outside = room.folder.join("outside");
    fs::create_dir(&outside).expect("folder");
    create(&["type=none", &format!("device={}", outside.display()), "o=bind"], "bound").ok();
    assert_eq!(room.run(&["-v", "bound:/data"], &["cat", "/data/begun"]).ok(), "from the image");
    assert!(outside.join("begun").exists());
    room.run(&["-v", "bound:/data"], &["sh", "-c", "echo mine >/data/begun"]).ok();
    assert_eq!(room.run(&["-v", "bound:/data"], &["cat", "/data/begun"]).ok(), "mine\n");
    // What does not run has it in the same place.
    room.call(&["create", "--name", "cc", "--network", "none", "-v", "bound:/data", "./rootfs", "true"]).ok();
    room.call(&["cp", "cc:/data/begun", "copied"]).exits(0);
    assert_eq!(fs::read_to_string(room.folder.join("copied")).expect("file"), "mine\n");
    room.call(&["rm", "cc"]).ok();
    room.call(&["volume", "rm", "bound"]).ok();
    assert!(outside.join("begun").exists(), "what is bound is not box's");
    create(&["type=none", "device=/nonexistent/folder", "o=bind"], "lost").ok();
    room.run(&["-v", "lost:/data"], &["true"]).fails_with(125, "volume lost: its folder /nonexistent/folder");
    create(&["type=nfs", "device=:/srv", "o=addr=10.0.0.1"], "far")
        .fails(125, "--opt type=nfs: must be tmpfs, or none with o=bind");
    create(&["type=tmpfs"], "half").fails(125, "missing required option: \"device\"");
    room.call(&["volume", "rm", "memory", "lost"]).ok();
    room.assert_gone();
}

#[test]
fn a_mount_says_how_its_volume_is_made() {
    let Some(room) = Room::new() else { return };
    let script = "grep -c '/data tmpfs.*size=64k' /proc/mounts; stat -c %a /data";
    let memory = "volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=64k,mode=750\"";
    let named = format!("type=volume,src=made,dst=/data,volume-driver=local,volume-label=a=b,{memory}");
    let nameless = format!("type=volume,dst=/data,{memory}");
    for mount in [&named, &named, &nameless] {
        assert_eq!(room.run(&["--mount", mount], &["sh", "-c", script]).ok(), "1\n750\n", "{mount}");
    }
    let inspect = |format: &str| room.call(&["volume", "inspect", "-f", format, "made"]).ok();
    assert_eq!(inspect("{{json .Labels}}"), "{\"a\":\"b\"}\n");
    assert_eq!(
        inspect("{{json .Options}}"),
        "{\"device\":\"tmpfs\",\"o\":\"size=64k,mode=750\",\"type\":\"tmpfs\"}\n"
    );
    // Those without a name have gone with their containers.
    assert_eq!(volumes(&room), ["made"]);
    for (mount, why) in [
        ("type=bind,src=/tmp,dst=/data,volume-opt=a=b", "type=bind has none"),
        ("type=volume,src=other,dst=/data,volume-opt=foo=b", "foo"),
        ("type=volume,src=other,dst=/data,volume-driver=x", "must be local"),
        ("type=volume,src=other,dst=/data,volume-subpath=x", "mounted as a whole"),
        ("\"type=volume", "a quote has no end"),
    ] {
        room.run(&["--mount", mount], &["true"]).fails_with(125, why);
    }
    assert_eq!(volumes(&room), ["made"]);
}
