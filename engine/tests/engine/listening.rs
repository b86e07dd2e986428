//! Where boxd is reached, and by whom: groups, an ordinary user's own socket, and one that somebody else has opened.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Room, wait_for};
use crate::rootless;

/// The command line of a boxd, run by a script that gets it as its arguments.
fn by_script(room: &Room, script: &str, flags: &[&str]) -> Command {
    let whole = room.command_within("60", &[&["daemon"], flags].concat());
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(whole.get_program()).args(whole.get_args());
    command.current_dir(&room.folder).stdin(Stdio::null());
    for (name, value) in whole.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

/// Ends it as a user does; timeout(1), which is its parent, passes that on.
fn end(mut child: Child) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("pid");
    kill_process(pid, Signal::TERM).expect("kill");
    child.wait().expect("wait");
}

fn ping(socket: &Path) -> String {
    let Ok(mut stream) = UnixStream::connect(socket) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").expect("send");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    line
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Root's socket is for a group, if there is one: docker, or else box.
#[test]
fn a_group_has_the_socket() {
    let Some(room) = Room::new() else { return };
    let bind = "mount --bind groups /etc/group && exec \"$@\"";
    for (groups, expected) in [
        ("root:x:0:\n", (0o600, 0)),
        ("root:x:0:\nbox:x:4321:ann\nboxer:x:1:\n", (0o660, 4321)),
        ("root:x:0:\nbox:x:4321:\ndocker:x:1234:ann,bob\n", (0o660, 1234)),
        ("root:x:0:\nbox:x:broken:\n", (0o600, 0)),
    ] {
        fs::write(room.folder.join("groups"), groups).expect("file");
        let socket = room.folder.join("d.sock");
        let host = format!("unix://{}", socket.display());
        let child = by_script(&room, bind, &["--host", &host]).spawn().expect("boxd");
        wait_for("boxd", || ping(&socket) == OK);
        let made = fs::metadata(&socket).expect("the socket");
        assert_eq!((made.mode() & 0o7777, made.gid(), made.uid()), (expected.0, expected.1, 0), "{groups}");
        end(child);
        wait_for("its end", || !socket.exists());
    }
}

/// An ordinary user's is where the session has its own, and has what he has.
#[test]
fn a_user_has_a_socket_of_his_own() {
    let Some(room) = Room::of_user(rootless::WITHOUT_RANGES) else { return };
    room.give_rootfs();
    room.call(&["volume", "create", "mine"]).ok();
    let child = room.command_within("60", &["daemon"]).spawn().expect("boxd");
    let socket = room.folder.join("runtime/boxd.sock");
    wait_for("boxd", || ping(&socket) == OK);
    let made = fs::metadata(&socket).expect("the socket");
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o600, room.user()));
    let mut stream = UnixStream::connect(&socket).expect("connect");
    stream.write_all(b"GET /volumes HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").expect("send");
    let said = std::io::read_to_string(stream).expect("an answer");
    assert!(said.contains("\"Name\":\"mine\""), "{said}");
    end(child);
    assert!(!socket.exists());
}

/// systemd has opened it: who has come before boxd is answered, and at its end the socket stays.
#[test]
fn a_socket_that_was_passed() {
    let Some(room) = Room::new() else { return };
    let socket: PathBuf = room.folder.join("passed.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let early = {
        let socket = socket.clone();
        std::thread::spawn(move || ping(&socket))
    };
    // Without timeout(1), which has five words: the number is boxd's own.
    let pass = "shift 5; exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
    let start = || {
        let mut command = by_script(&room, pass, &["--host", "fd://", "--idle", "500ms"]);
        let passed: OwnedFd = listener.try_clone().expect("a descriptor").into();
        command.stdin(Stdio::from(passed)).spawn().expect("boxd")
    };
    let mut child = start();
    assert_eq!(early.join().expect("a client"), OK);
    // Idle it ends, and the next client has another one.
    assert!(child.wait().expect("wait").success());
    let late = std::thread::spawn({
        let socket = socket.clone();
        move || ping(&socket)
    });
    let mut child = start();
    assert_eq!(late.join().expect("a client"), OK);
    assert!(child.wait().expect("wait").success());
    assert!(socket.exists());
}
