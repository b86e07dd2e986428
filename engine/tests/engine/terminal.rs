//! A user's terminal: what is typed, what is seen, its size, the keys that let go.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::harness::{Room, wait_for};

/// A terminal, with everything that has been seen on it.
pub struct Screen {
    keyboard: File,
    line: OwnedFd,
    seen: Arc<Mutex<String>>,
}

impl Screen {
    pub fn open() -> Screen {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pty");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a pty");
        let line = ioctl_tiocgptpeer(&master, flags).expect("the pty's other end");
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().expect("screen");
        let seen = Arc::new(Mutex::new(String::new()));
        let text = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                text.lock().expect("screen").push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        let screen = Screen { keyboard, line, seen };
        screen.resize(30, 100);
        screen
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.line, size).expect("size");
    }

    /// box with this terminal as its own.
    pub fn start(&self, room: &Room, arguments: &[&str]) -> Child {
        let whole = room.command(arguments);
        // Without timeout(1), which would keep signals of the terminal's from it.
        let words = whole.get_args().skip_while(|word| !word.to_string_lossy().ends_with("/box"));
        self.start_program(words, &room.folder)
    }

    /// Any program with its arguments.
    pub fn start_program<W: AsRef<OsStr>>(&self, words: impl Iterator<Item = W>, folder: &Path) -> Child {
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(words).current_dir(folder);
        let line = || Stdio::from(self.line.try_clone().expect("terminal"));
        command.stdin(line()).stdout(line()).stderr(line()).spawn().expect("setsid")
    }

    pub fn type_in(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).expect("keyboard");
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_for(text, || self.seen.lock().expect("screen").contains(text));
    }

    /// What stands between these; it is waited for.
    #[track_caller]
    pub fn wait_for_word(&self, before: &str, behind: &str) -> String {
        let find = || {
            let seen = self.seen.lock().expect("screen");
            let (_, rest) = seen.split_once(before)?;
            Some(rest.split_once(behind)?.0.to_string())
        };
        wait_for(before, || find().is_some());
        find().expect("it was there")
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.line).expect("terminal").local_modes.contains(LocalModes::ECHO)
    }
}

#[test]
fn a_shell() {
    let Some(room) = Room::new() else { return };
    for flags in [&["run", "--rm"][..], &["run", "--name", "kept"]] {
        let screen = Screen::open();
        let rest = ["-it", "--network", "none", "./rootfs", "sh"];
        let mut child = screen.start(&room, &[flags, &rest].concat());
        screen.type_in("echo size is $(stty size)\n");
        screen.wait_for("size is 30 100");
        screen.resize(40, 120);
        // The shell's own terminal has the new size as soon as box has heard of it.
        screen.type_in("while [ \"$(stty size)\" = \"30 100\" ]; do :; done; echo now $(stty size)\n");
        screen.wait_for("now 40 120");
        screen.type_in("exit 3\n");
        assert_eq!(child.wait().expect("box").code(), Some(3), "{flags:?}");
        assert!(screen.echoes(), "the terminal is as it was");
    }
    room.call(&["rm", "kept"]).ok();
    room.assert_gone();
}

#[test]
fn a_build() {
    let Some(room) = Room::new() else { return };
    crate::build::prepare(&room);
    let dockerfile = "FROM base:1\nRUN true\nRUN echo begun; sleep 100\n";
    crate::build::write(&room, "Dockerfile", dockerfile);
    let screen = Screen::open();
    let parent = format!("--cgroup-parent=test-{}-engine", crate::host::run_name());
    let mut child = screen.start(&room, &["build", &parent, "--network", "none", "context"]);
    screen.wait_for("\r\n => [1/3] FROM docker.io/library/base:1 ");
    // The seconds since it runs, and what it has written.
    screen.wait_for(" begun\r\n");
    screen.wait_for("\x1b[J[+] Building ");
    screen.type_in("\x03");
    assert_eq!(child.wait().expect("box").code(), Some(1));
    for text in
        [") FINISHED\r\n", " => CANCELED [3/3] RUN echo begun; sleep 100 ", "box: the build was ended"]
    {
        screen.wait_for(text);
    }
    // Without a terminal it is lines.
    let said = crate::build::build(&room, &["--progress", "tty"], "FROM base:1\nRUN true\n").exits(0).stderr;
    assert!(said.contains("] RUN true\n") && said.contains(" CACHED\n") && !said.contains('\x1b'), "{said}");
    room.assert_gone();
}

