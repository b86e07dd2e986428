//! Monitors in trouble: what one client, one program or one container does wrong stays with it.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Room, wait_for};
use crate::killed::bare;

pub fn id(room: &Room, name: &str) -> String {
    room.call(&["inspect", "-f", "{{.Id}}", name]).ok().trim().to_string()
}

/// The monitor of a container.
pub fn monitor(room: &Room, name: &str) -> u32 {
    let id = id(room, name);
    let is_one = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"box-monitor\0")
    };
    let found: Vec<u32> = crate::host::processes_naming(&id).into_iter().filter(is_one).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

/// Kills it.
fn kill(room: &Room, name: &str) {
    let pid = monitor(room, name);
    kill_process(Pid::from_raw(pid.cast_signed()).expect("pid"), Signal::KILL).expect("kill");
    wait_for("its end", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

pub fn socket(room: &Room, name: &str) -> PathBuf {
    let short = id(room, name)[..12].to_string();
    room.folder.join("runtime/pillbox/.monitors").join(short).join("socket")
}

/// Time of processors, in milliseconds.
fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, rest) = stat.rsplit_once(") ").expect("stat");
    let fields: Vec<u64> = rest.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
    (fields[11] + fields[12]) * 1000 / rustix::param::clock_ticks_per_second()
}

/// It uses hardly any while nothing happens.
#[track_caller]
fn assert_idle(pid: u32) {
    let before = cpu(pid);
    std::thread::sleep(Duration::from_secs(1));
    let used = cpu(pid) - before;
    assert!(used < 60, "{used} ms of a second");
}

pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &(payload.len() as u32).to_le_bytes(), payload].concat()
}

#[test]
fn a_client_that_says_nonsense() {
    let Some(room) = Room::new() else { return };
    room.start(&["-t", "--name", "calm"], &["sleep", "1000"]);
    let hello = frame(1, br#"{"version":1,"output":false,"input":true}"#);
    for nonsense in [frame(5, b"no size"), frame(1, b"{"), frame(99, b""), vec![5, 255, 255, 255, 255]] {
        let mut client = UnixStream::connect(socket(&room, "calm")).expect("connect");
        client.write_all(&[&hello[..], &nonsense].concat()).expect("frames");
        // It is let go of.
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let mut rest = Vec::new();
        let read = std::io::Read::read_to_end(&mut client, &mut rest);
        assert!(read.is_ok_and(|length| length == 0), "{nonsense:?}");
        assert_eq!(room.state("calm"), "running");
    }
    let monitor = monitor(&room, "calm");
    assert_idle(monitor);
    room.call(&["rm", "-f", "calm"]).ok();
    room.assert_gone();
}

/// A monitor that cannot go on ends its container, and says why.
#[test]
fn a_monitor_that_cannot_go_on() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "stuck"], &["sleep", "1000"]);
    let (id, folder) = (id(&room, "stuck"), socket(&room, "stuck").with_file_name(""));
    kill(&room, "stuck");
    // The next one reads a folder.
    fs::remove_file(folder.join("stdout")).expect("pipe");
    fs::create_dir(folder.join("stdout")).expect("folder");
    assert_eq!(room.call(&["wait", "stuck"]).ok(), "255\n");
    assert_eq!(room.state("stuck"), "exited");
    let error = room.call(&["inspect", "-f", "{{.State.Error}}", "stuck"]).ok();
    assert!(error.contains("its monitor could not go on: read the program's output: "), "{error}");
    assert!(!room.folder.join("runtime/pillbox").join(id).exists(), "the runtime's state is left");
    room.call(&["start", "stuck"]).ok();
    room.call(&["rm", "-f", "stuck"]).ok();
    room.assert_gone();
}

