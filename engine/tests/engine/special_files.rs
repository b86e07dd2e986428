//! FIFOs in the place of files of the store: no command waits for somebody who writes into them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::build::{build, prepare};
use crate::harness::{Room, finish};

/// What reads and writes everywhere in a store; none of it takes a second.
const COMMANDS: [&[&str]; 23] = [
    &["ps"],
    &["ps", "-a"],
    &["images"],
    &["volume", "ls"],
    &["network", "ls"],
    &["inspect", "ended"],
    &["inspect", "base:1"],
    &["logs", "ended"],
    &["logs", "json"],
    &["events", "--since", "1h", "--until", "0s"],
    &["info"],
    &["system", "df"],
    &["system", "check"],
    &["exec", "running", "true"],
    &["start", "-a", "ended"],
    &["start", "-a", "json"],
    &["run", "--rm", "--network", "none", "-v", "kept:/kept", "base:1", "true"],
    &["build", "--network", "none", "context"],
    &["rename", "ended", "ended2"],
    &["rename", "ended2", "ended"],
    &["pause", "running"],
    &["unpause", "running"],
    &["image", "prune", "-f"],
];

/// What there may be, and is not always.
const RARE: [&str; 4] = ["stopped", "asked", "renaming", "pausing"];

/// All files below a folder, one of each kind: those of other digests and numbers are like it.
fn files(folder: &Path, found: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).expect("folder").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("type"));
        let is_content = ["fs", "_data", "upper", "work"].iter().any(|name| path.ends_with(name));
        if kind.is_dir() && !is_content {
            files(&path, found);
        } else if kind.is_file() {
            let is_letter = |letter: char| !letter.is_ascii_hexdigit();
            found.insert(path.display().to_string().replace(|letter| !is_letter(letter), ""), path);
        }
    }
}

#[test]
fn a_fifo_in_the_place_of_a_file_keeps_nobody_waiting() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    build(&room, &[], "FROM base:1\nRUN echo 1 >/made\n").exits(0);
    room.call(&["volume", "create", "kept"]).ok();
    room.call(&["network", "create", "net"]).ok();
    let id = room.call(&["create", "--name", "ended", "--network", "none", "base:1", "echo"]).ok();
    room.call(&["start", "-a", "ended"]).exits(0);
    let json = ["--name", "json", "--log-driver", "json-file"];
    room.call(&[&["run", "--network", "none"], &json[..], &["base:1", "echo"]].concat()).exits(0);
    room.call(&["run", "-d", "--name", "running", "--network", "none", "base:1", "sleep", "1000"]).exits(0);
    let mut victims = BTreeMap::new();
    files(&room.data(), &mut victims);
    let container = room.data().join("containers").join(id.trim());
    let rare = RARE.iter().map(|name| container.join(name)).chain([
        room.data().join("registry.json"),
        room.data().join("events/before"),
        room.data().join("containers/.summaries"),
        room.data().join("containers/.at-rest"),
        room.data().join("leases/0123456789abcdef"),
        room.data().join("blobs/sha256").join(format!(".partial-{}", "0".repeat(64))),
        room.data().join("containers/.partial-0123456789abcdef"),
    ]);
    let mut waiting = Vec::new();
    for path in victims.into_values().chain(rare) {
        let aside = room.folder.join("aside");
        let was_there = fs::rename(&path, &aside).is_ok();
        for command in COMMANDS {
            if fs::symlink_metadata(&path).is_err() {
                // Some commands remove what is no use.
                mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
            }
            let status = finish(&mut room.command_within("5", command)).status;
            if [124, 137].contains(&status) {
                waiting.push(format!("{}: {}", command.join(" "), path.display()));
            }
        }
        let _ = fs::remove_file(&path);
        if was_there {
            fs::rename(&aside, &path).expect("back");
        }
    }
    assert!(waiting.is_empty(), "{}", waiting.join("\n"));
    room.call(&["rm", "-f", "running"]).exits(0);
    room.call(&["rm", "ended", "json"]).exits(0);
}
