//! build: Dockerfiles that would fill the memory, the stack or a lifetime, and names that layers cannot have.

use std::fs;
use std::time::{Duration, Instant};

use crate::build::{build, prepare, said, write};
use crate::harness::{Room, wait_for};

#[test]
fn variables_that_grow_without_end() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let doubled: String = (1..40).map(|number| format!("ARG A{number}=$A{0}$A{0}\n", number - 1)).collect();
    let dockerfile = format!("ARG A0=xxxxxxxxxx\n{doubled}FROM base:1\n");
    build(&room, &[], &dockerfile).fails_with(1, "it becomes longer than 16777216 bytes");
    let doubled = doubled.replace("ARG", "ENV");
    let dockerfile = format!("FROM base:1\nENV A0=xxxxxxxxxx\n{doubled}");
    build(&room, &[], &dockerfile).fails_with(1, "it becomes longer than 16777216 bytes");
    let dockerfile = format!("FROM base:1\nENV A={}\n{}", "x".repeat(100_000), "RUN true\n".repeat(4000));
    build(&room, &[], &dockerfile).fails_with(1, "variables come to more than 268435456 bytes");
    let nested = format!("FROM base:1\nENV A={}x{}\n", "${A:-".repeat(50_000), "}".repeat(50_000));
    build(&room, &[], &nested).fails_with(1, "more than 100 braces within one another");
}

/// An image whose configuration nobody could read again is not made.
#[test]
fn configurations_that_are_too_long() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let words = "the image's configuration, which has variables, labels and the history, would have";
    let dockerfile = format!("FROM base:1\nENV A={}\n", "x".repeat(10 << 20));
    build(&room, &["-t", "made"], &dockerfile).fails_with(1, words);
    let doubled: Vec<&str> = ["--change", "ENV A=xxxxxxxxxxxxxxxx"]
        .into_iter()
        .chain(std::iter::repeat_n(["--change", "ENV A=$A$A"], 60).flatten())
        .collect();
    let words = "it becomes longer than 8388608 bytes when it is expanded";
    room.call(&[&["import"], &doubled[..], &["base.tar", "made"]].concat()).fails_with(125, words);
    room.call(&["create", "--name", "made", "base:1", "true"]).ok();
    room.call(&[&["commit"], &doubled[..], &["made", "made"]].concat()).fails_with(125, words);
    assert_eq!(room.call(&["images", "-q", "made"]).ok(), "");
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
}

#[test]
fn stages_that_need_one_another() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let stages = |count: usize| -> String {
        let next = |number: usize| format!("FROM s{} AS s{number}\n", number - 1);
        "FROM base:1 AS s0\n".to_string() + &(1..count).map(next).collect::<String>()
    };
    build(&room, &["-q"], &stages(100)).ok();
    build(&room, &[], &stages(101)).fails_with(1, "more than 100 stages, each of which needs the next one");
    build(&room, &[], &stages(5000)).fails_with(1, "more than 100 stages, each of which needs the next one");
}

#[test]
fn patterns_end_in_time() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let stars = "*a".repeat(30) + "b";
    let name = "a".repeat(200);
    write(&room, &name, "");
    write(&room, &format!("{}x", "a/".repeat(60)), "");
    let began = Instant::now();
    let dockerfile =
        format!("FROM base:1\nENV B={name}\nENV A=${{B#{stars}}} C=${{B//a/b}}\nCOPY {stars} /x/\n");
    build(&room, &["-q", "-t", "made"], &dockerfile).ok();
    assert_eq!(said(&room, "made", "echo $A $C"), format!("{name} {}\n", "b".repeat(200)));
    write(
        &room,
        ".dockerignore",
        &format!("{}x\n{stars}\n{}\n", "**/".repeat(200), "**/a/".repeat(30) + "b"),
    );
    build(&room, &["-q"], "FROM base:1\nCOPY . /x\n").ok();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// Without a line end, and more than anybody reads.
#[test]
fn endless_lines() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let dockerfile = "FROM base:1\nRUN head -c 3000000 /dev/zero; echo; echo end\n";
    let said = build(&room, &["--progress", "plain"], dockerfile).exits(0).stderr;
    assert!(said.len() > 3_000_000 && said.contains(" end\n"));
}

/// As a whiteout, it would remove a file of the layers below wherever the image comes.
#[test]
fn names_of_whiteouts() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let words = "an image cannot have it: in layers a name that begins with .wh.";
    build(&room, &[], "FROM base:1\nRUN echo >/etc/.wh.passwd\n").fails_with(1, words);
    write(&room, "d/.wh.x", "x\n");
    build(&room, &[], "FROM base:1\nCOPY d /d\n").fails_with(1, words);
    room.call(&["run", "--network", "none", "--name", "made", "base:1", "touch", "/.wh.etc"]).ok();
    room.call(&["commit", "made", "committed"]).fails(1, words);
    room.call(&["rm", "made"]).ok();
    build(&room, &["-q", "-t", "made"], "FROM base:1\nRUN echo >/.wh.etc && rm /.wh.etc; rm /etc/group\n")
        .ok();
    assert_eq!(said(&room, "made", "ls /etc"), "hostname\nhosts\npasswd\nresolv.conf\n");
}

#[test]
fn an_interrupted_build_ends_at_once() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "Dockerfile", "FROM base:1\nRUN echo begun; sleep 100\n");
    let log = room.folder.join("log");
    let mut command = room.command(&["build", "--network", "none", "--progress", "plain", "context"]);
    let mut build = command.stderr(fs::File::create(&log).expect("log")).spawn().expect("build");
    wait_for("the step", || fs::read_to_string(&log).is_ok_and(|said| said.contains(" begun\n")));
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&build);
    // timeout(1) passes it on.
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill");
    build.wait().expect("wait");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(fs::read_to_string(&log).expect("log").ends_with("box: the build was ended\n"));
    room.assert_gone();
    // A pipe to which nobody writes is no Dockerfile, and nothing to wait for.
    let made = std::process::Command::new("mkfifo").arg(room.folder.join("pipe")).status();
    assert!(made.expect("mkfifo").success());
    room.call(&["build", "-f", "pipe", "context"]).fails_with(1, "pipe: it is no file");
}
