//! Containers that outlive their command: monitors, logs, attaching, exec.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Room, finish, wait_for};

#[test]
fn a_life() {
    let Some(room) = Room::new() else { return };
    let id = room.start(&["--name", "web"], &["sh", "-c", "echo out; echo err >&2; sleep 1000"]);
    assert_eq!(id.len(), 64);
    assert_eq!(room.state("web"), "running");
    let listed = room.call(&["ps"]).ok();
    assert!(
        listed.contains(&id[..12]) && listed.contains("\"sh -c echo out; ech…\"") && listed.contains("Up "),
        "{listed}"
    );
    wait_for("output", || room.call(&["logs", "web"]).stdout == "out\n");
    assert_eq!(room.call(&["logs", "web"]).stderr, "err\n");
    // By name, by id and by the beginning of that; nothing else is it.
    for name in ["web", &id, &id[..5]] {
        assert_eq!(room.call(&["exec", name, "hostname"]).ok(), format!("{}\n", &id[..12]));
    }
    room.call(&["rm", "web"]).fails(1, "it is running: stop it first, or say --force");
    assert_eq!(room.call(&["start", "web"]).ok(), "web\n");
    for command in [
        &["exec", "nonesuch", "true"][..],
        &["logs", "nonesuch"],
        &["attach", "nonesuch"],
        &["start", "nonesuch"],
        &["start", "-a", "nonesuch"],
        &["wait", "nonesuch"],
        &["top", "nonesuch"],
        &["diff", "nonesuch"],
        &["cp", "nonesuch:/x", "."],
        &["export", "-o", "x.tar", "nonesuch"],
        &["commit", "nonesuch"],
        &["port", "nonesuch"],
        &["container", "inspect", "nonesuch"],
        &["stop", "nonesuch"],
        &["kill", "nonesuch"],
        &["rename", "nonesuch", "x"],
    ] {
        room.call(command).fails(1, "No such container: nonesuch");
    }
    // It is a shell that hears no TERM.
    let began = Instant::now();
    assert_eq!(room.call(&["stop", "-t", "1", "web"]).ok(), "web\n");
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert_eq!(room.state("web"), "exited");
    assert!(room.call(&["ps"]).ok().lines().count() == 1);
    assert!(room.call(&["ps", "-a"]).ok().contains("Exited (137)"));
    room.call(&["exec", "web", "true"]).fails(1, "it is not running, but exited");
    assert_eq!(room.call(&["stop", "web"]).ok(), "web\n");
    room.call(&["kill", "web"]).fails(1, "it is not running");
    assert_eq!(room.call(&["wait", "web"]).ok(), "137\n");
    room.call(&["rm", "web"]).ok();
    assert_eq!(room.state("web"), "");
    room.call(&["rm", "web"]).fails(1, "No such container: web");
    room.call(&["rm", "-f", "web"]).ok();
    room.assert_gone();
}

