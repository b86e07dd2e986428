//! What people see: messages that cannot be written, text that a terminal must not obey, statuses.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;

use crate::harness::{Room, wait_for};
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