/// Why health cannot be looked at is seen, and the container goes on.
#[test]
fn health_that_cannot_be_looked_at() {
    let Some(room) = Room::new() else { return };
    let flags = ["--health-cmd", "true", "--health-interval", "50ms", "--health-retries", "2"];
    room.start(
        &[&["--name", "blind"], &flags[..]].concat(),
        &["sh", "-c", "rm /etc/passwd; mkdir /etc/passwd; sleep 1000"],
    );
    // Its program may be slow.
    wait_for("a broken file", || room.call(&["exec", "blind", "true"]).status == 125);
    kill(&room, "blind");
    let health = || room.call(&["inspect", "-f", "{{json .State.Health}}", "blind"]).ok();
    wait_for("failures", || {
        let health = health();
        health.contains("\"Status\":\"unhealthy\"") && health.contains("etc/passwd: not a file")
    });
    assert_eq!(room.state("blind"), "running");
    room.call(&["rm", "-f", "blind"]).ok();
    room.assert_gone();
}

#[test]
fn a_client_that_goes_while_the_program_does_not_read() {
    let Some(room) = Room::new() else { return };
    let mut child =
        bare(&room, &["run", "-i", "--name", "deaf", "--network", "none", "./rootfs", "sleep", "1000"])
            .stdin(Stdio::from(fs::File::open("/dev/zero").expect("file")))
            .stdout(Stdio::null())
            .spawn()
            .expect("box");
    wait_for("its start", || room.state("deaf") == "running");
    std::thread::sleep(Duration::from_millis(500));
    let pid = monitor(&room, "deaf");
    assert_idle(pid);
    child.kill().expect("kill");
    child.wait().expect("box");
    assert_idle(pid);
    room.call(&["rm", "-f", "deaf"]).ok();
    room.assert_gone();
}

/// More clients than there are descriptors wait, and nobody spins.
#[test]
fn more_clients_than_descriptors() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "busy"], &["sleep", "1000"]);
    let pid = monitor(&room, "busy");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("fd").count();
    let limit = format!("--nofile={}:", open + 2);
    assert!(
        Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &limit])
            .status()
            .expect("prlimit")
            .success()
    );
    let path = socket(&room, "busy");
    let clients: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&path).expect("connect")).collect();
    assert_idle(pid);
    drop(clients);
    assert!(
        Command::new("prlimit")
            .args(["--pid", &pid.to_string(), "--nofile=64:"])
            .status()
            .expect("prlimit")
            .success()
    );
    room.call(&["stop", "-t", "0", "busy"]).ok();
    assert_eq!(room.state("busy"), "exited");
    room.call(&["rm", "busy"]).ok();
    room.assert_gone();
}

/// What has outlived the program and writes on does not keep its end from being recorded.
#[test]
fn an_endless_writer_behind_the_end() {
    let Some(room) = Room::new() else { return };
    let script = "yes & yes & yes & yes & exec sh -c 'sleep 0.3; echo last >&2; exit 3'";
    room.start(&["--name", "chatty", "--pid", "host"], &["sh", "-c", script]);
    let began = Instant::now();
    assert_eq!(room.call(&["wait", "chatty"]).ok(), "3\n");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(room.call(&["logs", "chatty"]).stderr.ends_with("last\n"));
    room.call(&["rm", "chatty"]).ok();
    room.assert_gone();
}