#[test]
fn changes_stay_from_start_to_start() {
    let Some(room) = Room::new() else { return };
    let script = "echo x >>/count; wc -l </count; cat /etc/hostname >/dev/null";
    let id =
        room.call(&["create", "--name", "counter", "--network", "none", "./rootfs", "sh", "-c", script]).ok();
    assert_eq!(room.state("counter"), "created");
    for round in 1..=3 {
        let said = room.call(&["start", "-a", "counter"]).ok();
        assert_eq!(said.trim(), round.to_string());
    }
    assert_eq!(room.call(&["logs", "counter"]).ok().split_whitespace().collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(room.call(&["logs", "--tail", "1", "counter"]).ok().trim(), "3");
    room.call(&["rm", id.trim()]).ok();
    room.assert_gone();
}

#[test]
fn what_cannot_be_started_says_why() {
    let Some(room) = Room::new() else { return };
    let run =
        |program: &str| room.call(&["run", "--network", "none", "--name", "broken", "./rootfs", program]);
    run("nonesuch").fails(127, "nonesuch");
    assert_eq!(room.state("broken"), "exited");
    run("true").fails(125, "--name broken: container ");
    room.call(&["rm", "broken"]).ok();
    room.call(&["run", "-d", "--network", "none", "--name", "broken", "./rootfs", "/etc/passwd"])
        .fails(126, "permission denied");
    room.call(&["rm", "broken"]).ok();
    room.call(&["run", "-d", "--rm", "--network", "none", "./rootfs", "nonesuch"]).fails(127, "nonesuch");
    room.assert_gone();
}

#[test]
fn one_that_goes_by_itself() {
    let Some(room) = Room::new() else { return };
    room.start(&["--rm", "--name", "short"], &["sleep", "0.2"]);
    assert_eq!(room.state("short"), "running");
    wait_for("its end", || room.state("short").is_empty());
    room.assert_gone();
}

#[test]
fn in_the_foreground_it_is_kept() {
    let Some(room) = Room::new() else { return };
    let mut command = room.command(&[
        "run",
        "-i",
        "--name",
        "kept",
        "--network",
        "none",
        "./rootfs",
        "sh",
        "-c",
        "cat; echo wrong >&2; exit 9",
    ]);
    command.stdin(Stdio::from(fs::File::open(room.rootfs().join("etc/group")).expect("file")));
    let output = finish(&mut command).exits(9);
    let group = fs::read_to_string(room.rootfs().join("etc/group")).expect("file");
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), (group.as_str(), "wrong\n"));
    assert_eq!(room.call(&["logs", "kept"]).stdout, group);
    // Signals reach the program, also behind input that it does not read.
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = room
        .command(&["run", "-i", "--name", "signalled", "--network", "none", "./rootfs", "sh", "-c", script])
        .stdin(Stdio::from(fs::File::open("/dev/zero").expect("file")))
        .stdout(Stdio::piped())
        .spawn()
        .expect("box");
    let mut stdout = child.stdout.take().expect("stdout");
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).expect("ready");
    kill_process(Pid::from_raw(child.id() as i32).expect("pid"), Signal::TERM).expect("kill");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("output");
    assert_eq!(rest, "got it\n");
    child.wait().expect("box");
    assert!(room.call(&["ps", "-a"]).ok().contains("Exited (5)"));
    room.call(&["rm", "kept", "signalled"]).ok();
    room.assert_gone();
}

/// A command that is killed leaves the container to its monitor.
#[test]
fn a_killed_command_does_not_end_it() {
    let Some(room) = Room::new() else { return };
    let mut child = room
        .command(&[
            "run",
            "--name",
            "stays",
            "--network",
            "none",
            "./rootfs",
            "sh",
            "-c",
            "while :; do echo tick; sleep 0.05; done",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("box");
    let mut stdout = child.stdout.take().expect("stdout");
    let mut tick = [0; 5];
    stdout.read_exact(&mut tick).expect("output");
    kill_process(Pid::from_raw(child.id() as i32).expect("pid"), Signal::KILL).expect("kill");
    child.wait().expect("timeout");
    drop(stdout);
    let count = || room.call(&["logs", "stays"]).ok().lines().count();
    let before = count();
    wait_for("more output", || count() > before + 2);
    assert_eq!(room.state("stays"), "running");
    room.call(&["rm", "-f", "stays"]).ok();
    room.assert_gone();
}

fn monitors(room: &Room) -> Vec<u32> {
    let folder = format!("{}/", room.folder.display());
    let pids = crate::host::processes_naming(&folder);
    let is_one = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"box-monitor\0"))
    };
    pids.into_iter().filter(is_one).collect()
}

/// Whoever ends the cgroup of the command does not end the monitor.
#[test]
fn a_monitor_is_not_in_its_commands_cgroup() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "apart"], &["sleep", "1000"]);
    let [monitor] = monitors(&room)[..] else { panic!("{:?}", monitors(&room)) };
    let cgroup = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let own = |text: &str| text.lines().find(|line| line.starts_with("0::")).map(str::to_string);
    let found = own(&cgroup(&monitor.to_string())).expect("a v2 cgroup");
    assert!(found.ends_with("-engine/box-monitors"), "{found}");
    assert_ne!(Some(found), own(&cgroup("self")));
    room.call(&["rm", "-f", "apart"]).ok();
    room.assert_gone();
}

/// A monitor that is killed is replaced by the next command, and no output is lost but what it had read.
#[test]
fn a_killed_monitor_is_replaced() {
    let Some(room) = Room::new() else { return };
    let script = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i; sleep 0.01; done; exit 3";
    room.start(&["--name", "orphan"], &["sh", "-c", script]);
    wait_for("output", || room.call(&["logs", "orphan"]).stdout.contains("line 10\n"));
    let [monitor] = monitors(&room)[..] else { panic!("{:?}", monitors(&room)) };
    kill_process(Pid::from_raw(monitor as i32).expect("pid"), Signal::KILL).expect("kill");
    wait_for("its end", || monitors(&room).is_empty());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(room.state("orphan"), "running");
    let status = room.call(&["wait", "orphan"]).ok();
    // Linux before 6.15 tells a status to the parent alone.
    assert!(["3\n", "255\n"].contains(&&*status), "{status}");
    let said = room.call(&["logs", "orphan"]).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.last(), Some(&"line 200"));
    assert!(lines.len() >= 195, "{} lines", lines.len());
    room.call(&["rm", "orphan"]).ok();
    room.assert_gone();
}

