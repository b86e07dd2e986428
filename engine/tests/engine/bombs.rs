//! What is small and becomes endless when it is unpacked ends with whoever wanted it.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bzip2::Compression;
use bzip2::write::BzEncoder;
use rustix::process::{Pid, Signal, kill_process};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::boxd::Boxd;
use crate::build::{prepare, write};
use crate::harness::{Room, wait_for};
use crate::rootless::room_with_ranges;

/// How long an end may take. On a machine that does nothing else it is a tenth of that.
const SOON: Duration = Duration::from_secs(1);

/// A tar of one file of 8 GB, compressed piece by piece: less than half a megabyte, which boxd takes at once.
fn bomb(compressed: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    const PIECE: usize = 16 << 20;
    const COUNT: u64 = 512;
    let mut head = vec![0; 512];
    head[..4].copy_from_slice(b"zero");
    head[100..107].copy_from_slice(b"0000644");
    head[108..115].copy_from_slice(b"0000000");
    head[116..123].copy_from_slice(b"0000000");
    // More than eight digits of eight can say.
    head[124] = 0x80;
    head[128..136].copy_from_slice(&(COUNT * PIECE as u64).to_be_bytes());
    head[136..147].copy_from_slice(b"00000000000");
    head[148..156].fill(b' ');
    head[156] = b'0';
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let zeros = compressed(&vec![0; PIECE]);
    let bomb = [compressed(&head), zeros.repeat(COUNT as usize)].concat();
    assert!(bomb.len() < 500_000, "{}", bomb.len());
    bomb
}

fn with_bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut bzip2 = BzEncoder::new(Vec::new(), Compression::best());
    bzip2.write_all(bytes).and_then(|()| bzip2.finish()).expect("bzip2")
}

/// Which an ordinary user's process inside unpacks, as layers may have it.
fn with_zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// How many bytes of the disk all below a folder takes.
fn taken(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |path: &Path| match fs::symlink_metadata(path) {
        Ok(status) if status.is_dir() => taken(path),
        Ok(status) => status.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(|entry| size(&entry.path())).sum()
}

#[test]
fn a_build_that_unpacks_one_ends_at_once() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "Dockerfile", "FROM base:1\nADD bomb /x/\n");
    fs::write(room.folder.join("context/bomb"), bomb(with_bzip2)).expect("a file");
    let log = room.folder.join("log");
    let mut command = room.command(&["build", "--progress", "plain", "context"]);
    let mut build = command.stderr(fs::File::create(&log).expect("log")).spawn().expect("build");
    wait_for("the step", || fs::read_to_string(&log).is_ok_and(|said| said.contains("ADD bomb")));
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    // timeout(1) passes it on.
    kill_process(Pid::from_child(&build), Signal::TERM).expect("kill");
    build.wait().expect("wait");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let said = fs::read_to_string(&log).expect("log");
    assert!(said.ends_with("box: the build was ended\n"), "{said}");
    room.assert_gone();
}

#[test]
fn boxd_unpacks_nothing_for_clients_that_have_gone() {
    let Some(root) = Room::new() else { return };
    check_clients_that_go(&root, &["/build", "/images/load", "/images/create?fromSrc=-"]);
    let Some(user) = room_with_ranges() else { return };
    check_clients_that_go(&user, &["/build", "/images/load", "/images/create?fromSrc=-"]);
}

fn check_clients_that_go(room: &Room, paths: &[&str]) {
    let boxd = Boxd::start(room, "d");
    let bomb = bomb(with_bzip2);
    for path in paths {
        let before = taken(&room.data());
        let mut client = boxd.connect();
        let head = format!(
            "POST /v1.51{path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            bomb.len()
        );
        client.write_all(head.as_bytes()).and_then(|()| client.write_all(&bomb)).expect("a request");
        wait_for("some of it", || taken(&room.data()) > before + (10 << 20));
        let began = Instant::now();
        client.shutdown(Shutdown::Both).expect("an end");
        drop(client);
        wait_for("the end of it", || taken(&room.data()) < before + (1 << 20));
        assert!(began.elapsed() < SOON, "{path}: {:?}", began.elapsed());
    }
}

#[test]
fn nothing_is_unpacked_for_a_command_that_was_ended() {
    let Some(root) = Room::new() else { return };
    check_a_command_that_is_ended(&root);
    let Some(user) = room_with_ranges() else { return };
    check_a_command_that_is_ended(&user);
}

fn check_a_command_that_is_ended(room: &Room) {
    fs::write(room.folder.join("bomb"), bomb(with_zstd)).expect("a file");
    let before = taken(&room.data());
    let mut command = room.command(&["import", "bomb", "bomb:1"]).spawn().expect("box");
    wait_for("some of it", || taken(&room.data()) > before + (10 << 20));
    // The command alone: timeout(1) would end its children as well.
    let own = processes_of(room).into_iter().find(|(_, line)| line.contains("import"));
    kill_process(Pid::from_raw(own.expect("box itself").0).expect("a number"), Signal::TERM).expect("kill");
    command.wait().expect("wait");
    std::thread::sleep(SOON);
    assert_eq!(processes_of(room), []);
    // The next command puts it away.
    room.call(&["images"]).ok();
    assert!(taken(&room.data()) < before + (1 << 20));
}

/// Those whose command line names the room's store: box, and box inside.
fn processes_of(room: &Room) -> Vec<(i32, String)> {
    let store = room.data().display().to_string();
    let line = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let numbers = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let lines = numbers.map(|pid| (pid, String::from_utf8_lossy(&line(pid)).replace('\0', " ")));
    lines.filter(|(_, line)| line.contains(&store) && !line.starts_with("timeout")).collect()
}
