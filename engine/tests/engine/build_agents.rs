//! build: SSH agents that many ask at a time.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::build::{prepare, write};
use crate::harness::{Room, wait_for};

/// More connections than there can be at a time are accepted as soon as others have ended.
#[test]
fn an_agent_of_many_connections() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let agent = room.folder.join("agent");
    let listener = UnixListener::bind(&agent).expect("a socket");
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut connection.try_clone()?, &mut connection));
        }
    });
    let dockerfile = "FROM base:1\nRUN --mount=type=ssh sleep 6\n";
    write(&room, "Dockerfile", dockerfile);
    let given = format!("default={}", agent.display());
    let mut building = room.command(&["build", "-q", "--ssh", &given, "context"]).spawn().expect("box");
    let find = || {
        let folders = fs::read_dir(room.folder.join("runtime/pillbox")).ok()?.flatten();
        let sockets = folders.map(|folder| folder.path().join("agent"));
        sockets.filter_map(|path| UnixStream::connect(path).ok()).next()
    };
    let answers = |mut connection: UnixStream| {
        connection.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        let mut said = [0; 5];
        connection.write_all(b"hello").and_then(|()| connection.read_exact(&mut said)).is_ok()
            && said == *b"hello"
    };
    wait_for("the agent", || find().is_some_and(answers));
    let limit = |pid: i32, number| {
        let limit = Rlimit { current: Some(number), maximum: Some(1024) };
        match prlimit(Pid::from_raw(pid), Resource::Nofile, limit) {
            // One that only began another one may have ended.
            Err(Errno::SRCH) => {}
            limited => drop(limited.expect("prlimit")),
        }
    };
    let builder = children(building.id());
    builder.iter().for_each(|pid| limit(*pid, 48));
    let many: Vec<UnixStream> = (0..40).filter_map(|_| find()).collect();
    assert_eq!(many.len(), 40);
    std::thread::sleep(Duration::from_millis(300));
    builder.iter().for_each(|pid| limit(*pid, 1024));
    drop(many);
    wait_for("the agent once more", || find().is_some_and(answers));
    assert!(building.wait().expect("box").success());
}

fn children(pid: u32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}