#[test]
fn following_a_log() {
    let Some(room) = Room::new() else { return };
    let script = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; sleep 0.02; done; printf end";
    room.start(&["--name", "talker"], &["sh", "-c", script]);
    let said = room.call(&["logs", "-f", "talker"]).ok();
    let expected: String = (1..=20).map(|number| format!("line {number}\n")).collect();
    assert_eq!(said, expected + "end");
    let said = room.call(&["logs", "--timestamps", "--tail", "2", "talker"]).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].ends_with("Z line 20") && lines[1].ends_with("Z end"), "{said}");
    // A reader who has enough is no error.
    let mut command = room.command(&["logs", "-f", "talker"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("box");
    drop(child.stdout.take());
    assert!(child.wait().expect("box").success());
    room.call(&["logs", "nonesuch"]).fails(1, "No such container");
    room.call(&["rm", "talker"]).ok();
    room.assert_gone();
}

#[test]
fn much_output_is_complete() {
    let Some(room) = Room::new() else { return };
    let script = "yes 0123456789012345678901234567890123456789 | head -n 100000";
    let output =
        room.call(&["run", "--name", "loud", "--network", "none", "./rootfs", "sh", "-c", script]).ok();
    assert_eq!(output.lines().count(), 100_000);
    assert!(output.lines().all(|line| line == "0123456789012345678901234567890123456789"));
    assert_eq!(room.call(&["logs", "loud"]).ok().len(), output.len());
    room.call(&["rm", "loud"]).ok();
    room.assert_gone();
}

/// Somebody who pages through the output loses nothing of it, and keeps nobody from seeing the end.
#[test]
fn a_slow_reader_gets_everything() {
    let Some(room) = Room::new() else { return };
    let script = "yes 0123456789 | head -c 400000; exit 7";
    let mut command =
        room.command(&["run", "--name", "paged", "--network", "none", "./rootfs", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("box");
    wait_for("its end", || room.state("paged") == "exited");
    let mut stdout = child.stdout.take().expect("stdout");
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("output");
    assert_eq!((text.len(), child.wait().expect("box").code()), (400_000, Some(7)));
    room.call(&["rm", "paged"]).ok();
    room.assert_gone();
}

/// What goes in comes out, however much it is: neither end waits for the other while that waits for it.
#[test]
fn a_pipeline_through_a_container() {
    let Some(room) = Room::new() else { return };
    let pipeline = format!(
        "head -c 20000000 /dev/zero | {} | wc -c",
        room.command(&[
            "run",
            "-i",
            "--name",
            "pipe",
            "--log-driver",
            "none",
            "--network",
            "none",
            "./rootfs",
            "cat"
        ])
        .get_args()
        .skip_while(|word| !word.to_string_lossy().ends_with("/box"))
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
    );
    let mut command = std::process::Command::new("timeout");
    command.args(["30", "sh", "-c", &pipeline]).current_dir(&room.folder);
    assert_eq!(finish(&mut command).ok().trim(), "20000000");
    room.call(&["rm", "pipe"]).ok();
    room.assert_gone();
}

#[test]
fn the_log_rotates() {
    let Some(room) = Room::new() else { return };
    // 45 MB, of which the last 20 to 30 are kept.
    let script = "yes 0123456789012345678901234567890123456789012345 | head -c 45000000; echo last";
    room.start(&["--name", "endless"], &["sh", "-c", script]);
    room.call(&["wait", "endless"]).ok();
    let kept = room.call(&["logs", "endless"]).ok();
    assert!((19_000_000..32_000_000).contains(&kept.len()), "{}", kept.len());
    assert!(kept.ends_with("last\n"));
    room.call(&["rm", "endless"]).ok();
    let flags = ["--name", "small", "--log-opt", "max-size=64k", "--log-opt", "max-file=2"];
    room.start(&flags, &["sh", "-c", script]);
    room.call(&["wait", "small"]).ok();
    let kept = room.call(&["logs", "small"]).ok();
    assert!((60_000..270_000).contains(&kept.len()) && kept.ends_with("last\n"), "{}", kept.len());
    room.start(&["--name", "silent", "--log-driver", "none"], &["echo", "nothing"]);
    room.call(&["wait", "silent"]).ok();
    room.call(&["logs", "silent"]).fails(125, "--log-driver none");
    room.call(&["run", "--log-driver", "fluentd", "./rootfs", "true"]).fails(125, "--log-driver fluentd");
    room.call(&["rm", "small", "silent"]).ok();
    room.assert_gone();
}

#[test]
fn attaching() {
    let Some(room) = Room::new() else { return };
    // That of run -d would stay open.
    let script = "while read line; do echo got $line; done; echo end; exit 4";
    let create = ["create", "-i", "--name", "echo", "--network", "none", "./rootfs", "sh", "-c", script];
    room.call(&create).exits(0);
    room.call(&["start", "echo"]).ok();
    let mut child =
        room.command(&["attach", "echo"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("box");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(b"one\ntwo\n").expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("box");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got one\ngot two\nend\n");
    assert_eq!(output.status.code(), Some(4));
    room.call(&["attach", "echo"]).fails(1, "it is not running, but exited");
    room.call(&["rm", "echo"]).ok();
    room.assert_gone();
}

#[test]
fn more_programs_in_a_container() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "busy", "-e", "OWN=1", "-w", "/tmp", "-u", "web"], &["sleep", "1000"]);
    let exec = |arguments: &[&str]| room.call(&[&["exec"], arguments].concat());
    assert_eq!(
        exec(&["-e", "MORE=2", "busy", "sh", "-c", "echo $OWN $MORE; pwd; id -u"]).ok(),
        "1 2\n/tmp\n33\n"
    );
    assert_eq!(exec(&["-u", "root", "-w", "/", "busy", "sh", "-c", "pwd; id -u"]).ok(), "/\n0\n");
    exec(&["busy", "sh", "-c", "exit 6"]).exits(6);
    exec(&["busy", "nonesuch"]).fails(127, "nonesuch");
    exec(&["busy", "/etc/passwd"]).fails(126, "permission denied");
    exec(&["-u", "nobody", "busy", "true"]).fails(125, "--user nobody");
    assert_eq!(exec(&["-d", "busy", "touch", "/tmp/made"]).ok(), "");
    wait_for("the file", || exec(&["busy", "stat", "/tmp/made"]).status == 0);
    // It is seen as the container's own program sees it.
    let status = exec(&["-u", "root", "busy", "cat", "/proc/self/status"]).ok();
    assert_eq!(crate::host::status_field(&status, "CapEff"), "00000000a80425fb");
    assert_eq!(crate::host::status_field(&status, "Seccomp"), "2");
    let status = exec(&["-u", "root", "--privileged", "busy", "cat", "/proc/self/status"]).ok();
    assert_ne!(crate::host::status_field(&status, "CapEff"), "00000000a80425fb");
    room.call(&["rm", "-f", "busy"]).ok();
    room.assert_gone();
}

#[test]
fn pausing() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "clock"], &["sh", "-c", "while :; do echo tick; sleep 0.02; done"]);
    room.call(&["pause", "clock"]).ok();
    assert_eq!(room.state("clock"), "paused");
    for flags in [&[][..], &["-d"]] {
        let exec = room.call(&[&["exec"], flags, &["clock", "true"]].concat());
        exec.fails(1, "container clock: it is paused: box unpause clock");
    }
    let count = || room.call(&["logs", "clock"]).ok().lines().count();
    std::thread::sleep(Duration::from_millis(50));
    let before = count();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(count(), before);
    room.call(&["unpause", "clock"]).ok();
    wait_for("more", || count() > before);
    room.call(&["pause", "clock"]).ok();
    // One that is paused is stopped all the same.
    room.call(&["stop", "-t", "1", "clock"]).ok();
    assert_eq!(room.state("clock"), "exited");
    room.call(&["restart", "clock"]).ok();
    assert_eq!(room.state("clock"), "running");
    room.call(&["rm", "-f", "clock"]).ok();
    room.assert_gone();
}