/// Who waits for a program that takes its time is told for what.
#[test]
fn a_program_that_does_not_end() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "deaf"], &["sh", "-c", "trap : TERM USR1; while :; do sleep 1; done"]);
    for (flags, said) in [
        (&["-t", "3"][..], "box: container deaf: it has not ended yet on TERM: 1 s until KILL"),
        (
            &["-t", "-1", "-s", "USR1"],
            "box: container deaf: it has not ended yet on USR1: it has as long as it takes",
        ),
    ] {
        let screen = Screen::open();
        let mut child = screen.start(&room, &[&["stop"][..], flags, &["deaf"]].concat());
        screen.wait_for(said);
        if flags.len() > 2 {
            room.call(&["kill", "deaf"]).ok();
        }
        assert_eq!(child.wait().expect("box").code(), Some(0));
        assert_eq!(room.call(&["wait", "deaf"]).ok(), "137\n");
        room.call(&["start", "deaf"]).ok();
    }
    // The kernel drops what a first process has no handler for, and nobody else can tell.
    room.start(&["--name", "dropping"], &["sleep", "1000"]);
    let screen = Screen::open();
    let mut child = screen.start(&room, &["stop", "-t", "3", "dropping"]);
    screen.wait_for(
        "not ended yet on TERM, for which its program has no handler (--init begins one that has): 1 s",
    );
    assert_eq!(child.wait().expect("box").code(), Some(0));
    room.call(&["rm", "dropping"]).ok();
    // Programs are told nothing, and neither is who waits for a moment only.
    room.call(&["stop", "-t", "3", "deaf"]).ok();
    room.call(&["start", "deaf"]).ok();
    let screen = Screen::open();
    let mut child = screen.start(&room, &["stop", "-t", "1", "deaf"]);
    child.wait().expect("box");
    screen.wait_for("deaf\r\n");
    assert!(!screen.seen.lock().expect("screen").contains("ended yet"));
    room.call(&["rm", "deaf"]).ok();
    room.assert_gone();
}

#[test]
fn letting_go_and_coming_back() {
    let Some(room) = Room::new() else { return };
    let screen = Screen::open();
    let mut child =
        screen.start(&room, &["run", "-it", "--name", "shell", "--network", "none", "./rootfs", "sh"]);
    screen.type_in("echo it is $((20 + 22))\n");
    screen.wait_for("it is 42");
    screen.type_in("\u{10}\u{11}");
    assert_eq!(child.wait().expect("box").code(), Some(0));
    assert!(screen.echoes(), "the terminal is as it was");
    assert_eq!(room.state("shell"), "running");

    let screen = Screen::open();
    let mut child = screen.start(&room, &["attach", "shell"]);
    screen.type_in("echo again $((20 + 23)); exit 5\n");
    screen.wait_for("again 43");
    assert_eq!(child.wait().expect("box").code(), Some(5));
    // What was seen is in the log.
    assert!(room.call(&["logs", "shell"]).ok().contains("again 43"));
    room.call(&["rm", "shell"]).ok();
    room.assert_gone();
}

