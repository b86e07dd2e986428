//! `run` and `exec` between the user's terminal and the container's, whose ends stall, break, fill up or
//! close.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::json;

use crate::harness::{
    Container, Runtime, Terminal, each_runtime, each_runtime_but, pillbox_only, start_writing_to, wait_for,
};

/// A container whose program has a terminal.
fn on_a_terminal<'r>(runtime: &'r Runtime, script: &str) -> Container<'r> {
    let mut container = Container::sh(runtime, script);
    container.spec["process"]["terminal"] = json!(true);
    container
}

const NEEDS_A_TERMINAL: (&str, &str) = ("crun", "refuses a stdin that is no terminal");
const NEEDS_ONE_TOO: (&str, &str) = ("runc", "refuses to run where none of the three streams is a terminal");

#[test]
fn a_terminal_that_nobody_reads_holds_up_neither_signals_nor_the_containers_end() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        let terminal = Terminal::open();
        let script =
            "trap 'echo got >/got' TERM; seq 100000 & touch /begun; wait; while :; do sleep 0.1; done";
        let exec = container.command(&["exec", "--tty", &container.id, "sh", "-c", script]);
        let exec = terminal.spawn(&container, &exec);
        wait_for("the program", || container.rootfs().join("begun").exists().then_some(()));
        // Long enough for the terminal to fill up.
        std::thread::sleep(Duration::from_millis(300));
        exec.signal(Signal::TERM);
        wait_for("SIGTERM", || container.rootfs().join("got").exists().then_some(()));
        container.delete_force().ok();
        let _screen = terminal.read_slowly(Duration::ZERO);
        assert_ne!(exec.finish().code, 0);
    });
}

#[test]
fn a_run_whose_terminal_nobody_reads_can_be_deleted_by_another() {
    each_runtime_but(&[("crun", "does not wait for the terminal, and has removed it already")], |runtime| {
        for script in ["touch /begun; yes", "seq 3500; touch /begun; exit 3"] {
            let container = on_a_terminal(runtime, script);
            let terminal = Terminal::open();
            let run = terminal.spawn(&container, &container.bundle_command("run", &[]));
            wait_for("the program", || container.rootfs().join("begun").exists().then_some(()));
            std::thread::sleep(Duration::from_millis(200));
            container.delete_force().ok();
            let _screen = terminal.read_slowly(Duration::ZERO);
            assert_ne!(run.finish().code, 0);
            container.assert_gone();
        }
    });
}

#[test]
fn who_does_not_want_to_wait_for_a_stalled_terminal_ends_the_runtime() {
    each_runtime_but(&[("runc", "waits on")], |runtime| {
        let container = on_a_terminal(runtime, "seq 5000; touch /ended; exit 3");
        let terminal = Terminal::open();
        let run = terminal.spawn(&container, &container.bundle_command("run", &[]));
        wait_for("the program's end", || container.rootfs().join("ended").exists().then_some(()));
        std::thread::sleep(Duration::from_millis(200));
        run.signal(Signal::USR1);
        std::thread::sleep(Duration::from_millis(100));
        run.signal(Signal::INT);
        assert_eq!(run.finish().code, 3);
        container.assert_gone();
    });
}

#[test]
fn all_that_was_written_comes_out_when_reading_begins_after_the_programs_end() {
    each_runtime_but(&[("crun", "loses what is not written when the program ends")], |runtime| {
        // More than the user's terminal holds.
        let container = on_a_terminal(runtime, "seq 3500; touch /ended; exit 3");
        let terminal = Terminal::open();
        let run = terminal.spawn(&container, &container.bundle_command("run", &[]));
        wait_for("the program's end", || container.rootfs().join("ended").exists().then_some(()));
        std::thread::sleep(Duration::from_millis(300));
        let screen = terminal.read_slowly(Duration::from_millis(2));
        assert_eq!(run.finish().code, 3);
        assert!(screen.join().expect("screen") == numbers(3500), "something is missing");
        container.assert_gone();
    });
}

#[test]
fn what_stands_in_the_containers_terminal_comes_out_behind_what_the_runtime_keeps() {
    pillbox_only(|runtime| {
        // More than the runtime itself holds, but not more than it and a terminal hold together.
        let container = on_a_terminal(runtime, "seq 4500; touch /ended; exit 3");
        let (mut reader, mut writer) = std::io::pipe().expect("pipe");
        let size = rustix::pipe::fcntl_getpipe_size(&writer).expect("size");
        writer.write_all(&vec![b'x'; size]).expect("what fills it");
        let mut command = container.bundle_command("run", &[]);
        let run = start_writing_to(&mut command, writer, &container.folder.join("output"));
        command.stdout(Stdio::null());
        wait_for("the program's end", || container.rootfs().join("ended").exists().then_some(()));
        std::thread::sleep(Duration::from_millis(200));
        // Read at once, so that everything that the runtime holds has room.
        reader.read_exact(&mut vec![0; size]).expect("what filled it");
        let mut output = String::new();
        reader.read_to_string(&mut output).expect("output");
        assert_eq!(run.finish().code, 3);
        assert!(output.replace('\r', "") == numbers(4500), "something is missing");
        container.assert_gone();
    });
}