/// One container whose files are broken keeps no command from the others.
#[test]
fn a_broken_folder() {
    let Some(room) = Room::new() else { return };
    room.call(&["create", "--name", "whole", "--network", "none", "./rootfs", "true"]).ok();
    for file in ["progress.json", "container.json"] {
        let made = room.call(&["create", "--name", "broken", "--network", "none", "./rootfs", "true"]).ok();
        let (id, short) = (made.trim(), &made[..12]);
        let folder = room.data().join("containers").join(id);
        let _ = fs::remove_file(folder.join(file));
        // A link to itself leads nowhere.
        std::os::unix::fs::symlink(file, folder.join(file)).expect("link");
        let warned = |output: crate::harness::Output, status: i32| {
            let output = output.exits(status);
            assert!(output.stderr.contains(&format!("container {short}: ")), "{}", output.stderr);
            assert!(output.stderr.contains(file), "{}", output.stderr);
            output.stdout
        };
        assert!(warned(room.call(&["ps", "-a"]), 0).contains("whole"));
        let run = room.call(&["run", "--rm", "--network", "none", "./rootfs", "echo", "well"]);
        assert_eq!(run.exits(0).stdout, "well\n");
        room.call(&["start", "-a", "whole"]).exits(0);
        warned(room.call(&["stats", "-a", "--no-stream"]), 0);
        warned(room.call(&["system", "df"]), 0);
        room.call(&["info"]).exits(0);
        warned(room.call(&["boot"]), if file == "container.json" { 1 } else { 0 });
        room.call(&["network", "prune", "-f"]).exits(0);
        room.call(&["volume", "prune", "-f"]).exits(0);
        // It can be removed nevertheless.
        room.call(&["rm", id]).exits(1);
        room.call(&["rm", "-f", id]).exits(0);
        room.call(&["ps", "-a"]).ok();
    }
    room.call(&["rm", "whole"]).ok();
    assert_eq!(fs::read_dir(room.data().join("names")).expect("names").count(), 0);
    room.assert_gone();
}

/// At the moment of its end a container runs or has ended, and is never lost.
#[test]
fn an_end_that_is_looked_at() {
    let Some(room) = Room::new() else { return };
    for number in 0..25 {
        let name = format!("short-{number}");
        room.start(&["--name", &name], &["sleep", "0.05"]);
        let mut seen = Vec::new();
        while seen.last().is_none_or(|state| state != "exited") {
            let said = room.call(&["inspect", "-f", "{{.State.Status}}", &name]).ok();
            seen.push(said.trim().to_string());
            seen.push(room.state(&name));
        }
        assert!(seen.iter().all(|state| state == "running" || state == "exited"), "{seen:?}");
        // It is its monitor's no more.
        room.call(&["start", &name]).ok();
        let late = room.call(&["exec", &name, "sleep", "1"]);
        assert!(late.status == 137 || late.stderr.contains("not running"), "{late:?}");
        room.call(&["stop", &name]).ok();
        room.call(&["rm", &name]).ok();
    }
    room.assert_gone();
}

/// Whatever becomes of the command that stops its processes, they go on.
#[test]
fn a_commit_that_fails() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    let run = ["run", "-d", "--name", "works", "--network", "none", "rootfs.tar", "sh", "-c"];
    let script = "dd if=/dev/zero of=/large bs=1M count=24 2>/dev/null; sleep 1000";
    room.call(&[&run[..], &[script]].concat()).ok();
    wait_for("its file", || {
        room.call(&["exec", "works", "stat", "-c", "%s", "/large"]).stdout == "25165824\n"
    });
    let upper = room.data().join("containers").join(id(&room, "works")).join("upper");
    fs::rename(&upper, upper.with_file_name("aside")).expect("rename");
    std::os::unix::fs::symlink("nowhere", &upper).expect("link");
    room.call(&["commit", "works", "mine"]).exits(1);
    fs::remove_file(&upper).expect("link");
    fs::rename(upper.with_file_name("aside"), &upper).expect("rename");
    assert_eq!(room.state("works"), "running");
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        for delay in [5, 15, 25, 40] {
            let mut child = bare(&room, &["commit", "works", "mine"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("box");
            std::thread::sleep(Duration::from_millis(delay));
            let _ = kill_process(Pid::from_raw(child.id().cast_signed()).expect("pid"), signal);
            child.wait().expect("box");
            assert_eq!(room.state("works"), "running", "{signal:?} after {delay} ms");
        }
    }
    // What its user stops stays so.
    room.call(&["pause", "works"]).ok();
    room.call(&["commit", "works", "mine"]).exits(0);
    assert_eq!(room.state("works"), "paused");
    room.call(&["rm", "-f", "works"]).ok();
    room.assert_gone();
}

