//! Commands that are killed at any moment: the next one finds a legal state, and nothing is left in the end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Room;
use crate::registry::{Answer, Content, Registry, layer};

/// Moments at which commands are killed: spread over the time that they take, the same in each run.
pub fn delays(count: u32, most: Duration) -> impl Iterator<Item = Duration> {
    // A multiplicative sequence covers the interval evenly.
    (1..=count).map(move |number| most.mul_f64((f64::from(number) * 0.618_033_988_749).fract()))
}

pub fn kill_after(command: &mut Command, delay: Duration) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("box");
    std::thread::sleep(delay);
    child.kill().expect("kill");
    child.wait().expect("box");
}

/// box itself, without timeout(1) around it.
pub fn bare(room: &Room, arguments: &[&str]) -> Command {
    let whole = room.command(arguments);
    // setpriv(1), which makes it an ordinary user's, executes it.
    let is_first = |word: &str| word == "setpriv" || word.ends_with("/box");
    let words: Vec<_> = whole.get_args().skip_while(|word| !is_first(&word.to_string_lossy())).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(&room.folder);
    command
}

/// Removes what is listed; then nothing is left but what is kept for the next time.
#[track_caller]
pub fn clean_up(room: &Room) {
    let ids = room.call(&["ps", "-a", "-q", "--no-trunc"]).ok();
    for id in ids.lines() {
        // It may say that it waits for a monitor that is about to end.
        room.call(&["rm", "-f", id]).exits(0);
    }
    crate::harness::wait_for("monitors' ends", || {
        let folder = format!("{}/", room.folder.display());
        crate::host::processes_naming(&folder).is_empty()
    });
    room.call(&["ps"]).ok();
    room.assert_gone();
    let names = fs::read_dir(room.data().join("names")).expect("names").count();
    assert_eq!(names, 0, "names");
    for folder in ["layers", "images", "blobs/sha256"] {
        let entries = fs::read_dir(room.data().join(folder)).expect("folder").flatten();
        let left: Vec<_> = entries
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().starts_with('.'))
            // A document that was half written stays for a minute.
            .filter(|name| name.len() != ".partial-".len() + 16)
            .collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn run() {
    let Some(room) = Room::new() else { return };
    let flags = ["run", "--rm", "--network", "none", "./rootfs", "sleep", "1000"];
    for delay in delays(40, Duration::from_millis(30)) {
        kill_after(&mut bare(&room, &flags), delay);
    }
    room.run(&[], &["true"]).ok();
    clean_up(&room);
}

/// Without their container nobody would know whose they were.
#[test]
fn removals_with_volumes() {
    let Some(room) = Room::new() else { return };
    room.call(&["volume", "create", "kept"]).ok();
    let create = ["create", "--name", "one", "--network", "none", "-v", "/data", "-v", "kept:/kept"];
    for delay in delays(40, Duration::from_millis(12)) {
        room.call(&[&create[..], &["./rootfs", "true"]].concat()).ok();
        kill_after(&mut bare(&room, &["rm", "-f", "-v", "one"]), delay);
        room.call(&["rm", "-f", "-v", "one"]).exits(0);
        assert_eq!(room.call(&["volume", "ls", "-q"]).ok(), "kept\n");
    }
    clean_up(&room);
}

/// Of two commands that want other things of a container the later one finds it gone, or by its other name.
#[test]
fn renames_beside_removals() {
    let Some(room) = Room::new() else { return };
    for _ in 0..25 {
        room.call(&["create", "--name", "one", "--network", "none", "./rootfs", "true"]).ok();
        let commands = [["rename", "one", "two"], ["rename", "one", "three"], ["rm", "-f", "one"]];
        let begin = |arguments: &[&str; 3]| {
            room.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("box")
        };
        for child in commands.each_ref().map(begin) {
            let said = child.wait_with_output().expect("box").stderr;
            let said = String::from_utf8_lossy(&said);
            assert!(said.is_empty() || said.starts_with("box: No such container: "), "{said}");
        }
        room.call(&["rm", "-f", "two", "three"]).exits(0);
        assert_eq!(fs::read_dir(room.data().join("names")).expect("names").count(), 0);
    }
    clean_up(&room);
}

#[test]
fn run_detached_and_rm() {
    let Some(room) = Room::new() else { return };
    for (number, delay) in delays(30, Duration::from_millis(40)).enumerate() {
        let name = format!("one-{number}");
        kill_after(
            &mut bare(
                &room,
                &["run", "-d", "--name", &name, "--network", "none", "./rootfs", "sleep", "1000"],
            ),
            delay,
        );
        kill_after(&mut bare(&room, &["rm", "-f", &name]), delay);
    }
    clean_up(&room);
}

#[test]
fn an_image_that_is_unpacked() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar.gz");
    for delay in delays(30, Duration::from_millis(60)) {
        kill_after(&mut bare(&room, &["run", "--rm", "--network", "none", "rootfs.tar.gz", "true"]), delay);
    }
    let said = room.call(&["run", "--rm", "--network", "none", "rootfs.tar.gz", "cat", "/etc/passwd"]).ok();
    assert!(said.starts_with("root:"), "{said}");
    clean_up(&room);
}

