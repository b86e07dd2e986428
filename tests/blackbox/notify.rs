//! sd_notify(3): through the runtime, a container informs the service manager that it is ready.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Container, Runtime, each_runtime, each_runtime_but, pillbox_only, wait_for};

/// A container that sees the socket of NOTIFY_SOCKET, and the manager's socket.
fn watched<'r>(runtime: &'r Runtime, script: &str) -> (Container<'r>, UnixDatagram, String) {
    let container = Container::sh(runtime, script);
    let path = container.folder.join("manager").to_str().expect("path").to_string();
    let manager = UnixDatagram::bind(&path).expect("socket");
    manager.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    (container, manager, path)
}

fn received(manager: &UnixDatagram) -> String {
    let mut message = [0; 1024];
    // A wait with a timeout is interrupted if this process is stopped for a while.
    let length = loop {
        match manager.recv(&mut message) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => break received.expect("a message"),
        }
    };
    String::from_utf8(message[..length].to_vec()).expect("text")
}

/// Sends a message as the program would: to a datagram socket, for which busybox has no client.
fn say(runtime: &Runtime, container: &Container<'_>, message: &str) {
    let socket = format!("/proc/{}/root{}/manager/notify", container.pid(), container.folder.display());
    let inside = UnixDatagram::unbound().expect("socket");
    inside
        .send_to(message.as_bytes(), &socket)
        .unwrap_or_else(|error| panic!("{} {socket}: {error}", runtime.name));
}

#[test]
fn the_container_gets_a_socket_of_its_own() {
    each_runtime_but(&[("runc", "waits for what it says")], |runtime| {
        let (container, manager, path) = watched(runtime, "echo $NOTIFY_SOCKET; stat -c %F $NOTIFY_SOCKET");
        let mut run = container.bundle_command("run", &[]);
        let output = container.finish(run.env("NOTIFY_SOCKET", &path));
        assert_eq!(output.code, 0, "{output:?}");
        let inside = output.stdout.lines().next().expect("path").to_string();
        assert!(inside.starts_with(&path) && output.stdout.ends_with("\nsocket\n"), "{output:?}");
        // Neither the container nor the runtime has sent anything.
        manager.set_nonblocking(true).expect("nonblocking");
        assert!(manager.recv(&mut [0; 8]).is_err());
        fs::remove_dir_all(container.rootfs().join(path.trim_start_matches('/'))).ok();
        container.assert_gone();
    });
}

#[test]
fn start_waits_until_it_is_ready() {
    pillbox_only(|runtime| {
        let (container, manager, path) = watched(runtime, "echo ready; sleep 1000");
        let mut create = container.bundle_command("create", &[]);
        let created = container.finish(create.env("NOTIFY_SOCKET", &path)).ok();
        let start = container.spawn(container.command(&["start", &container.id]).env("NOTIFY_SOCKET", &path));
        created.wait_for("ready");
        // Another start fails, and leaves the socket to the one that waits.
        container
            .finish(container.command(&["start", &container.id]).env("NOTIFY_SOCKET", &path))
            .fails_with("not created");
        say(runtime, &container, "STATUS=soon");
        say(runtime, &container, "STATUS=here\nREADY=1\nMAINPID=1\n");
        assert_eq!(start.finish().ok().stdout, "");
        assert_eq!(received(&manager), format!("MAINPID={}\nREADY=1", container.pid()));
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn start_does_not_wait_for_one_that_ends() {
    each_runtime(|runtime| {
        let (container, _manager, path) = watched(runtime, "true");
        container.finish(container.bundle_command("create", &[]).env("NOTIFY_SOCKET", &path)).ok();
        let output =
            container.finish(container.command(&["start", &container.id]).env("NOTIFY_SOCKET", &path));
        assert_eq!(output.code, 0, "{output:?}");
    });
}

#[test]
fn run_passes_on_that_it_is_ready() {
    let peers = [("crun", "waits for a barrier of the manager's"), ("runc", "has another path inside")];
    each_runtime_but(&peers, |runtime| {
        for user in [false, true] {
            let (mut container, manager, path) = watched(runtime, "read line");
            if user {
                container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            }
            let mut command = container.bundle_command("run", &[]);
            let running =
                container.spawn(command.env("NOTIFY_SOCKET", &path).stdin(std::process::Stdio::piped()));
            wait_for("running", || {
                let state = container.call(&["state", &container.id]);
                state.stdout.contains("\"running\"").then_some(())
            });
            say(runtime, &container, "READY=1");
            assert_eq!(received(&manager), "READY=1");
            let mut running = running;
            drop(running.stdin());
            running.finish();
            container.assert_gone();
        }
    });
}

#[test]
fn a_manager_whose_queue_is_full_holds_no_signal_up_and_hears_it_later() {
    pillbox_only(|runtime| {
        let (container, manager, path) =
            watched(runtime, "trap 'echo TERM' TERM; echo ready; while [ ! -e /end ]; do sleep 0.02; done");
        let mut run = container.bundle_command("run", &[]);
        let run = container.spawn(run.env("NOTIFY_SOCKET", &path));
        wait_for("ready", || run.stdout_now().contains("ready\n").then_some(()));
        let full = UnixDatagram::unbound().expect("socket");
        full.set_nonblocking(true).expect("nonblocking");
        let others = (0..).take_while(|_| full.send_to(b"OTHER=1", &path).is_ok()).count();
        say(runtime, &container, "READY=1");
        std::thread::sleep(Duration::from_millis(200));
        run.signal(rustix::process::Signal::TERM);
        wait_for("TERM", || run.stdout_now().contains("TERM\n").then_some(()));
        for _ in 0..others {
            assert_eq!(received(&manager), "OTHER=1");
        }
        assert_eq!(received(&manager), "READY=1");
        fs::write(container.rootfs().join("end"), "").expect("end");
        assert_eq!(run.finish().code, 0);
    });
}
