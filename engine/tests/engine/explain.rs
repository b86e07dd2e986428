//! explain and boxify.yaml: before anything runs.

use std::fs;

use crate::harness::Room;
use crate::rootless::{USER, room as room_of};

#[test]
fn a_plan_without_a_container() {
    for room in [Room::new(), room_of(USER)].into_iter().flatten() {
        room.give_rootfs();
        let flags =
            ["explain", "--network", "none", "-v", "data:/data", "-v", "/nameless", "--memory", "64m"];
        let text = room.call(&[&flags[..], &["./rootfs", "echo", "said"]].concat()).ok();
        for words in [
            "root: an overlay of ",
            "\"ociVersion\"",
            "\nruntime:\n   1  ",
            "\ninit:\n   1  ",
            "\"echo\" \"said\"",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let json = room.call(&[&flags[..], &["--format", "json", "./rootfs", "true"]].concat()).ok();
        let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(document["config"]["linux"]["resources"]["memory"]["limit"], 64 << 20);
        assert_eq!(
            document["config"]["mounts"].as_array().expect("mounts").last().expect("mount")["type"],
            "bind"
        );
        assert!(document["init"].as_array().expect("operations").len() > 10);
        room.call(&["explain", "-u", "nobody", "./rootfs", "true"]).fails(125, "--user nobody");
        // Nothing was made.
        assert_eq!(room.call(&["volume", "ls", "-q"]).ok(), "");
        room.assert_gone();
    }
}

#[test]
fn a_folder_with_boxifys_file() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["run", "--rm", "--network", "none"])
        .fails(125, "IMAGE is missing, and there is no boxify.yaml here");
    let file = room.folder.join("boxify.yaml");
    fs::write(&file, "# a shell\nimageName: ./rootfs.tar\n").expect("file");
    let mut command = room.command(&["run", "--rm", "--network", "none"]);
    let script = room.folder.join("script");
    fs::write(&script, "echo in the box\nexit 7\n").expect("file");
    let output = crate::harness::finish(command.stdin(fs::File::open(&script).expect("file"))).exits(7);
    assert!(output.stdout.contains("in the box"), "{output:?}");
    fs::write(&file, "imageName: ./rootfs.tar\nsettings:\n  memoryLimit: 100m\n  cpuLimit: 0.5\n")
        .expect("file");
    let limits = |flags: &[&str]| {
        let said = room.call(&[&["explain", "--format", "json", "--network", "none"], flags].concat()).ok();
        let document: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let resources = &document["config"]["linux"]["resources"];
        assert_eq!(document["config"]["process"]["args"], serde_json::json!(["sh"]));
        [&resources["memory"]["limit"], &resources["cpu"]["quota"]].map(|limit| limit.as_u64())
    };
    assert_eq!(limits(&[]), [Some(100 << 20), Some(50_000)]);
    // What the command line says outweighs the file.
    assert_eq!(limits(&["-m", "64m"]), [Some(64 << 20), Some(50_000)]);
    fs::rename(&file, room.folder.join("boxify.yml")).expect("rename");
    assert_eq!(limits(&["-d", "--pull", "never"]), [Some(100 << 20), Some(50_000)]);
    fs::remove_file(room.folder.join("boxify.yml")).expect("remove");
    room.call(&["explain"]).fails(125, "IMAGE is missing, and there is no boxify.yaml here");
    fs::write(&file, "imageName: ./rootfs.tar\nports: 80\n").expect("file");
    room.call(&["run", "--rm"]).fails(125, "boxify.yaml: line 2: \"ports: 80\": must be imageName");
    room.assert_gone();
}
