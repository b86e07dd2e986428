//! The streams of programs that box waits for: the caller's files and terminals stay out of containers.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Room, finish};
use crate::rootless::{open_way_out, room_with_ranges};

const RUN: [&str; 10] = ["run", "--rm", "--network", "none", "-i", "-u", "1000", "./rootfs", "sh", "-c"];

/// `box run --rm` and `box exec` of a script, which is the last argument then.
fn ways(room: &Room) -> [Vec<&'static str>; 2] {
    room.start(&["--name", "host"], &["sleep", "1000"]);
    [RUN.to_vec(), ["exec", "-i", "-u", "1000", "host", "sh", "-c"].to_vec()]
}

fn script(room: &Room, way: &[&'static str], script: &str) -> Command {
    room.command(&[way, &[script]].concat())
}

#[test]
fn files_keep_their_owner_and_content() {
    let Some(room) = Room::new() else { return };
    let (read, written) = (room.folder.join("read"), room.folder.join("written"));
    for way in ways(&room) {
        fs::write(&read, "secret\n").expect("file");
        fs::write(&written, "before\n").expect("file");
        // Open to everybody, so that nothing but the missing descriptor keeps the program from them.
        for path in [&read, &written] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("chmod");
        }
        let attempts = "cat; for n in 0 1 2; do : >/proc/self/fd/$n; done; echo new >&0; echo new >/proc/self/fd/0; \
                        head -c 3 <&1; echo end";
        let mut command = script(&room, &way, attempts);
        let append = File::options().append(true).read(true).open(&written).expect("file");
        let both = File::options().read(true).write(true).open(&read).expect("file");
        command.stdin(both).stdout(append).stderr(Stdio::null()).status().expect("box");
        assert_eq!(fs::read_to_string(&read).expect("file"), "secret\n", "{way:?}");
        assert_eq!(fs::read_to_string(&written).expect("file"), "before\nsecret\nend\n", "{way:?}");
        for path in [&read, &written] {
            assert_eq!(fs::metadata(path).expect("file").uid(), 0, "{way:?}");
        }
    }
    // A named pipe is a file of the caller's as well.
    let fifo = room.folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let both = File::options().read(true).write(true).open(&fifo).expect("fifo");
    script(&room, &RUN, "echo said").stdout(both).status().expect("box");
    assert_eq!(fs::metadata(&fifo).expect("fifo").uid(), 0);
    room.call(&["rm", "-f", "host"]).ok();
    room.assert_gone();
}

#[test]
fn everything_is_copied_in_order() {
    let Some(room) = Room::new() else { return };
    let (read, written) = (room.folder.join("read"), room.folder.join("written"));
    let content: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    fs::write(&read, &content).expect("file");
    for way in ways(&room) {
        let output = File::create(&written).expect("file");
        let mut command = script(&room, &way, "cat; echo out; echo error >&2; echo out again; exit 7");
        command.stdin(File::open(&read).expect("file")).stderr(output.try_clone().expect("file"));
        assert_eq!(command.stdout(output).status().expect("box").code(), Some(7), "{way:?}");
        let said = fs::read_to_string(&written).expect("file");
        assert!(said == content.clone() + "out\nerror\nout again\n", "{way:?}: {} bytes", said.len());
        // Nobody has to read what is there.
        let mut command = script(&room, &way, "exec <&-; echo done");
        assert_eq!(finish(command.stdin(File::open(&read).expect("file"))).ok(), "done\n", "{way:?}");
    }
    room.call(&["rm", "-f", "host"]).ok();
    room.assert_gone();
}

