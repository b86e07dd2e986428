//! What the container inherits: descriptors, the terminal, the protocol of the console socket.

use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

use crate::harness::{Container, LIMIT, each_runtime, each_runtime_but, pillbox_only, skip, wait_for};

/// Runs `command` through bash with these redirections, which can pass on any descriptor.
fn redirected(command: &Command, redirections: &str) -> Command {
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("export LISTEN_PID=$$; exec \"$@\" {redirections}")).arg("bash");
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::null());
    shell
}

#[test]
fn leaked_descriptors_are_not_visible() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "ls /proc/self/fd");
        let output = container
            .finish(&mut redirected(&container.bundle_command("run", &[]), "77</ 9</etc/passwd 3</"));
        // 3 is ls's own descriptor of the folder.
        assert_eq!(output.ok().stdout, "0\n1\n2\n3\n");
    });
}

#[test]
fn nothing_of_the_host_is_open_in_the_created_container() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "for fd in /proc/1/fd/*; do readlink $fd; done; true");
        let output = container.run_ok();
        let stdio =
            |line: &str| line.contains("/output/std") || line.starts_with("pipe:") || line == "/dev/null";
        assert_eq!(output.lines().filter(|line| stdio(line)).count(), 3, "{output}");
        let others = output.lines().filter(|line| !stdio(line));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "{output}");
    });
}

#[test]
fn closed_standard_streams_are_dev_null() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done >/seen");
        let seen = container.bundle().join("rootfs/seen");
        fs::write(&seen, "").expect("file");
        let closed = redirected(&container.bundle_command("run", &[]), "<&- >&- 2>&-");
        container.finish(&mut { closed }).ok();
        assert_eq!(fs::read_to_string(&seen).expect("what it saw"), "/dev/null\n/seen\n/dev/null\n");
    });
}

#[test]
fn standard_streams_that_cannot_be_looked_at_are_an_error_that_says_so() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        // poll(2) does not take more descriptors than may be open.
        let mut shell = Command::new("bash");
        shell.args(["-c", "ulimit -n 2; exec \"$0\" list"]).arg(&runtime.path);
        let output = container.finish(&mut shell);
        assert_eq!((output.code, output.error_lines().len()), (1, 1), "{output:?}");
        output.fails_with("stdin, stdout and stderr: poll: invalid argument");
    });
}

#[test]
fn preserve_fds_hands_down_exactly_those() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "cat <&3; cat <&4; ls /proc/self/fd");
        for name in ["three", "four", "five"] {
            fs::write(container.folder.join(name), format!("{name}\n")).expect("file");
        }
        let command = container.bundle_command("run", &["--preserve-fds", "2"]);
        let folder = container.folder.display();
        let output = container
            .finish(&mut redirected(&command, &format!("3<{folder}/three 4<{folder}/four 5<{folder}/five")));
        assert_eq!(output.ok().stdout, "three\nfour\n0\n1\n2\n3\n4\n5\n");
    });
}

#[test]
fn preserved_descriptors_that_are_not_there_are_left_out() {
    each_runtime_but(&[("runc", "finds descriptors of Go's own there")], |runtime| {
        let container = Container::sh(runtime, "for fd in /proc/1/fd/*; do readlink $fd; done; true");
        for flags in [&["--preserve-fds", "100"][..], &["--preserve-fds", "3"]] {
            let command = container.bundle_command("run", flags);
            let folder = container.folder.display();
            fs::write(container.folder.join("five"), "").expect("file");
            let output =
                container.finish(&mut redirected(&command, &format!("3<&- 4<&- 5<{folder}/five 6<&-"))).ok();
            // No descriptor of the runtime's in the gap or above: only stdio, the file, and what the shell
            // itself has open.
            let others =
                output.stdout.lines().filter(|line| !line.contains("/output/std") && *line != "/dev/null");
            assert_eq!(others.collect::<Vec<_>>(), [format!("{folder}/five")], "{flags:?}");
        }
        container.assert_gone();
    });
}