#[test]
fn pull_and_rmi() {
    let Some(room) = Room::new() else { return };
    let mut content = Content::default();
    content.image("1", "amd64", &[layer(&room.tar("image.tar"))]);
    let registry = Registry::start(content, |_| Answer::Usual);
    let name = format!("{}/a:1", registry.host);
    for delay in delays(30, Duration::from_millis(120)) {
        kill_after(&mut bare(&room, &["pull", &name]), delay);
        kill_after(&mut bare(&room, &["rmi", &name]), delay / 3);
    }
    let said = room.call(&["run", "--rm", "--network", "none", "-q", &name]).ok();
    assert_eq!(said, "from the image\n");
    room.call(&["image", "prune", "-a", "-f"]).ok();
    for folder in ["layers", "images", "leases"] {
        assert_eq!(left(&room, folder), Vec::<String>::new(), "{folder}");
    }
}

#[test]
fn import_save_load_and_prune() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar.gz");
    room.call(&["import", "rootfs.tar.gz", "whole"]).ok();
    room.call(&["save", "-o", "saved.tar", "whole"]).ok();
    for delay in delays(25, Duration::from_millis(120)) {
        kill_after(&mut bare(&room, &["import", "rootfs.tar.gz", "imported"]), delay);
        kill_after(&mut bare(&room, &["load", "-i", "saved.tar"]), delay);
        kill_after(&mut bare(&room, &["image", "prune", "-a", "-f"]), delay / 3);
    }
    room.call(&["load", "-q", "-i", "saved.tar"]).ok();
    let said = room.call(&["run", "--rm", "--network", "none", "whole", "cat", "/etc/passwd"]).ok();
    assert!(said.starts_with("root:"), "{said}");
    room.call(&["image", "prune", "-a", "-f"]).ok();
    for folder in ["layers", "images", "leases"] {
        assert_eq!(left(&room, folder), Vec::<String>::new(), "{folder}");
    }
}

/// What is in a folder of the store. A document that was half written may stay for a minute.
fn left(room: &Room, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(room.data().join(folder)).expect("folder").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| folder != "images" || !name.starts_with(".partial-")).collect()
}

#[test]
fn commands_on_files_and_names() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["run", "--name", "kept", "--network", "none", "rootfs.tar", "sh", "-c", "echo new >/new"])
        .ok();
    fs::write(room.folder.join("file"), "copied").expect("file");
    for (number, delay) in delays(25, Duration::from_millis(40)).enumerate() {
        kill_after(&mut bare(&room, &["commit", "kept", "mine"]), delay);
        kill_after(&mut bare(&room, &["cp", "file", "kept:/tmp/file"]), delay / 2);
        // Whatever was done of it, it has one of its names.
        let name = format!("name-{number}");
        let known = room.call(&["ps", "-a", "--format", "{{.Names}}"]).ok();
        kill_after(&mut bare(&room, &["rename", known.trim(), &name]), delay / 4);
        let known = room.call(&["ps", "-a", "--format", "{{.Names}}"]).ok();
        room.call(&["inspect", known.trim()]).exits(0);
        room.call(&["rename", known.trim(), "kept"]).exits(if known.trim() == "kept" { 1 } else { 0 });
    }
    room.call(&["commit", "kept", "mine"]).ok();
    assert_eq!(room.call(&["run", "--rm", "--network", "none", "mine", "cat", "/new"]).ok(), "new\n");
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    clean_up(&room);
}

