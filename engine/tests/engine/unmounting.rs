//! Unmounting an overlay syncs the disk: for that nobody waits but whoever is about to mount it again.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::harness::{Room, wait_for};
use crate::monitors::{frame, id, monitor, socket};
use crate::rootless::room_with_ranges;

fn work(room: &Room, name: &str) -> PathBuf {
    room.data().join("containers").join(id(room, name)).join("work")
}

fn is_locked(folder: &Path) -> bool {
    let folder = fs::File::open(folder).expect("folder");
    flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// Whether a process has the root of an overlay that is mounted nowhere it could see.
fn has_overlay(pid: u32) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link == Path::new("/"))
}

/// A client that takes nothing keeps the monitor before its last step.
#[test]
fn the_end_is_told_before_the_root_is_unmounted() {
    for room in [Room::new(), room_with_ranges()] {
        let Some(room) = room else { return };
        room.start(&["--name", "busy"], &["yes"]);
        let (work, monitor) = (work(&room, "busy"), monitor(&room, "busy"));
        let mut client = UnixStream::connect(socket(&room, "busy")).expect("connect");
        let hello = frame(1, br#"{"version":2,"output":true,"input":false}"#);
        client.write_all(&hello).expect("hello");
        // Now it waits for the client.
        let size = || fs::metadata(work.with_file_name("log").join("0")).map_or(0, |status| status.len());
        let mut before = 0;
        wait_for("a full socket", || std::mem::replace(&mut before, size()) == size() && before > 0);
        room.call(&["kill", "busy"]).ok();
        assert_eq!(room.call(&["wait", "busy"]).ok(), "137\n");
        assert!(has_overlay(monitor) && is_locked(&work), "it was unmounted first");
        // The next one waits for that, and that for no client. After a second it says so.
        room.call(&["start", "busy"]).exits(0);
        assert!(!has_overlay(monitor), "it is mounted twice");
        let mut rest = Vec::new();
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        client.read_to_end(&mut rest).expect("output");
        assert!(rest.ends_with(&frame(12, &[137])), "{:?}", &rest[rest.len().saturating_sub(20)..]);
        room.call(&["rm", "-f", "busy"]).ok();
        room.assert_gone();
    }
}

/// Whoever needs the root waits until it is unmounted, and says so after a second.
#[test]
fn a_root_that_is_about_to_be_unmounted() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "slow"], &["true"]);
    room.call(&["wait", "slow"]).ok();
    let work = work(&room, "slow");
    wait_for("its unmounting", || !is_locked(&work));
    fs::write(room.folder.join("file"), "text").expect("file");
    for command in [&["start", "slow"][..], &["cp", "file", "slow:/"]] {
        room.call(&["wait", "slow"]).ok();
        let lock = fs::File::open(&work).expect("folder");
        flock(&lock, FlockOperation::LockExclusive).expect("lock");
        let began = Instant::now();
        let said = std::thread::scope(|scope| {
            let call = scope.spawn(|| room.call(command));
            std::thread::sleep(Duration::from_millis(1500));
            drop(lock);
            call.join().expect("box")
        });
        assert!(began.elapsed() >= Duration::from_millis(1500));
        let expected = "box: waiting for another command that uses the container's root, until the disk has its changes\n";
        assert_eq!((said.status, &*said.stderr), (0, expected));
    }
    // Whoever removes it needs no root.
    let lock = fs::File::open(&work).expect("folder");
    flock(&lock, FlockOperation::LockExclusive).expect("lock");
    room.call(&["rm", "slow"]).ok();
    room.assert_gone();
}

/// What is thrown away is never synced, so that nobody waits for it.
#[test]
fn a_root_that_is_thrown_away() {
    let Some(room) = Room::new() else { return };
    let id = room.start(&["--rm"], &["sleep", "1000"]);
    let work = room.data().join("containers").join(&id).join("work");
    assert!(!is_locked(&work) && work.join("work/incompat/volatile").exists());
    room.call(&["rm", "-f", &id]).ok();
    room.assert_gone();
}