/// The output of `seq LAST`.
fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}

/// A pipe whose read end is closed.
fn broken_pipe() -> OwnedFd {
    std::io::pipe().expect("pipe").1.into()
}

#[test]
fn a_reader_that_has_gone_is_a_terminal_that_hangs_up() {
    let others = [
        ("crun", "ends with an error of its own, whatever the program does"),
        ("runc", "stops reading, so that the program waits for ever"),
    ];
    each_runtime_but(&others, |runtime| {
        // Two programs that write for ever: one sees its writes fail, the other is ended by SIGHUP.
        for (script, status) in [("while echo line; do :; done; exit 4", 4), ("yes; exit 5", 5)] {
            let container = on_a_terminal(runtime, script);
            let mut command = container.bundle_command("run", &[]);
            let run = start_writing_to(&mut command, broken_pipe(), &container.folder.join("output"));
            let output = run.finish();
            assert_eq!((output.code, output.stderr.as_str()), (status, ""));
            container.assert_gone();
        }
    });
}

#[test]
fn output_that_is_lost_is_said_beside_the_programs_status() {
    each_runtime_but(&[NEEDS_A_TERMINAL, ("runc", "says nothing of it")], |runtime| {
        let container = on_a_terminal(runtime, "while echo line; do :; done; exit 4");
        let terminal = Terminal::open();
        let mut command = container.bundle_command("run", &[]);
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let run = start_writing_to(command.stdin(terminal.slave()), full, &container.folder.join("output"));
        let output = run.finish();
        assert_eq!(output.code, 4);
        assert_eq!(output.error_lines().len(), 1, "{output:?}");
        assert!(output.stderr.contains("stdout: no space left on device"), "{output:?}");
    });
}

#[test]
fn the_users_terminal_may_close() {
    each_runtime(|runtime| {
        let container = on_a_terminal(
            runtime,
            "trap 'touch /hung-up; exit 6' HUP; echo ready; touch /begun; while :; do sleep 0.1; done",
        );
        let terminal = Terminal::open();
        let run = terminal.spawn(&container, &container.bundle_command("run", &[]));
        wait_for("the program", || container.rootfs().join("begun").exists().then_some(()));
        drop(terminal);
        assert_eq!(run.finish().code, 6);
        assert!(container.rootfs().join("hung-up").exists());
        container.assert_gone();
    });
}

#[test]
fn a_megabyte_is_pasted_while_the_program_writes() {
    each_runtime_but(&[("crun", "loses what is not written when the program ends")], |runtime| {
        const LENGTH: usize = 1_000_000;
        let script = format!("stty raw -echo; echo ready; head -c {LENGTH}; exit 3");
        let container = on_a_terminal(runtime, &script);
        let terminal = Terminal::open();
        let run = terminal.spawn(&container, &container.bundle_command("run", &[]));
        // There is a carriage return if the runtime leaves output processing on.
        for expected in b"ready\n" {
            let mut byte = [b'\r'];
            while byte == [b'\r'] {
                (&terminal.master).read_exact(&mut byte).expect("ready");
            }
            assert_eq!(byte, [*expected]);
        }
        let pasted: Vec<u8> = (0..LENGTH).map(|index| b'a' + (index / 7 % 26) as u8).collect();
        let mut keys = terminal.master.try_clone().expect("keys");
        let text = pasted.clone();
        let typing = std::thread::spawn(move || keys.write_all(&text));
        let screen = terminal.read_slowly(Duration::ZERO);
        assert_eq!(run.finish().code, 3);
        typing.join().expect("typing").expect("paste");
        assert!(screen.join().expect("screen").as_bytes() == pasted, "something is missing");
    });
}

#[test]
fn the_end_of_stdin_arrives_also_after_an_unfinished_line() {
    each_runtime_but(&[NEEDS_A_TERMINAL, NEEDS_ONE_TOO], |runtime| {
        for typed in ["", "line\n", "unfinished", "line\nunfinished"] {
            let container = on_a_terminal(runtime, "stty -echo; echo ready; cat; echo end; exit 3");
            let mut run = container.run_in_background();
            let mut stdin = run.stdin();
            wait_for("the program", || run.stdout_now().contains("ready").then_some(()));
            stdin.write_all(typed.as_bytes()).expect("stdin");
            drop(stdin);
            let output = run.finish();
            assert_eq!(output.code, 3, "{typed:?}");
            assert_eq!(output.stdout.replace("\r\n", "\n"), format!("ready\n{typed}end\n"));
        }
    });
}