/// Removing and starting the same ones at once: each ends with an answer, and nothing is left.
#[test]
fn many_at_once() {
    let Some(room) = Room::new() else { return };
    std::thread::scope(|scope| {
        for number in 0..6 {
            let room = &room;
            scope.spawn(move || {
                let name = format!("many-{number}");
                room.start(&["--name", &name], &["sleep", "1000"]);
                room.call(&["rm", "-f", &name]).ok();
            });
        }
    });
    room.start(&["--name", "one"], &["sleep", "1000"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| room.call(&["rm", "-f", "one"]).exits(0));
        }
    });
    room.assert_gone();
}

#[test]
fn restarting() {
    let Some(room) = Room::new() else { return };
    room.start(
        &["--name", "fails", "--restart", "on-failure:2"],
        &["sh", "-c", "echo x >>/runs; wc -l </runs; exit 3"],
    );
    wait_for("the last end", || room.state("fails") == "exited");
    let runs =
        || room.call(&["logs", "fails"]).ok().split_whitespace().map(str::to_string).collect::<Vec<_>>();
    assert_eq!(runs(), ["1", "2", "3"]);
    assert_eq!(room.call(&["wait", "fails"]).ok(), "3\n");
    // One that is started by hand has all its attempts again.
    room.call(&["start", "fails"]).ok();
    wait_for("the last end", || room.state("fails") == "exited" && runs().len() == 6);

    room.start(&["--name", "always", "--restart", "always"], &["sh", "-c", "echo run; sleep 0.1"]);
    let count = || room.call(&["logs", "always"]).ok().lines().count();
    wait_for("a second run", || count() >= 2);
    // Stopped between two runs as well as within one.
    wait_for("a pause", || room.state("always") == "restarting");
    room.call(&["stop", "-t", "0", "always"]).ok();
    assert_eq!(room.state("always"), "exited");
    let before = count();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((count(), room.state("always").as_str()), (before, "exited"));
    // A monitor that is killed before it starts the program again is replaced.
    room.call(&["start", "always"]).ok();
    wait_for("a pause", || room.state("always") == "restarting");
    for monitor in monitors(&room) {
        kill_process(Pid::from_raw(monitor as i32).expect("pid"), Signal::KILL).expect("kill");
    }
    let before = count();
    wait_for("another run", || count() > before);
    room.call(&["stop", "-t", "0", "always"]).ok();
    let before = count();
    // What is to run when the machine does.
    assert_eq!(room.call(&["boot"]).ok(), "always\n");
    wait_for("another run", || count() > before);
    room.call(&["rm", "-f", "always", "fails"]).ok();

    room.start(&["--name", "stays", "--restart", "unless-stopped"], &["sleep", "1000"]);
    room.call(&["kill", "stays"]).ok();
    wait_for("its end", || room.state("stays") == "exited");
    assert_eq!(room.call(&["boot"]).ok(), "");
    let refused = room.call(&["run", "--rm", "--restart", "always", "./rootfs", "true"]);
    refused.fails(125, "--restart always: with --rm");
    room.call(&["run", "--restart", "sometimes", "./rootfs", "true"]).fails(125, "--restart sometimes");
    room.call(&["rm", "stays"]).ok();
    room.assert_gone();
}