/// What a container writes into its files of names takes room on its disk, and not of the host's memory.
#[test]
fn names_that_are_much() {
    let Some(room) = Room::new() else { return };
    let script = "for name in hosts hostname resolv.conf; do dd if=/dev/zero of=/etc/$name bs=1M count=3; done; sleep 1000";
    room.start(&["--name", "writer"], &["sh", "-c", script]);
    let folder = room.data().join("containers").join(id(&room, "writer")).join("names");
    wait_for("its files", || {
        let length = |name: &str| fs::metadata(folder.join(name)).map_or(0, |status| status.len());
        ["hosts", "hostname", "resolv.conf"].iter().all(|name| length(name) == 3 << 20)
    });
    let usage = Command::new("du").arg("-sk").arg(room.folder.join("runtime/pillbox")).output().expect("du");
    let kilobytes = String::from_utf8_lossy(&usage.stdout).split_whitespace().next().map(str::to_string);
    assert!(
        kilobytes.is_some_and(|kilobytes| kilobytes.parse::<u64>().is_ok_and(|kilobytes| kilobytes < 512))
    );
    // They are written anew at the next start, and go with the container.
    room.call(&["stop", "-t", "0", "writer"]).ok();
    room.call(&["start", "writer"]).ok();
    room.call(&["rm", "-f", "writer"]).ok();
    room.assert_gone();
}

/// Arguments need not be text, and are not obeyed by the terminal.
#[test]
fn arguments_of_any_bytes() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "odd"], &["sleep", "1000"]);
    let script = "exec sh -c 'sleep 1000; :' \"$(printf 'odd\\377\\033[1m')\"";
    room.call(&["exec", "-d", "odd", "sh", "-c", script]).ok();
    wait_for("its line", || room.call(&["top", "odd"]).ok().contains("odd\u{fffd}?[1m"));
    room.call(&["rm", "-f", "odd"]).ok();
    room.assert_gone();
}

/// Without a limit a program has as long as it takes.
#[test]
fn an_end_that_takes_its_time() {
    let Some(room) = Room::new() else { return };
    let script = "trap 'sleep 0.5; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    room.start(&["--name", "slow"], &["sh", "-c", script]);
    wait_for("its trap", || room.call(&["logs", "slow"]).stdout == "ready\n");
    for wrong in ["-2", "101y", "1000000h", "soon"] {
        room.call(&["stop", "-t", wrong, "slow"]).fails(125, &format!("--timeout {wrong}: must be a time"));
    }
    room.call(&["stop", "-t", "-1", "slow"]).ok();
    assert_eq!(room.call(&["wait", "slow"]).ok(), "4\n");
    room.call(&["rm", "slow"]).ok();
    room.assert_gone();
}

/// Of many containers that are at rest the records are not read again; one that is started is no longer of them.
#[test]
fn one_of_many_that_rested() {
    let Some(room) = Room::new() else { return };
    let rootfs = room.rootfs();
    let rootfs = rootfs.to_str().expect("text");
    for number in 0..40 {
        room.call(&[
            "create",
            "--network",
            "none",
            "--name",
            &format!("resting-{number}"),
            rootfs,
            "sleep",
            "1000",
        ])
        .ok();
    }
    let noted = room.data().join("containers/.at-rest");
    // What has changed a moment ago is not noted.
    wait_for("a note", || {
        room.call(&["ps"]).ok();
        noted.exists()
    });
    let count = |flags: &[&str]| room.call(&[&["ps", "-q"], flags].concat()).ok().lines().count();
    room.call(&["start", "resting-7"]).ok();
    assert_eq!((count(&[]), count(&["-a"])), (1, 40));
    kill(&room, "resting-7");
    // The command that finds the container without its monitor starts another one, and has waited for it.
    assert_eq!(count(&[]), 1);
    room.call(&["kill", "resting-7"]).ok();
    assert_eq!(room.call(&["wait", "resting-7"]).ok(), "137\n");
    // Whatever stands in the note, it is only right of what has not changed since.
    for text in ["", "torn", &"x".repeat(56 * 40)] {
        fs::write(&noted, text).expect("note");
        assert_eq!((count(&[]), count(&["-a"])), (0, 40));
    }
    room.call(&["system", "check"]).ok();
    fs::create_dir(room.data().join("containers").join("ab".repeat(32)))
        .expect("a folder that was never complete");
    assert_eq!(count(&["-a"]), 40);
    assert!(!room.data().join("containers").join("ab".repeat(32)).exists());
    let names = room.call(&["ps", "-aq"]).ok();
    room.call(&[&["rm", "-f"][..], &names.lines().collect::<Vec<_>>()].concat()).ok();
    assert_eq!(count(&["-a"]), 0);
    room.assert_gone();
}