#[test]
fn the_end_of_a_large_stdin_comes_behind_all_of_it() {
    each_runtime_but(&[NEEDS_A_TERMINAL, NEEDS_ONE_TOO], |runtime| {
        let container = on_a_terminal(runtime, "stty -echo; echo ready; sleep 0.3; wc -c; exit 3");
        let mut run = container.run_in_background();
        let mut stdin = run.stdin();
        wait_for("the program", || run.stdout_now().contains("ready").then_some(()));
        stdin.write_all("line\n".repeat(100_000).as_bytes()).expect("stdin");
        drop(stdin);
        let output = run.finish();
        assert_eq!((output.code, output.stdout.as_str()), (3, "ready\r\n500000\r\n"));
    });
}

#[test]
fn the_size_is_that_of_whichever_stream_is_a_terminal() {
    each_runtime_but(&[NEEDS_A_TERMINAL], |runtime| {
        // The program may ask before runc has set the size: busyboxes then show zeros, or fail.
        let late = match runtime.is("runc") {
            true => "until stty size 2>/dev/null | grep -q '^[1-9]'; do sleep 0.02; done;",
            false => "",
        };
        let container = on_a_terminal(runtime, &format!("{late} stty size; exit 3"));
        let terminal = Terminal::open();
        let mut command = container.bundle_command("run", &[]);
        let folder = container.folder.join("output");
        let run = start_writing_to(command.stdin(Stdio::null()), terminal.slave(), &folder);
        drop(command);
        let screen = terminal.read_slowly(Duration::ZERO);
        assert_eq!(run.finish().code, 3);
        assert_eq!(screen.join().expect("screen"), "30 100\n");
    });
}

#[test]
fn the_users_terminal_is_the_users_again_and_was_never_made_nonblocking() {
    let others = [("crun", "leaves O_NONBLOCK on the caller's terminal")];
    each_runtime_but(&others, |runtime| {
        let container = on_a_terminal(runtime, "touch /begun; read line; exit 3");
        let terminal = Terminal::open();
        let modes = |terminal: &Terminal| tcgetattr(&terminal.slave).expect("modes").local_modes;
        let before = modes(&terminal);
        let run = terminal.spawn(&container, &container.bundle_command("run", &[]));
        wait_for("the program", || container.rootfs().join("begun").exists().then_some(()));
        wait_for("raw", || (!modes(&terminal).contains(LocalModes::ICANON)).then_some(()));
        let nonblocking =
            || rustix::fs::fcntl_getfl(&terminal.slave).expect("flags").contains(OFlags::NONBLOCK);
        assert!(!nonblocking());
        terminal.write(b"line\n");
        assert_eq!(run.finish().code, 3);
        assert!(!nonblocking());
        assert_eq!(modes(&terminal), before);
    });
}

#[test]
fn a_job_in_the_background_leaves_the_terminal_to_the_one_in_front() {
    let others = [("crun", "makes it raw all the same"), ("runc", "makes it raw all the same")];
    each_runtime_but(&others, |runtime| {
        let container = on_a_terminal(runtime, "touch /begun; sleep 0.5; echo out; exit 3");
        let terminal = Terminal::open();
        let inner = container.bundle_command("run", &[]);
        let mut shell = std::process::Command::new("bash");
        // With job control a job has a process group of its own, and the shell keeps the terminal.
        shell
            .args(["-c", "set -m; \"$@\" & wait $!", "bash"])
            .arg(inner.get_program())
            .args(inner.get_args());
        let run = terminal.spawn(&container, &shell);
        wait_for("the program", || container.rootfs().join("begun").exists().then_some(()));
        std::thread::sleep(Duration::from_millis(100));
        assert!(tcgetattr(&terminal.slave).expect("modes").local_modes.contains(LocalModes::ICANON));
        let screen = terminal.read_slowly(Duration::ZERO);
        assert_eq!(run.finish().code, 3);
        assert_eq!(screen.join().expect("screen"), "out\n");
    });
}

#[test]
fn a_terminal_that_was_closed_by_all_is_read_when_somebody_opens_it_again() {
    each_runtime(|runtime| {
        let script = "exec </dev/null >/dev/null 2>&1
            sleep 0.5; seq 5000 >/dev/tty; exit 3";
        let container = on_a_terminal(runtime, script);
        let terminal = Terminal::open();
        let run = terminal.spawn(&container, &container.bundle_command("run", &[]));
        let screen = terminal.read_slowly(Duration::ZERO);
        assert_eq!(run.finish().code, 3);
        assert!(screen.join().expect("screen").ends_with("4999\n5000\n"));
    });
}

#[test]
fn what_others_go_on_writing_does_not_keep_an_exec() {
    each_runtime(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        let terminal = Terminal::open();
        let script = "trap '' HUP; yes & exit 3";
        let exec = container.command(&["exec", "--tty", &container.id, "sh", "-c", script]);
        let exec = terminal.spawn(&container, &exec);
        let _screen = terminal.read_slowly(Duration::from_millis(1));
        assert_eq!(exec.finish().code, 3);
        container.delete_force().ok();
    });
}