#[test]
fn volumes_and_prune() {
    let Some(room) = Room::new() else { return };
    fs::create_dir(room.rootfs().join("srv")).expect("folder");
    fs::write(room.rootfs().join("srv/file"), "the image's").expect("file");
    for delay in delays(25, Duration::from_millis(40)) {
        let run = ["run", "--network", "none", "-v", "data:/srv", "-v", "/nameless", "./rootfs", "true"];
        kill_after(&mut bare(&room, &run), delay);
        kill_after(&mut bare(&room, &["system", "prune", "-f", "--volumes"]), delay / 2);
    }
    // What a volume begins with is there as a whole.
    assert_eq!(room.run(&["-v", "data:/srv"], &["cat", "/srv/file"]).ok(), "the image's");
    clean_up(&room);
    room.call(&["volume", "prune", "-a", "-f"]).ok();
    // What is half made is put away when it is old.
    let named: Vec<_> =
        left(&room, "volumes").into_iter().filter(|name| !name.starts_with(".partial-")).collect();
    assert_eq!(named, Vec::<String>::new());
}

/// One after the other, so that nobody is left who knows how the program ended.
pub fn kill_with_monitor(room: &Room, name: &str) {
    let folder = format!("{}/", room.folder.display());
    let pid = room.call(&["inspect", "--format", "{{.State.Pid}}", name]).ok();
    let id = room.call(&["inspect", "--format", "{{.Id}}", name]).ok();
    let is_monitor = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"box-monitor\0") && String::from_utf8_lossy(&line).contains(id.trim())
    };
    let monitors: Vec<u32> = crate::host::processes_naming(&folder).into_iter().filter(is_monitor).collect();
    assert_eq!(monitors.len(), 1, "{name}");
    for pid in [monitors[0], pid.trim().parse().expect("pid")] {
        kill_process(Pid::from_raw(pid.cast_signed()).expect("pid"), Signal::KILL).expect("kill");
        crate::harness::wait_for("its end", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_ok_and(|status| status.contains("State:\tZ"))
                || !Path::new(&format!("/proc/{pid}")).exists()
        });
    }
}

#[test]
fn a_monitor_with_its_container() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "lost"], &["sleep", "1000"]);
    kill_with_monitor(&room, "lost");
    assert_eq!(room.call(&["wait", "lost"]).ok(), "255\n");
    assert_eq!(room.state("lost"), "exited");
    let text =
        |field: &str| room.call(&["inspect", "--format", &format!("{{{{.State.{field}}}}}"), "lost"]).ok();
    assert_eq!(text("ExitCode"), "255\n");
    assert!(text("Error").contains("its monitor was killed"), "{}", text("Error"));
    assert!(!text("FinishedAt").starts_with("0001"), "{}", text("FinishedAt"));
    room.call(&["start", "lost"]).ok();
    assert_eq!(room.state("lost"), "running");
    // Somebody waits for it meanwhile.
    let waiting = room.command(&["wait", "lost"]).stdout(Stdio::piped()).spawn().expect("box");
    std::thread::sleep(Duration::from_millis(200));
    kill_with_monitor(&room, "lost");
    let said = waiting.wait_with_output().expect("box").stdout;
    // It may have been given another monitor between the two, which sees how it ends where the kernel tells it.
    assert!([&b"255\n"[..], b"137\n"].contains(&&*said), "{}", String::from_utf8_lossy(&said));

    room.start(&["--name", "again", "--restart", "on-failure"], &["sleep", "1000"]);
    kill_with_monitor(&room, "again");
    crate::harness::wait_for("another run", || room.state("again") == "running");
    // One that its user stops while nobody is there stays as it is.
    room.start(&["--name", "stopped", "--restart", "always"], &["sleep", "1000"]);
    fs::write(room.data().join("containers").join(id_of(&room, "stopped")).join("stopped"), "")
        .expect("file");
    kill_with_monitor(&room, "stopped");
    assert_eq!(room.state("stopped"), "exited");
    clean_up(&room);
}

fn id_of(room: &Room, name: &str) -> String {
    room.call(&["inspect", "--format", "{{.Id}}", name]).ok().trim().to_string()
}

/// Between the making of its folder and its lock no other command takes a container for abandoned.
#[test]
fn many_that_sweep_and_begin() {
    let Some(room) = Room::new() else { return };
    let flags = ["run", "--rm", "--network", "none", "./rootfs", "true"];
    for _ in 0..4 {
        let start = |_| room.command(&flags).stderr(Stdio::piped()).spawn().expect("box");
        let children: Vec<_> = (0..25).map(start).collect();
        for child in children {
            let output = child.wait_with_output().expect("box");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            assert!(output.status.success(), "{output:?}");
        }
    }
    clean_up(&room);
}