/// A list of many at rest is the same whether their records are read, or what is noted of them, and whatever stands there.
#[test]
fn a_list_of_many_that_rest() {
    let Some(room) = Room::new() else { return };
    let rootfs = room.rootfs();
    let rootfs = rootfs.to_str().expect("text");
    for number in 0..40 {
        let (name, label) = (format!("resting-{number}"), format!("number={number}"));
        let flags = ["create", "--network", "none", "--name", &name, "--label", &label, "--expose", "80"];
        room.call(
            &[&flags[..], &["-v", "data:/data", "--tmpfs", "/t", rootfs, "sh", "-c", "exit 3"]].concat(),
        )
        .ok();
    }
    let noted = room.data().join("containers/.summaries");
    let list = || room.call(&["ps", "-a", "--no-trunc", "--format", "json"]).ok();
    // When they were made is told in words.
    let lasting = |list: &str| {
        let lines = list.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let without = |mut line: serde_json::Value| {
            let words = |name: &str| ["Status", "RunningFor"].contains(&name);
            line.as_object_mut().expect("an object").retain(|name, _| !words(name));
            line
        };
        lines.map(without).collect::<Vec<_>>()
    };
    let read = list();
    wait_for("notes", || {
        room.call(&["ps", "-a"]).ok();
        noted.exists()
    });
    let text = fs::read(&noted).expect("notes");
    assert_eq!(lasting(&list()), lasting(&read));
    let counted = |filter: &str| room.call(&["ps", "-aq", "--filter", filter]).ok().lines().count();
    for (filter, count) in
        [("volume=data", 40), ("volume=/t", 40), ("expose=80", 40), ("expose=81", 0), ("label=number=7", 1)]
    {
        assert_eq!(counted(filter), count, "{filter}");
    }
    // What changes is read again.
    room.call(&["rename", "resting-7", "other"]).ok();
    assert_eq!(room.call(&["start", "-a", "resting-8"]).status, 3);
    let changed = list();
    assert!(changed.contains("\"other\"") && !changed.contains("\"resting-7\""), "{changed}");
    assert_eq!((counted("exited=3"), counted("status=created")), (1, 39));
    let middle = text.len() / 2;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = text.clone();
        change(&mut changed);
        changed
    };
    for wrong in [
        Vec::new(),
        b"torn".to_vec(),
        text[..middle].to_vec(),
        with(&|text| text[56..60].fill(0xff)),
        with(&|text| text[middle..].fill(0)),
        with(&|text| text[60] = b'['),
    ] {
        fs::write(&noted, wrong).expect("notes");
        assert_eq!(lasting(&list()), lasting(&changed));
    }
    fs::remove_file(&noted).expect("notes");
    assert_eq!(lasting(&list()), lasting(&changed));
    let names = room.call(&["ps", "-aq"]).ok();
    room.call(&[&["rm", "-f"][..], &names.lines().collect::<Vec<_>>()].concat()).ok();
    assert_eq!(room.call(&["ps", "-aq"]).ok(), "");
    room.call(&["volume", "rm", "data"]).ok();
    room.assert_gone();
}