#[test]
fn a_full_disk_ends_the_writer() {
    let Some(room) = Room::new() else { return };
    for way in ways(&room) {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let mut command = script(&room, &way, "yes; exit $?");
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().expect("box");
        let output = output.wait_with_output().expect("box");
        assert_eq!(output.status.code(), Some(141), "{way:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("stdout: No space left on device"), "{way:?}: {said}");
    }
    room.call(&["rm", "-f", "host"]).ok();
    room.assert_gone();
}

/// What has outlived a program does not keep box.
#[test]
fn the_programs_end_is_the_end() {
    let Some(room) = Room::new() else { return };
    let [_, exec] = ways(&room);
    let written = room.folder.join("written");
    for survivor in ["sleep 1000", "yes"] {
        let began = Instant::now();
        let mut command = script(&room, &exec, &format!("echo said; {survivor} & exit 4"));
        let status = command.stdout(File::create(&written).expect("file")).status().expect("box");
        assert_eq!(status.code(), Some(4), "{survivor}");
        assert!(began.elapsed() < Duration::from_secs(10), "{survivor}");
        let mut head = [0; 5];
        File::open(&written).expect("file").read_exact(&mut head).expect("output");
        assert_eq!(&head, b"said\n", "{survivor}");
    }
    room.call(&["rm", "-f", "host"]).ok();
    room.assert_gone();
}

#[test]
fn signals_reach_a_program_that_writes_to_a_file() {
    let Some(room) = Room::new() else { return };
    let written = room.folder.join("written");
    let [run, _] = ways(&room);
    let waiting = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = script(&room, &run, waiting);
    let mut child = command.stdout(File::create(&written).expect("file")).spawn().expect("box");
    crate::harness::wait_for("it", || fs::read_to_string(&written).is_ok_and(|said| said == "ready\n"));
    // To timeout(1), which passes it on to box.
    kill_process(Pid::from_raw(child.id() as i32).expect("pid"), Signal::TERM).expect("kill");
    child.wait().expect("box");
    assert_eq!(fs::read_to_string(&written).expect("file"), "ready\ngot it\n");
    room.call(&["rm", "-f", "host"]).ok();
    room.assert_gone();
}

/// A lock that a caller's descriptor holds is free, a pipe of his ends, and a file system of his can be unmounted as soon as box has
/// returned, whoever of box's is still there.
#[test]
fn what_the_caller_has_open_stays_his() {
    for room in [Room::new(), room_with_ranges()] {
        let Some(room) = room.filter(|_| open_way_out()) else { return };
        room.give_rootfs();
        room.call(&["network", "create", "inner"]).ok();
        let rootfs = room.rootfs().display().to_string();
        let called = |flags: &[&str], network: &str, script: &str| {
            let arguments = [&["run"], flags, &["--network", network, &rootfs, "sh", "-c", script]].concat();
            let lock = room.folder.join("lock");
            let elsewhere = room.folder.join("elsewhere");
            fs::create_dir_all(&elsewhere).expect("folder");
            // The rest of the shell's descriptors closes when it ends.
            let mut shell = Command::new("sh");
            shell.args(["-c", "cd \"$2\" && exec 7>\"$1\" && flock 7 && shift 2 && exec \"$@\"", "sh"]);
            let command = room.command(&arguments);
            shell.arg(&lock).arg(&elsewhere).arg(command.get_program()).args(command.get_args());
            for (name, value) in command.get_envs() {
                shell.env(name, value.expect("a value"));
            }
            let output = finish(shell.current_dir(&room.folder).stdin(Stdio::null()));
            let file = File::open(&lock).expect("lock");
            assert!(
                flock(&file, FlockOperation::NonBlockingLockShared).is_ok(),
                "{flags:?}: the lock is held"
            );
            assert_eq!(staying_in(&elsewhere), Vec::<PathBuf>::new(), "{flags:?}");
            output.exits(0);
        };
        // Enough that it is still being deleted.
        called(
            &["--rm"],
            "none",
            "mkdir /tmp/d; cd /tmp/d; i=0; while [ $((i += 1)) -le 20000 ]; do : >$i; done",
        );
        called(&["-d", "--name", "plain"], "none", "sleep 100");
        called(&["-d", "--name", "published", "-p", "127.0.0.1:8099:80"], "inner", "sleep 100");
        room.call(&["rm", "-f", "plain", "published"]).exits(0);
        room.call(&["network", "rm", "inner"]).ok();
        room.assert_gone();
    }
}

/// The working folders of processes that are in this folder.
fn staying_in(folder: &Path) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let folders = processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
    folders.filter(|place| place.starts_with(folder)).collect()
}