#[test]
fn letting_go_by_other_keys() {
    let Some(room) = Room::new() else { return };
    let screen = Screen::open();
    // It is removed when it ends, not when its user lets go.
    let flags = ["run", "--rm", "-it", "--name", "shell", "--detach-keys", "ctrl-x,y", "--network", "none"];
    let mut child = screen.start(&room, &[&flags[..], &["./rootfs", "sh"]].concat());
    screen.type_in("echo it is $((20 + 22))\n");
    screen.wait_for("it is 42");
    // What is typed before them is the program's.
    screen.type_in("echo $((1 + 1)) >/typed\n\u{18}y");
    assert_eq!(child.wait().expect("box").code(), Some(0));
    assert_eq!(room.state("shell"), "running");
    wait_for("what was typed", || room.call(&["exec", "shell", "cat", "/typed"]).stdout == "2\n");
    let screen = Screen::open();
    let mut child = screen.start(&room, &["attach", "--detach-keys", "a", "shell"]);
    screen.type_in("a");
    assert_eq!(child.wait().expect("box").code(), Some(0));
    // The same with one more program, which goes on without a reader.
    let screen = Screen::open();
    let mut child = screen.start(&room, &["exec", "-it", "--detach-keys", "ctrl-x", "shell", "sh"]);
    screen.type_in("echo $((20 + 24)); while sleep 0.05; do echo on; echo $((3 + 4)) >/goes-on; done\n");
    screen.wait_for("44");
    screen.type_in("\u{18}");
    assert_eq!(child.wait().expect("box").code(), Some(0));
    assert!(screen.echoes(), "the terminal is as it was");
    for _ in 0..2 {
        room.call(&["exec", "shell", "rm", "-f", "/goes-on"]).ok();
        wait_for("a program that goes on", || {
            room.call(&["exec", "shell", "cat", "/goes-on"]).stdout == "7\n"
        });
    }
    room.call(&["exec", "-dt", "shell", "sh", "-c", "test -t 0 && sleep 0.1 && echo >/has-terminal"]).ok();
    wait_for("a terminal", || room.call(&["exec", "shell", "ls", "/has-terminal"]).status == 0);
    room.call(&["rm", "-f", "shell"]).ok();
    room.assert_gone();
}

#[test]
fn one_more_program_with_a_terminal() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "busy"], &["sleep", "1000"]);
    let screen = Screen::open();
    let mut child = screen.start(&room, &["exec", "-it", "busy", "sh"]);
    screen.type_in("echo size is $(stty size) $TERM; exit 4\n");
    screen.wait_for("size is 30 100 xterm");
    assert_eq!(child.wait().expect("box").code(), Some(4));
    room.call(&["rm", "-f", "busy"]).ok();
    room.assert_gone();
}

/// Without -t a program has nothing of the terminal's: what is typed is not its without -i, what it says is seen all the same.
#[test]
fn a_terminal_stays_out_of_the_container() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "host"], &["sleep", "1000"]);
    let script = "for n in 0 1 2; do test -t $n && echo terminal; done; cat; echo end";
    let run = ["run", "--rm", "--network", "none"];
    for way in [[&run[..], &["./rootfs"]].concat(), vec!["exec", "host"]] {
        let screen = Screen::open();
        let mut child = screen.start(&room, &[&way[..], &["sh", "-c", script]].concat());
        child.wait().expect("box");
        wait_for("its end", || screen.seen.lock().expect("screen").contains("end"));
        assert_eq!(screen.seen.lock().expect("screen").replace('\r', ""), "end\n", "{way:?}");
    }
    let script = "test -t 0 && echo terminal; while read line; do echo heard $line; done; echo end";
    for way in [[&run[..], &["-i", "./rootfs"]].concat(), vec!["exec", "-i", "host"]] {
        let screen = Screen::open();
        let mut child = screen.start(&room, &[&way[..], &["sh", "-c", script]].concat());
        screen.type_in("word\n");
        wait_for("an answer", || screen.seen.lock().expect("screen").contains("heard word"));
        screen.type_in("\x04");
        child.wait().expect("box");
        wait_for("its end", || screen.seen.lock().expect("screen").contains("end"));
        assert!(!screen.seen.lock().expect("screen").contains("terminal"), "{way:?}");
    }
    room.call(&["rm", "-f", "host"]).ok();
    room.assert_gone();
}