#[test]
fn listen_fds_follow_the_standard_ones() {
    each_runtime_but(&[("crun", "sets LISTEN_FDS but not LISTEN_PID")], |runtime| {
        let container = Container::sh(runtime, "echo $LISTEN_FDS $LISTEN_PID; cat <&3");
        fs::write(container.folder.join("three"), "three\n").expect("file");
        let mut command = container.bundle_command("run", &[]);
        command.env("LISTEN_FDS", "1");
        let three = format!("3<{}/three 9</", container.folder.display());
        assert_eq!(container.finish(&mut redirected(&command, &three)).ok().stdout, "1 1\nthree\n");
    });
}

#[test]
fn no_more_listen_fds_are_promised_than_there_are() {
    // Otherwise the next file that the program opens would be taken for one of them.
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "echo [$LISTEN_FDS]");
        let mut command = container.bundle_command("run", &[]);
        command.env("LISTEN_FDS", "3");
        let some = container.finish(&mut redirected(&command, "3</dev/null 4<&- 5<&-"));
        assert_eq!(some.ok().stdout, "[1]\n");
        let none = container.finish(&mut redirected(&command, "3<&- 4<&- 5<&-"));
        assert_eq!(none.ok().stdout, "[0]\n");
    });
}

#[test]
fn listen_fds_without_a_pid_are_meant_for_the_container() {
    each_runtime_but(&[("runc", "wants LISTEN_PID")], |runtime| {
        let container = Container::sh(runtime, "cat <&3; cat <&4 2>/dev/null; true");
        for name in ["three", "four"] {
            fs::write(container.folder.join(name), format!("{name}\n")).expect("file");
        }
        let mut command = container.bundle_command("run", &[]);
        command.env("LISTEN_FDS", "1");
        let folder = container.folder.display();
        let mut shell = redirected(&command, &format!("3<{folder}/three 4<{folder}/four 2>/dev/null"));
        shell.env("BASH_FUNC_export%%", "() { unset LISTEN_PID; }");
        assert_eq!(container.finish(&mut shell).ok().stdout, "three\n");
    });
}

#[test]
fn listen_fds_of_another_process_are_not_the_containers() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "echo \"[$LISTEN_FDS]\"");
        let mut command = container.bundle_command("run", &[]);
        command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
        assert_eq!(container.finish(&mut command).ok().stdout, "[]\n");
    });
}

/// Accepts one connection and receives one message: its bytes and its descriptors.
pub fn receive(listener: &UnixListener) -> (Vec<u8>, Vec<OwnedFd>) {
    let (connection, _) = listener.accept().expect("accept");
    let (bytes, descriptors) = receive_message(&connection);
    // Exactly one message: nothing may follow.
    let (rest, more) = receive_message(&connection);
    assert_eq!((rest.len(), more.len()), (0, 0));
    (bytes, descriptors)
}

fn receive_message(connection: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(connection, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::empty());
    bytes.truncate(message.expect("recvmsg").bytes);
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    (bytes, descriptors)
}

#[test]
fn the_console_socket_gets_the_terminal() {
    each_runtime(|runtime| {
        let script =
            "tty; test -t 0 && test -t 1 && test -t 2 && echo all; stty size; read line; echo got $line";
        let mut container = Container::sh(runtime, script);
        container.spec["process"]["terminal"] = json!(true);
        container.spec["process"]["consoleSize"] = json!({"height": 33, "width": 77});
        let socket = container.folder.join("console");
        let listener = UnixListener::bind(&socket).expect("socket");
        let flags = ["--console-socket", socket.to_str().expect("path")];
        // The shim accepts the connection after create has returned: create must not wait for it.
        container.finish(&mut container.bundle_command("create", &flags)).ok();
        let (bytes, mut descriptors) = receive(&listener);
        assert!((1..4096).contains(&bytes.len()), "{bytes:?}");
        assert_eq!(descriptors.len(), 1);
        let mut terminal = fs::File::from(descriptors.remove(0));
        assert!(rustix::termios::isatty(&terminal));
        container.start().ok();
        terminal.write_all(b"word\n").expect("write");
        let said = read_until(&mut terminal, "got word");
        for part in ["/dev/pts/0", "all", "33 77"] {
            assert!(said.contains(part), "{part} in {said:?}");
        }
        container.wait_status("stopped");
    });
}

