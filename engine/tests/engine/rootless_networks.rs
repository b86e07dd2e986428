//! Networks with names of an ordinary user: what is not the same as root's. The rest stands in `networks` and `names`, for both.

use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Output, Room, finish, wait_for};
use crate::killed::{bare, delays, kill_after};
use crate::networks::{read_from, users_room};
use crate::rootless::{USER, WITHOUT_RANGES, room};

fn start(room: &Room, name: &str, flags: &[&str], script: &str) {
    let fixed = ["run", "-d", "--name", name];
    room.call(&[&fixed, flags, &["./rootfs", "sh", "-c", script]].concat()).exits(0);
}

fn pings(room: &Room, from: &str, to: &str) -> bool {
    room.call(&["exec", from, "ping", "-c", "1", "-W", "2", to]).status == 0
}

/// The process that holds the user's networks.
fn holder(room: &Room) -> Option<i32> {
    let text = fs::read_to_string(room.folder.join("runtime/pillbox/.rootless/holder")).ok()?;
    let pid = text.parse().ok()?;
    (!has_ended(pid)).then_some(pid)
}

/// One that was killed may wait for its parent.
fn has_ended(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill").success());
}

/// Nothing runs for networks any more, and nothing is recorded of them.
fn assert_ended(room: &Room) {
    wait_for("the end of what networks need", || holder(room).is_none());
    let left: Vec<_> = [".rootless", ".network"]
        .iter()
        .flat_map(|name| fs::read_dir(room.folder.join("runtime/pillbox").join(name)).into_iter().flatten())
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_id_is_enough_and_nothing_outlives_the_last_network() {
    for user in [USER, WITHOUT_RANGES] {
        let Some(room) = room(user) else { return };
        room.give_rootfs();
        room.call(&["network", "create", "--internal", "net"]).ok();
        assert_eq!(holder(&room), None);
        start(&room, "one", &["--network", "net"], "sleep 1000");
        start(&room, "two", &["--network", "net"], "sleep 1000");
        assert!(pings(&room, "two", "one"));
        // Nothing of that is the host's.
        let links = Command::new("ip").args(["-o", "link"]).output().expect("ip");
        let link = room.call(&["network", "inspect", "-f", "{{.Link}}", "net"]).ok();
        assert!(!String::from_utf8_lossy(&links.stdout).contains(link.trim()));
        let maps = room.call(&["exec", "one", "cat", "/proc/self/uid_map"]).ok();
        assert!(maps.split_whitespace().nth(1) == Some(&user.to_string()), "{maps}");
        room.call(&["rm", "-f", "one", "two"]).ok();
        assert!(holder(&room).is_some());
        assert_eq!(room.call(&["network", "prune", "-f"]).ok(), "Deleted Networks:\nnet\n\n");
        assert_ended(&room);
        room.assert_gone();
    }
}

#[test]
fn the_outside_and_published_ports() {
    let Some((room, _alone)) = users_room() else { return };
    room.call(&["network", "create", "net"]).ok();
    room.call(&["network", "create", "--internal", "closed"]).ok();
    let serve = "while :; do echo served | nc -l -p 80; done";
    let ports = ["-p", "127.0.0.1:18083:80", "-p", "18083:53/udp", "-p", "81"];
    start(&room, "server", &[&["--network", "net"][..], &ports].concat(), serve);
    wait_for("an answer", || read_from("127.0.0.1:18083") == "served\n");
    let listed = room.call(&["port", "server"]).ok();
    assert!(listed.contains("53/udp -> 0.0.0.0:18083\n80/tcp -> 127.0.0.1:18083\n"), "{listed}");
    let chosen = listed.lines().find_map(|line| line.strip_prefix("81/tcp -> 0.0.0.0:")).expect("a port");
    // A client that finds nobody in the container is hung up on.
    let mut refused = TcpStream::connect(format!("127.0.0.1:{chosen}")).expect("connect");
    refused.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    let end = std::io::Read::read(&mut refused, &mut [0]);
    assert!(
        end.as_ref().is_ok_and(|length| *length == 0)
            || end.is_err_and(|error| error.raw_os_error() == Some(104))
    );
    datagrams_are_answered(&room);
    for (port, words) in [
        ("127.0.0.1:18083:80", "port 127.0.0.1:18083/tcp: another program on the host has it"),
        ("1023:80", "an ordinary user may bind ports from 1024 on"),
        ("80/sctp", "tcp and udp, not sctp"),
    ] {
        room.call(&["run", "--rm", "--network", "net", "-p", port, "./rootfs", "true"]).fails(125, words);
    }
    // What another address of the host's serves is reached; on an internal network nothing is.
    serve_outside(18084);
    let asks = |network: &str| ask_outside(&room, network, 18084).stdout;
    assert_reached(&asks("net"));
    assert_eq!(asks("closed"), "");
    // The ports are free as soon as the container's end is told.
    for _ in 0..5 {
        room.call(&["restart", "-t", "0", "server"]).ok();
    }
    wait_for("an answer", || read_from("127.0.0.1:18083") == "served\n");
    room.call(&["rm", "-f", "server"]).ok();
    TcpListener::bind("127.0.0.1:18083").expect("the port is free");
    UdpSocket::bind("0.0.0.0:18083").expect("the port is free");
    room.call(&["network", "rm", "net", "closed"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

/// At another address of the host's.
fn serve_outside(port: u16) {
    let address = Command::new("ip").args(["address", "replace", "192.0.2.9/32", "dev", "lo"]).status();
    assert!(address.expect("ip").success());
    let outside = TcpListener::bind(("192.0.2.9", port)).expect("bind");
    std::thread::spawn(move || {
        for stream in outside.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &stream, b"outside\n");
        }
    });
}

fn ask_outside(room: &Room, network: &str, port: u16) -> Output {
    // pasta may keep the end of a connection to itself.
    let script = format!(
        "nc 192.0.2.9 {port} > /tmp/said & for at in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do [ -s /tmp/said ] && break; sleep 0.2; done; cat /tmp/said"
    );
    room.call(&["run", "--rm", "--network", network, "./rootfs", "sh", "-c", &script])
}

/// A number at several addresses of the host.
#[test]
fn ports_of_several_addresses() {
    let Some((room, _alone)) = users_room() else { return };
    room.call(&["network", "create", "net"]).ok();
    let serve = "while :; do echo served | nc -l -p 80; done";
    let ports = ["-p", "127.0.0.1:18087:80", "-p", "[::1]:18087:80", "-p", "18088-18089:80-81"];
    start(&room, "server", &[&["--network", "net"][..], &ports].concat(), serve);
    for address in ["127.0.0.1:18087", "[::1]:18087", "127.0.0.1:18088"] {
        wait_for("an answer", || read_from(address) == "served\n");
    }
    let listed = room.call(&["port", "server"]).ok();
    let expected = ["80/tcp -> 127.0.0.1:18087", "80/tcp -> [::1]:18087", "80/tcp -> 0.0.0.0:18088"];
    assert!(expected.iter().all(|line| listed.contains(line)), "{listed}");
    room.call(&["network", "create", "other"]).ok();
    room.call(&["network", "connect", "other", "server"]).ok();
    // Whatever had them is replaced.
    room.call(&["network", "disconnect", "net", "server"]).ok();
    assert_eq!(room.call(&["port", "server"]).ok(), listed);
    room.call(&["restart", "-t", "0", "server"]).ok();
    assert_eq!(room.call(&["port", "server"]).ok(), listed);
    wait_for("an answer", || read_from("[::1]:18087") == "served\n");
    for (one, other, words) in [
        ("18090:80", "18090:80", "port 18090/tcp: it is published twice"),
        ("18090:80", "127.0.0.1:18090:81", "port 127.0.0.1:18090/tcp: it is published twice"),
    ] {
        let run = ["run", "--rm", "--network", "net", "-p", one, "-p", other, "./rootfs", "true"];
        room.call(&run).fails(125, words);
    }
    room.call(&["rm", "-f", "server"]).ok();
    room.call(&["network", "rm", "net", "other"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

/// At each address of the host a number leads elsewhere: to another container, or to another port of one.
#[test]
fn one_number_at_addresses_of_several_containers() {
    let Some((room, _alone)) = users_room() else { return };
    room.call(&["network", "create", "net"]).ok();
    let serve = |word: &str, port: u16| format!("while :; do echo {word} | nc -l -p {port}; done");
    let both = |one: &str, other: &str| format!("({}) & {}", serve(one, 80), serve(other, 81));
    let at = |one: &str, other: &str| [format!("{one}:18091:80"), format!("{other}:18091:81")];
    let containers = [("one", "127.0.0.1", "[::1]"), ("two", "127.0.0.2", "198.51.100.7")];
    for (name, first, second) in containers {
        let [first, second] = at(first, second);
        let flags = ["--network", "net", "-p", &first, "-p", &second];
        start(&room, name, &flags, &both(&format!("{name}-80"), &format!("{name}-81")));
    }
    let assert_led = || {
        for (name, first, second) in containers {
            for (address, port) in [(first, 80), (second, 81)] {
                let (from, expected) = (format!("{address}:18091"), format!("{name}-{port}\n"));
                wait_for(&format!("{expected:?} at {from}"), || read_from(&from) == expected);
            }
            let listed = room.call(&["port", name]).ok();
            let expected = format!("80/tcp -> {first}:18091\n81/tcp -> {second}:18091\n");
            assert_eq!(listed, expected);
        }
    };
    assert_led();
    // Whatever had them is replaced.
    room.call(&["network", "create", "other"]).ok();
    room.call(&["network", "connect", "other", "one"]).ok();
    room.call(&["network", "disconnect", "net", "one"]).ok();
    room.call(&["restart", "-t", "0", "two"]).ok();
    assert_led();
    let run = ["run", "--rm", "--network", "net", "-p", "127.0.0.2:18091:80", "./rootfs", "true"];
    room.call(&run).fails(125, "port 127.0.0.2:18091/tcp: ");
    room.call(&["rm", "-f", "one", "two"]).ok();
    room.call(&["network", "rm", "net", "other"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

/// By a thread of the test's in the container's network namespace.
fn datagrams_are_answered(room: &Room) {
    let pid = room.call(&["inspect", "-f", "{{.State.Pid}}", "server"]).ok();
    let namespace = fs::File::open(format!("/proc/{}/ns/net", pid.trim())).expect("namespace");
    let (ready, is_ready) = std::sync::mpsc::channel();
    let answering = std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .expect("enter");
        let server = UdpSocket::bind("0.0.0.0:53").expect("bind");
        server.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        ready.send(()).expect("send");
        let mut buffer = [0; 9000];
        for _ in 0..4 {
            let (length, client) = server.recv_from(&mut buffer).expect("a datagram");
            server.send_to(&buffer[..length], client).expect("answer");
        }
    });
    is_ready.recv().expect("a server");
    for client in ["127.0.0.1:0", "198.51.100.7:0"] {
        let client = UdpSocket::bind(client).expect("socket");
        let host = client.local_addr().expect("address").ip();
        client.connect((host, 18083)).expect("connect");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        for length in [1, 8000] {
            let mut buffer = [0; 9000];
            client.send(&vec![7; length]).expect("send");
            assert_eq!(client.recv(&mut buffer).expect("an answer"), length);
        }
    }
    answering.join().expect("server");
}

#[test]
fn networks_that_have_no_way_out() {
    let Some(room) = room(USER) else { return };
    room.give_rootfs();
    let tools = room.folder.join("tools");
    fs::create_dir(&tools).expect("folder");
    for tool in ["newuidmap", "newgidmap", "setpriv", "timeout"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), tools.join(tool)).expect("link");
    }
    room.call(&["network", "create", "net"]).ok();
    let mut command = room.command(&["run", "--rm", "--network", "net", "./rootfs", "true"]);
    let told = finish(command.env("PATH", &tools)).exits(0).stderr;
    assert!(
        told.starts_with("box: your networks reach nothing outside: ") && told.contains("passt"),
        "{told}"
    );
    room.call(&["network", "rm", "net"]).ok();
    room.assert_gone();
}

/// A user who gets ranges of ids when his networks are there already.
#[test]
fn ranges_that_come_later() {
    let Some(room) = room(USER) else { return };
    room.give_rootfs();
    let tools = room.folder.join("tools");
    fs::create_dir(&tools).expect("folder");
    for tool in ["setpriv", "timeout"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), tools.join(tool)).expect("link");
    }
    room.call(&["network", "create", "--internal", "net"]).ok();
    let run = |flags: &[&str], script: &str| {
        let fixed = ["run", "--network", "net"];
        room.command(&[&fixed[..], flags, &["./rootfs", "sh", "-c", script]].concat())
    };
    let early = finish(run(&["-d", "--name", "early"], "sleep 1000").env("PATH", &tools)).exits(0);
    assert!(early.stderr.contains("you have no ranges of ids"), "{}", early.stderr);
    let late = || finish(&mut run(&["--rm"], "cat /proc/self/uid_map"));
    late().fails(125, "your networks were made with other ranges of ids than you have now");
    room.call(&["stop", "-t", "0", "early"]).ok();
    let maps = late().ok();
    assert_eq!(maps.lines().count(), 2, "{maps}");
    room.call(&["start", "early"]).ok();
    room.call(&["rm", "-f", "early"]).ok();
    room.call(&["network", "rm", "net"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

#[test]
fn what_an_ordinary_user_cannot_have() {
    let Some((room, _alone)) = users_room() else { return };
    for driver in ["macvlan", "ipvlan"] {
        room.call(&["network", "create", "--driver", driver, "-o", "parent=lo", "net"]).fails(
            125,
            &format!("--driver {driver}: it lies over a link of the host's (lo), which is root's"),
        );
    }
    room.call(&["network", "create", "--internal", "net"]).ok();
    start(&room, "alone", &["--network", "none"], "sleep 1000");
    room.call(&["network", "connect", "net", "alone"]).fails(1, "it is to have no network");
    start(&room, "own", &[], "sleep 1000");
    room.call(&["network", "connect", "net", "own"]).fails(1, "stop it first (box stop own)");
    start(&room, "one", &["--network", "net"], "sleep 1000");
    room.call(&["run", "--rm", "--network", "net", "--pid", "container:alone", "./rootfs", "true"])
        .fails(125, "can only join those that are on one as well");
    let share = ["run", "--rm", "--network", "container:one", "--pid", "container:alone", "./rootfs", "true"];
    room.call(&share).fails(125, "container:alone: its user namespace is not that of one");
    room.call(&["rm", "-f", "alone", "own", "one"]).ok();
    room.call(&["network", "rm", "net"]).ok();
    room.assert_gone();
}

#[test]
fn a_holder_that_is_killed() {
    let Some((room, _alone)) = users_room() else { return };
    room.call(&["network", "create", "net"]).ok();
    let serve = "while :; do echo served | nc -l -p 80; done";
    start(&room, "one", &["--network", "net", "-p", "127.0.0.1:18085:80"], serve);
    start(&room, "stopped", &["--network", "net"], "sleep 1000");
    room.call(&["stop", "-t", "0", "stopped"]).ok();
    kill(holder(&room).expect("a holder"));
    wait_for("its end", || holder(&room).is_none());
    let told = room.call(&["run", "-d", "--name", "two", "--network", "net", "./rootfs", "sleep", "1000"]);
    let told = told.exits(0).stderr;
    assert!(told.starts_with("box: container one: the process that held its networks was killed"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    room.call(&["network", "disconnect", "net", "one"]).fails(1, "has lost those that it had");
    let forced = room.call(&["network", "disconnect", "-f", "net", "one"]).exits(0).stderr;
    assert!(forced.contains("has lost those that it had"), "{forced}");
    let networks = room.call(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", "one"]).ok();
    assert!(networks.starts_with("{\"none\":"), "{networks}");
    room.call(&["stop", "-t", "0", "one"]).ok();
    room.call(&["network", "connect", "net", "one"]).ok();
    room.call(&["start", "one"]).ok();
    assert!(pings(&room, "two", "one"));
    wait_for("an answer", || read_from("127.0.0.1:18085") == "served\n");
    room.call(&["rm", "-f", "one", "two", "stopped"]).ok();
    room.call(&["network", "rm", "net"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

/// What opens its ports is replaced by the next command, of whatever kind, with the ports that were chosen.
#[test]
fn a_forwarder_that_is_killed() {
    let Some((room, _alone)) = users_room() else { return };
    room.call(&["network", "create", "net"]).ok();
    let serve = "while :; do echo served | nc -l -p 80; done";
    let ports = ["-p", "127.0.0.1:18097:80", "-p", "80", "-p", "18097:53/udp", "-p", "127.0.0.2:18097:80"];
    start(&room, "one", &[&["--network", "net"][..], &ports].concat(), serve);
    let listed = room.call(&["port", "one"]).ok();
    let chosen = listed.lines().find_map(|line| line.strip_prefix("80/tcp -> 0.0.0.0:")).expect("a port");
    let id = room.call(&["inspect", "-f", "{{.Id}}", "one"]).ok();
    let file = room.folder.join("runtime/pillbox/.rootless").join(format!("ports-{}", id.trim()));
    let numbers = || fs::read_to_string(&file).expect("numbers");
    let before = numbers();
    let addresses = [format!("127.0.0.1:{chosen}"), "127.0.0.1:18097".into(), "127.0.0.2:18097".into()];
    let lock = fs::metadata(&file).expect("file");
    for _ in 0..2 {
        let forwarder = holding(&lock).expect("a forwarder");
        kill(forwarder);
        wait_for("its end", || has_ended(forwarder));
        // Its threads have the ports until each has ended.
        wait_for("closed ports", || addresses.iter().all(|address| TcpStream::connect(address).is_err()));
        // Several at once do it once.
        let lists: Vec<_> = (0..4).map(|_| room.command(&["ps"]).stdout(Stdio::null()).spawn()).collect();
        for list in lists {
            let said = list.expect("box").wait_with_output().expect("output");
            assert!(said.status.success() && said.stderr.is_empty());
        }
        for address in &addresses {
            wait_for("an answer", || read_from(address) == "served\n");
        }
        UdpSocket::bind("0.0.0.0:18097").expect_err("the port is open");
        assert_eq!((numbers(), room.call(&["port", "one"]).ok()), (before.clone(), listed.clone()));
    }
    // Somebody else has one meanwhile.
    let forwarder = holding(&lock).expect("a forwarder");
    kill(forwarder);
    wait_for("its end", || has_ended(forwarder));
    let mut taken = None;
    wait_for("a closed port", || {
        taken = TcpListener::bind("127.0.0.2:18097").ok();
        taken.is_some()
    });
    let told = room.call(&["ps", "-q"]).exits(0).stderr;
    assert!(
        told.contains("its published ports are closed, because a process was killed: port 127.0.0.2:18097"),
        "{told}"
    );
    drop(taken);
    assert_eq!(room.call(&["ps", "-q"]).exits(0).stderr, "");
    wait_for("an answer", || read_from(&addresses[2]) == "served\n");
    room.call(&["rm", "-f", "one"]).ok();
    TcpListener::bind("127.0.0.1:18097").expect("the port is free");
    room.call(&["network", "rm", "net"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

/// The process that has a file locked.
fn holding(file: &fs::Metadata) -> Option<i32> {
    let locks = fs::read_to_string("/proc/locks").expect("locks");
    let inode = format!(":{}", file.ino());
    let line =
        locks.lines().find(|line| line.split_whitespace().nth(5).is_some_and(|id| id.ends_with(&inode)))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

/// The processes that lead outside for a holder's networks.
fn ways_out(holder: i32) -> Vec<i32> {
    let found = crate::host::processes_naming(&format!("--userns\0/proc/{holder}/ns/user"));
    found.into_iter().map(u32::cast_signed).collect()
}

/// pasta of 2023 passes on again and again what somebody said who hung up at once.
#[track_caller]
fn assert_reached(said: &str) {
    assert!(said.starts_with("outside\n"), "{said}");
}

/// Who was killed is replaced, and nothing of it outlives the networks.
#[test]
fn a_way_out_that_is_killed() {
    let Some((room, _alone)) = users_room() else { return };
    room.call(&["network", "create", "net"]).ok();
    start(&room, "one", &["--network", "net"], "sleep 1000");
    serve_outside(18086);
    let asks = || ask_outside(&room, "net", 18086);
    let current = || holder(&room).expect("a holder");
    for _ in 0..2 {
        for pid in ways_out(current()) {
            kill(pid);
            wait_for("its end", || has_ended(pid));
        }
        assert_reached(&asks().ok());
        assert_eq!(ways_out(current()).len(), 1);
    }
    // By any command.
    for pid in ways_out(current()) {
        kill(pid);
        wait_for("its end", || has_ended(pid));
    }
    room.call(&["ps"]).ok();
    assert_eq!(ways_out(current()).len(), 1);
    room.call(&["rm", "-f", "one"]).ok();
    // With its starter, before that has recorded it.
    let early = ["run", "--rm", "--network", "net", "./rootfs", "true"];
    for delay in delays(10, Duration::from_millis(120)) {
        let before = current();
        room.call(&["network", "rm", "net"]).ok();
        wait_for("the end of the way out", || ways_out(before).is_empty());
        room.call(&["network", "create", "net"]).ok();
        kill_after(&mut bare(&room, &early), delay);
        assert_reached(&asks().ok());
        assert_eq!(ways_out(current()).len(), 1);
    }
    let last = current();
    // Everything at once.
    kill(last);
    room.call(&["network", "rm", "net"]).ok();
    assert_ended(&room);
    wait_for("the end of the way out", || ways_out(last).is_empty());
    room.assert_gone();
}

/// A network that is removed while a container on it is about to be started again is not kept by it.
#[test]
fn a_network_that_goes_between_two_starts() {
    let Some(room) = room(USER) else { return };
    room.give_rootfs();
    room.call(&["network", "create", "--internal", "net"]).ok();
    let script = "exec sleep 0.1";
    start(&room, "again", &["--network", "net", "--restart", "always"], script);
    wait_for("a moment between two starts", || room.call(&["network", "rm", "net"]).status == 0);
    wait_for("its end", || room.state("again") == "exited");
    let error = room.call(&["inspect", "-f", "{{.State.Error}}", "again"]).ok();
    // Whichever of them it finds gone.
    let is_named = ["network net: there is none", "which holds the networks: it has just ended"];
    assert!(is_named.iter().any(|words| error.contains(words)), "{error}");
    room.call(&["rm", "-f", "again"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

/// What holds a user's networks is not in the cgroup of a command either, and leaves none.
#[test]
fn the_cgroup_of_monitors_goes_with_the_networks() {
    let Some(room) = room(USER) else { return };
    room.give_rootfs();
    let above = Path::new("/sys/fs/cgroup").join(format!("test-{}-networks", crate::host::run_name()));
    let own = above.join("session");
    fs::create_dir_all(&own).expect("cgroup");
    for folder in [&above, &own] {
        for name in ["", "cgroup.procs"] {
            std::os::unix::fs::chown(folder.join(name), Some(USER), Some(USER)).expect("chown");
        }
    }
    let call = |arguments: &[&str]| {
        let command = room.command(arguments);
        let mut moved = Command::new("sh");
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", own.display());
        moved.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
        moved.env_clear().current_dir(&room.folder).stdin(Stdio::null());
        moved.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        finish(&mut moved).ok()
    };
    call(&["network", "create", "--internal", "net"]);
    call(&["run", "-d", "--name", "one", "--network", "net", "./rootfs", "sleep", "1000"]);
    let monitors = above.join("box-monitors");
    let members = fs::read_to_string(monitors.join("cgroup.procs")).expect("a cgroup of monitors");
    let holder = holder(&room).expect("a holder");
    assert!(members.lines().any(|line| line == holder.to_string()), "{members}");
    call(&["rm", "-f", "one"]);
    call(&["network", "rm", "net"]);
    wait_for("the end of the cgroup", || !monitors.exists());
    assert_ended(&room);
    room.assert_gone();
}

#[test]
fn starts_that_are_killed() {
    let Some(room) = room(USER) else { return };
    room.give_rootfs();
    room.call(&["network", "create", "--internal", "closed"]).ok();
    let run = ["run", "-d", "--name", "one", "--network", "closed", "./rootfs", "sleep", "1000"];
    for delay in delays(10, Duration::from_millis(150)) {
        kill_after(&mut bare(&room, &run), delay);
        // Whoever holds the networks is killed as well, now and then before it has said so.
        if let Some(pid) = holder(&room) {
            kill(pid);
            wait_for("its end", || has_ended(pid));
        }
        room.call(&["rm", "-f", "one"]);
        let said =
            room.call(&["run", "--rm", "--network", "closed", "./rootfs", "ip", "addr", "show", "eth0"]);
        assert!(said.exits(0).stdout.contains("inet 10."));
    }
    room.call(&["network", "rm", "closed"]).ok();
    assert_ended(&room);
    room.assert_gone();
}

#[test]
fn many_at_once() {
    let Some(room) = room(USER) else { return };
    room.give_rootfs();
    room.call(&["network", "create", "--internal", "net"]).ok();
    let run = ["run", "--rm", "--network", "net", "./rootfs", "ip", "-4", "addr", "show", "eth0"];
    let children: Vec<_> = (0..10)
        .map(|_| room.command(&run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start box"))
        .collect();
    let mut addresses: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("wait");
            let (said, wrong) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && wrong.is_empty(), "{wrong}");
            let found = said.split_whitespace().skip_while(|word| *word != "inet").nth(1);
            found.expect("an address").to_string()
        })
        .collect();
    addresses.sort();
    assert!(addresses.iter().all(|address| address.starts_with("10.")), "{addresses:?}");
    room.call(&["network", "rm", "net"]).ok();
    assert_ended(&room);
    room.assert_gone();
}