/// On a full disk the log stops, and says so; the container does not, and its end is known.
#[test]
fn a_full_disk_stops_the_log_alone() {
    let Some(room) = Room::new() else { return };
    let small = room.folder.join("home/.local/share");
    fs::create_dir_all(&small).expect("folder");
    let mut mount = std::process::Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small);
    assert!(mount.status().expect("mount").success());
    let script = "yes 0123456789 | head -c 8000000; exit 6";
    room.start(&["--name", "quiet", "--restart", "always"], &["sleep", "1000"]);
    room.start(&["--name", "loud"], &["sh", "-c", script]);
    assert_eq!(room.call(&["wait", "loud"]).ok(), "6\n");
    assert_eq!(room.state("loud"), "exited");
    // What the log has left of the disk.
    let mut rest = fs::File::create(small.join("rest")).expect("file");
    while rest.write_all(&[0; 4096]).is_ok() {}
    room.call(&["run", "--rm", "--network", "none", "./rootfs", "true"])
        .fails(125, "no space left on device");
    let logged = room.call(&["logs", "loud"]).exits(0);
    assert!(logged.stdout.len() < 2 << 20, "{}", logged.stdout.len());
    // A container can be stopped there, and stays so.
    room.call(&["stop", "-t", "0", "quiet"]).ok();
    assert_eq!(room.state("quiet"), "exited");
    room.call(&["rm", "loud", "quiet"]).ok();
    room.run(&[], &["true"]).ok();
    drop(rest);
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(unmounted.expect("umount").success());
}