/// Reads a terminal's master until `end` comes.
fn read_until(terminal: &mut fs::File, end: &str) -> String {
    let mut said = String::new();
    let begun = std::time::Instant::now();
    while !said.contains(end) {
        assert!(begun.elapsed() < LIMIT, "no {end:?} in {said:?}");
        let mut poll = [rustix::event::PollFd::new(terminal, rustix::event::PollFlags::IN)];
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        if rustix::event::poll(&mut poll, Some(&second)).expect("poll") > 0 {
            let mut bytes = [0; 256];
            let count =
                terminal.read(&mut bytes).unwrap_or_else(|error| panic!("no {end:?} in {said:?}: {error}"));
            said += &String::from_utf8_lossy(&bytes[..count]);
        }
    }
    said
}

#[test]
fn the_console_is_in_the_container() {
    each_runtime(|runtime| {
        let mut container =
            Container::sh(runtime, "test -c /dev/console && echo console > /dev/console; echo end");
        container.spec["process"]["terminal"] = json!(true);
        let socket = container.folder.join("console");
        let listener = UnixListener::bind(&socket).expect("socket");
        let flags = ["--detach", "--console-socket", socket.to_str().expect("path")];
        container.finish(&mut container.bundle_command("run", &flags)).ok();
        let (_, mut descriptors) = receive(&listener);
        let said = read_until(&mut fs::File::from(descriptors.remove(0)), "end");
        assert!(said.contains("console"), "{said:?}");
    });
}

#[test]
fn a_detached_terminal_needs_a_console_socket() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["process"]["terminal"] = json!(true);
        container.create().fails_with("console");
        container.finish(&mut container.bundle_command("run", &["--detach"])).fails_with("console");
        container.assert_gone();
    });
}

#[test]
fn a_console_socket_needs_a_terminal() {
    each_runtime_but(&[("crun", "ignores it")], |runtime| {
        let container = Container::new(runtime);
        let flags = ["--console-socket", "/nonesuch"];
        container.finish(&mut container.bundle_command("create", &flags)).fails_with("console");
        container.assert_gone();
    });
}

#[test]
fn a_console_socket_that_is_missing_is_an_error() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["terminal"] = json!(true);
        let path = container.folder.join("console");
        let flags = ["--console-socket", path.to_str().expect("path")];
        container.finish(&mut container.bundle_command("create", &flags)).fails_with("console");
        container.assert_gone();
    });
}

/// `command` under a terminal made by script(1).
fn under_script(command: &Command) -> Option<Command> {
    if Command::new("script").arg("--version").output().is_err() {
        skip("script(1) is not installed");
        return None;
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| format!("'{}'", word.to_str().expect("word"))).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped());
    Some(script)
}

#[test]
fn a_foreground_terminal_is_relayed() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "tty; read line; echo got $line; exit 3");
        container.spec["process"]["terminal"] = json!(true);
        let Some(mut script) = under_script(&container.bundle_command("run", &[])) else { return };
        let mut run = container.spawn(&mut script);
        wait_for("the container's terminal", || run.stdout_now().contains("/dev/pts/0").then_some(()));
        let mut stdin = run.stdin();
        stdin.write_all(b"word\n").expect("write");
        let output = run.finish();
        assert!(output.stdout.contains("got word"), "{output:?}");
        assert_eq!(output.code, 3);
        container.assert_gone();
    });
}

#[test]
fn a_key_interrupts_the_container_not_the_runtime() {
    each_runtime(|runtime| {
        let mut container =
            Container::sh(runtime, "trap 'echo INT; exit 5' INT; echo ready; while :; do sleep 0.05; done");
        container.spec["process"]["terminal"] = json!(true);
        let Some(mut script) = under_script(&container.bundle_command("run", &[])) else { return };
        let mut run = container.spawn(&mut script);
        wait_for("ready", || run.stdout_now().contains("ready").then_some(()));
        run.stdin().write_all(b"\x03").expect("write");
        let output = run.finish();
        assert!(output.stdout.contains("INT"), "{output:?}");
        assert_eq!(output.code, 5);
        container.assert_gone();
    });
}

#[test]
fn without_a_terminal_there_is_none() {
    each_runtime(|runtime| {
        let container = Container::sh(
            runtime,
            "tty; ls /dev/console 2>/dev/null; (: < /dev/tty) 2>/dev/null || echo none",
        );
        let output = container.run();
        assert_eq!((output.code, output.stdout.as_str()), (0, "not a tty\nnone\n"), "{output:?}");
    });
}