#[test]
fn health() {
    let Some(room) = Room::new() else { return };
    let status = || room.call(&["ps", "--format", "{{.Status}}"]).ok();
    let flags = [
        "--name",
        "sick",
        "--health-interval",
        "50ms",
        "--health-retries",
        "2",
        "--health-cmd",
        "test -e /well",
    ];
    room.start(&flags, &["sleep", "1000"]);
    wait_for("two failures", || status().ends_with("(unhealthy)\n"));
    room.call(&["exec", "sick", "touch", "/well"]).ok();
    wait_for("a good look", || status().ends_with("(healthy)\n"));
    // One that is paused is not looked at, and stays as it was.
    room.call(&["pause", "sick"]).ok();
    std::thread::sleep(Duration::from_millis(300));
    assert!(status().ends_with("(Paused) (healthy)\n"), "{}", status());
    room.call(&["unpause", "sick"]).ok();
    room.call(&["rm", "-f", "sick"]).ok();
    // A look that takes too long is a failure, and the next one waits for its end.
    let flags =
        ["--name", "slow", "--health-interval", "10ms", "--health-timeout", "100ms", "--health-retries", "1"];
    let script = "echo x >>/looks; sleep 100";
    room.start(&[&flags[..], &["--health-cmd", script]].concat(), &["sleep", "1000"]);
    wait_for("a failure", || status().ends_with("(unhealthy)\n"));
    let running = room.call(&["exec", "slow", "ps"]).ok();
    assert!(running.matches("sleep 100\n").count() <= 1, "{running}");
    room.call(&["rm", "-f", "slow"]).ok();
    room.start(&["--name", "off", "--no-healthcheck", "--health-cmd", "false"], &["sleep", "1000"]);
    assert!(!status().contains("health"), "{}", status());
    room.call(&["rm", "-f", "off"]).ok();
    room.call(&["run", "--health-interval", "soon", "./rootfs", "true"]).fails(125, "--health-interval soon");
    room.assert_gone();
}

/// In /tmp anybody may have made the folder before.
#[test]
fn a_runtime_folder_of_somebody_else_is_refused() {
    let Some(room) = Room::new() else { return };
    let folder = room.folder.join("runtime/pillbox");
    fs::create_dir(&folder).expect("folder");
    std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).expect("chown");
    let run = ["run", "-d", "--network", "none", "./rootfs", "true"];
    room.call(&run).fails(125, "it is another user's");
    assert_eq!(fs::read_dir(&folder).expect("folder").count(), 0);
    fs::remove_dir(&folder).expect("rmdir");
    let ids = room.call(&["ps", "-a", "-q"]).ok();
    room.call(&["rm", ids.trim()]).ok();
    room.assert_gone();
}

/// Who is attached and takes nothing, as if stopped or a pager, keeps nobody else from the end.
#[test]
fn nobody_waits_for_a_client_that_reads_nothing() {
    let Some(room) = Room::new() else { return };
    let folder = room.data().join("containers");
    for (name, restart) in [("once", "no"), ("always", "always")] {
        let flags = ["run", "--name", name, "--restart", restart, "--network", "none", "./rootfs", "yes"];
        let mut client = room.command(&flags).stdout(Stdio::piped()).spawn().expect("box");
        wait_for("the container", || room.state(name) == "running");
        // Until everything on the way is full.
        std::thread::sleep(Duration::from_millis(700));
        let began = Instant::now();
        room.call(&["stop", "-t", "0", name]).ok();
        assert_eq!(
            (room.state(name).as_str(), room.call(&["wait", name]).ok().as_str()),
            ("exited", "137\n")
        );
        let mut again = room.command(&["start", "-a", name]).stdout(Stdio::piped()).spawn().expect("box");
        wait_for("the container", || room.state(name) == "running");
        std::thread::sleep(Duration::from_millis(700));
        room.call(&["rm", "-f", name]).ok();
        assert!(began.elapsed() < Duration::from_secs(6), "{name}: {:?}", began.elapsed());
        assert_eq!(fs::read_dir(&folder).expect("containers").count(), 0, "{name}");
        for client in [&mut client, &mut again] {
            drop(client.stdout.take());
            client.wait().expect("box");
        }
    }
    wait_for("monitors' ends", || monitors(&room).is_empty());
    room.assert_gone();
}
