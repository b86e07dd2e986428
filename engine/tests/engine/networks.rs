//! Networks: the usual bridge, published ports, networks with names on which containers find each other.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::harness::{Room, wait_for};
use crate::killed::{bare, delays, kill_after, kill_with_monitor};
use crate::rootless;

/// One at a time: they share the host's bridges and its ports. The host is the tests' own network namespace.
pub fn room() -> Option<(Room, MutexGuard<'static, ()>)> {
    Room::new().map(alone)
}

/// The same of an ordinary user, whose bridges are in a network namespace of his own with a way out.
pub fn users_room() -> Option<(Room, MutexGuard<'static, ()>)> {
    let room = rootless::room(rootless::USER)?;
    let (room, alone) = alone(room);
    room.give_rootfs();
    rootless::open_way_out().then_some((room, alone))
}

/// The same for root and for an ordinary user.
pub fn as_root_and_as_a_user(check: fn(&Room)) {
    for room in [room, users_room] {
        if let Some((room, _alone)) = room() {
            check(&room);
        }
    }
}

fn alone(room: Room) -> (Room, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
    assert!(up.success());
    (room, alone)
}

const SERVE: &str = "while :; do echo from $NAME | nc -l -p 80; done";

pub fn read_from(address: &str) -> String {
    let address: SocketAddr = address.parse().expect("address");
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
        let _ = stream.read_to_string(&mut text);
    }
    text
}

fn links() -> String {
    let output = Command::new("ip").args(["-o", "link"]).output().expect("ip");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_port_of_the_hosts() {
    let Some((room, _alone)) = room() else { return };
    let start = [
        "run",
        "-d",
        "--name",
        "server",
        "-e",
        "NAME=server",
        "-p",
        "127.0.0.1:18080:80",
        "./rootfs",
        "sh",
        "-c",
        SERVE,
    ];
    room.call(&start).exits(0);
    wait_for("an answer", || read_from("127.0.0.1:18080") == "from server\n");
    assert!(room.call(&["ps"]).ok().contains("127.0.0.1:18080->80/tcp"));
    let said = room.call(&["exec", "server", "ip", "-4", "addr", "show", "eth0"]).ok();
    assert!(said.contains("inet 10."), "{said}");
    room.call(&["run", "--rm", "-p", "127.0.0.1:18080:80", "./rootfs", "true"]).fails(125, "18080");
    // One that is lost with its monitor gives it back.
    kill_with_monitor(&room, "server");
    room.call(&["run", "--rm", "-p", "127.0.0.1:18080:80", "./rootfs", "true"]).exits(0);
    room.call(&["start", "server"]).exits(0);
    wait_for("an answer", || read_from("127.0.0.1:18080") == "from server\n");
    room.call(&["rm", "-f", "server"]).ok();
    assert_eq!(read_from("127.0.0.1:18080"), "");
    room.call(&["run", "--rm", "--network", "host", "-p", "1:1", "./rootfs", "true"])
        .fails(125, "--publish 1:1");
    room.assert_gone();
}

#[test]
fn every_port_that_is_exposed() {
    let Some((room, _alone)) = room() else { return };
    let start = |name: &str, flags: &[&str]| {
        let fixed = ["run", "-d", "-P", "--expose", "80", "--expose", "7000-7001/udp", "--name", name];
        let rest = ["-e", "NAME=server", "./rootfs", "sh", "-c", SERVE];
        room.call(&[&fixed[..], flags, &rest].concat()).exits(0);
    };
    start("one", &["-p", "127.0.0.1:18081:7001/udp"]);
    start("two", &[]);
    let ports = |name: &str| room.call(&["port", name]).ok();
    let listed = ports("one");
    let port = |name: &str| {
        let said = room.call(&["port", name, "80"]).ok();
        said.lines().next().and_then(|line| line.rsplit_once(':')).expect("port").1.to_string()
    };
    assert!(listed.contains("7001/udp -> 127.0.0.1:18081") && listed.contains("7000/udp -> "), "{listed}");
    assert_ne!(port("one"), port("two"));
    let address = format!("127.0.0.1:{}", port("one"));
    wait_for("an answer", || read_from(&address) == "from server\n");
    let inspected = room.call(&["inspect", "one"]).ok();
    let document: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    let exposed = serde_json::json!({"80/tcp": {}, "7000/udp": {}, "7001/udp": {}});
    assert_eq!(document[0]["Config"]["ExposedPorts"], exposed);
    assert_eq!(document[0]["HostConfig"]["PublishAllPorts"], true);
    assert!(document[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].is_string(), "{inspected}");
    room.call(&["rm", "-f", "one", "two"]).ok();
    // What is only exposed is seen as that.
    let flags = ["run", "-d", "--name", "three", "--expose", "81", "./rootfs", "sleep", "1000"];
    room.call(&flags).exits(0);
    assert_eq!(room.call(&["ps", "--format", "{{.Ports}}"]).ok(), "81/tcp\n");
    room.call(&["rm", "-f", "three"]).ok();
    room.call(&["run", "-d", "--name", "wrong", "-p", "70000:80", "./rootfs", "true"])
        .fails(125, "--publish: port \"70000:80\"");
    assert_eq!(room.state("wrong"), "");
    room.call(&["run", "--rm", "--expose", "80:80", "./rootfs", "true"])
        .fails(125, "--expose 80:80: must be");
    room.call(&["run", "--rm", "--network", "host", "-P", "./rootfs", "true"])
        .fails(125, "--publish-all: with");
    room.assert_gone();
}

#[test]
fn containers_find_each_other_by_name() {
    as_root_and_as_a_user(check_containers_find_each_other_by_name);
}

fn check_containers_find_each_other_by_name(room: &Room) {
    room.call(&["network", "create", "--subnet", "10.77.0.0/24", "backend"]).ok();
    let start = |name: &str, flags: &[&str]| {
        let fixed = ["run", "-d", "--network", "backend", "--name", name];
        room.call(&[&fixed, flags, &["./rootfs", "sleep", "1000"]].concat()).exits(0);
    };
    start("db", &["--network-alias", "database", "--ip", "10.77.0.50"]);
    start("web", &[]);
    let ping = |from: &str, to: &str| room.call(&["exec", from, "ping", "-c", "1", "-W", "2", to]);
    for name in ["db", "database", "web"] {
        let from = if name == "web" { "db" } else { "web" };
        ping(from, name).exits(0);
    }
    assert!(ping("web", "db").stdout.contains("10.77.0.50"));
    // One that comes and goes with its command is there as well.
    let said =
        room.call(&["run", "--rm", "--network", "backend", "./rootfs", "ping", "-c", "1", "-W", "2", "db"]);
    assert!(said.exits(0).stdout.contains("10.77.0.50"));
    // One that has gone is no longer known; one that comes back is.
    room.call(&["stop", "-t", "0", "db"]).ok();
    ping("web", "db").exits(1);
    let started = room.call(&["start", "db"]).exits(0);
    assert_eq!(started.stderr, "");
    ping("web", "database").exits(0);
    // Another name is known at once, and the one before is not.
    room.call(&["rename", "db", "store"]).ok();
    ping("web", "store").exits(0);
    ping("web", "db").exits(1);
    room.call(&["rename", "store", "db"]).ok();
    // Nobody can be called what each one is to itself.
    room.call(&["rename", "db", "localhost"]).fails(1, "--name localhost: on the network backend");
    for flag in ["--name", "--network-alias", "--hostname"] {
        let flags = ["run", "--rm", "--network", "backend", flag, "Localhost", "./rootfs", "true"];
        room.call(&flags).fails(125, &format!("{flag} Localhost: on the network backend"));
    }
    // The others have neither the names nor the way.
    room.call(&["run", "--rm", "./rootfs", "ping", "-c", "1", "-W", "1", "10.77.0.50"]).exits(1);

    room.call(&["network", "rm", "backend"]).fails(1, "runs on it: stop it first");
    let listed = room.call(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]).ok();
    assert_eq!(listed, "backend bridge\nbridge bridge\nhost host\nnone null\n");
    let document: serde_json::Value =
        serde_json::from_str(&room.call(&["network", "inspect", "backend"]).ok()).expect("JSON");
    assert_eq!(document[0]["Subnets"], serde_json::json!(["10.77.0.0/24"]));
    assert_eq!(document[0]["Containers"].as_object().expect("containers").len(), 2);
    let link = document[0]["Link"].as_str().expect("link").to_string();
    assert_eq!(links().contains(&link), room.user() == 0);
    room.call(&["rm", "-f", "db", "web"]).ok();
    room.call(&["network", "rm", "backend"]).ok();
    assert!(!links().contains(&link), "{}", links());
    room.assert_gone();
}

#[test]
fn networks_that_cannot_be() {
    let Some((room, _alone)) = room() else { return };
    room.call(&["run", "--rm", "--network", "nonesuch", "./rootfs", "true"])
        .fails(125, "box network create nonesuch");
    room.call(&["network", "create", "bridge"]).fails(1, "it is always there");
    room.call(&["network", "create", "--subnet", "10.0.0.0/33", "wrong"]).fails(125, "10.0.0.0/33");
    room.call(&["network", "create", "--subnet", "127.0.0.0/8", "wrong"]).fails(125, "of the loopback");
    room.call(&["network", "create", "--subnet", "ff02::/64", "wrong"]).fails(125, "of groups");
    room.call(&["network", "create", "--driver", "overlay", "wrong"]).fails(125, "--driver overlay");
    room.call(&["network", "create", "--driver", "macvlan", "wrong"]).fails(125, "parent=LINK");
    room.call(&["network", "create", "twice"]).ok();
    room.call(&["network", "create", "twice"]).fails(1, "there is one of that name");
    room.call(&["run", "--rm", "--network", "twice", "--ip", "10.9.9.9", "./rootfs", "true"])
        .fails(125, "--ip 10.9.9.9");
    room.call(&["run", "--rm", "--network-alias", "x", "./rootfs", "true"]).fails(125, "--network-alias x");
    room.call(&["network", "create", "--subnet", "10.66.0.0/16", "wide"]).ok();
    room.call(&["network", "create", "--subnet", "10.66.7.0/24", "narrow"])
        .fails(1, "10.66.7.0/24 overlaps with network wide (10.66.0.0/16)");
    room.call(&["network", "rm", "wide", "twice"]).ok();
    room.call(&["network", "rm", "twice"]).fails(1, "there is none");
    room.assert_gone();
}

#[test]
fn one_container_in_anothers_namespaces() {
    as_root_and_as_a_user(check_one_container_in_anothers_namespaces);
}

fn check_one_container_in_anothers_namespaces(room: &Room) {
    room.start(&["--name", "first", "--hostname", "both"], &["sleep", "31415"]);
    let share = [
        "run",
        "--rm",
        "--network",
        "container:first",
        "--pid",
        "container:first",
        "--ipc",
        "container:first",
    ];
    let run = |script: &str| room.call(&[&share[..], &["./rootfs", "sh", "-c", script]].concat());
    let links = "for ns in net pid ipc; do readlink /proc/self/ns/$ns; done";
    let own = room.call(&["exec", "first", "sh", "-c", links]).ok();
    assert_eq!(run(links).ok(), own);
    assert_eq!(run("hostname; cat /etc/hostname").ok(), "both\nboth\n");
    assert!(run("ps").ok().contains("sleep 31415"));
    room.call(&["run", "--rm", "--network", "container:nonesuch", "./rootfs", "true"])
        .fails(125, "No such container: nonesuch");
    let refused =
        room.call(&["run", "--rm", "--network", "container:first", "-p", "80:80", "./rootfs", "true"]);
    refused.fails(125, "--publish 80:80");
    room.call(&["rm", "-f", "first"]).ok();
    room.assert_gone();
}

/// As with dockerd: whose processes and objects it is to have must be there when it is made, whose network it is to be on when it is
/// started; by then all must run. They are meant whatever they are called by then.
#[test]
fn another_container_that_is_not_there() {
    let Some(room) = Room::new() else { return };
    let create = |name: &str, flags: &[&str]| {
        let line: [&[&str]; 3] = [&["create", "--name", name], flags, &["./rootfs", "true"]];
        room.call(&line.concat())
    };
    for flag in ["--pid", "--ipc"] {
        create("cc", &[flag, "container:nonesuch"])
            .fails(1, &format!("{flag} container:nonesuch: No such container: nonesuch"));
    }
    create("late", &["--network", "container:nonesuch"]).ok();
    room.call(&["start", "late"]).fails_with(1, "--network container:nonesuch: No such container: nonesuch");
    for flag in ["--network", "--pid", "--ipc"] {
        create("cc", &[flag, "container:"]).fails(125, &format!("{flag} container:: must be container:NAME"));
        create("cc", &[flag, "container:cc"])
            .fails(125, &format!("{flag} container:cc: it is that container"));
    }
    create("other", &["--network", "none"]).ok();
    let id = room.call(&["inspect", "-f", "{{.Id}}", "other"]).ok();
    for (flag, mode) in [("--network", "NetworkMode"), ("--pid", "PidMode"), ("--ipc", "IpcMode")] {
        create("cc", &[flag, "container:other"]).ok();
        let shown = room.call(&["inspect", "-f", &format!("{{{{.HostConfig.{mode}}}}}"), "cc"]).ok();
        assert_eq!(shown, format!("container:{id}"));
        room.call(&["start", "cc"]).fails_with(1, "container other: it is not running, but created");
        room.call(&["rm", "cc"]).ok();
    }
    room.call(&["rm", "other"]).ok();
    room.start(&["--name", "first"], &["sleep", "1000"]);
    create("cc", &["--network", "container:first"]).ok();
    room.call(&["rename", "first", "renamed"]).ok();
    room.call(&["start", "-a", "cc"]).ok();
    assert_eq!(room.call(&["ps", "-a", "--filter", "name=cc", "--format", "{{.Networks}}"]).ok(), "\n");
    room.call(&["rm", "-f", "cc", "late", "renamed"]).ok();
    room.assert_gone();
}

/// A member of `NetworkSettings.Networks`.
fn on_network(room: &Room, container: &str, network: &str, member: &str) -> String {
    let said = room.call(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", container]).ok();
    let networks: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    networks[network][member].as_str().unwrap_or_default().to_string()
}

#[test]
fn a_container_on_several_networks() {
    as_root_and_as_a_user(check_a_container_on_several_networks);
}

fn check_a_container_on_several_networks(room: &Room) {
    room.call(&["network", "create", "--subnet", "10.71.0.0/24", "front"]).ok();
    room.call(&["network", "create", "--subnet", "10.72.0.0/24", "back"]).ok();
    let both = [
        "run",
        "-d",
        "--name",
        "both",
        "--network",
        "name=front,alias=www,ip=10.71.0.9",
        "--network",
        "back",
        "-p",
        "127.0.0.1:18081:80",
        "-e",
        "NAME=both",
        "./rootfs",
        "sh",
        "-c",
        SERVE,
    ];
    room.call(&both).exits(0);
    let start = |name: &str, network: &str| {
        room.call(&["run", "-d", "--network", network, "--name", name, "./rootfs", "sleep", "1000"]).exits(0);
    };
    start("in-front", "front");
    start("in-back", "back");
    let finds = |from: &str, name: &str, status: i32| {
        room.call(&["exec", from, "ping", "-c", "1", "-W", "2", name]).exits(status).stdout
    };
    assert!(finds("in-front", "www", 0).contains("10.71.0.9"));
    assert!(finds("in-back", "both", 0).contains("10.72.0."));
    finds("in-back", "www", 1);
    finds("in-back", "in-front", 1);
    finds("both", "in-front", 0);
    finds("both", "in-back", 0);
    wait_for("an answer", || read_from("127.0.0.1:18081") == "from both\n");
    assert_eq!(on_network(room, "both", "front", "IPAddress"), "10.71.0.9");
    assert!(on_network(room, "both", "back", "IPAddress").starts_with("10.72.0."));
    assert_eq!(room.call(&["ps", "--filter", "name=both", "--format", "{{.Networks}}"]).ok(), "front,back\n");

    // The first one takes routes and ports with it, which the other one inherits.
    room.call(&["network", "disconnect", "front", "both"]).ok();
    finds("in-front", "both", 1);
    finds("in-back", "both", 0);
    let routes = room.call(&["exec", "both", "ip", "route"]).ok();
    assert!(routes.contains("default via 10.72.0.1"), "{routes}");
    wait_for("an answer", || read_from("127.0.0.1:18081") == "from both\n");
    room.call(&["network", "disconnect", "front", "both"]).fails(1, "is not connected to it");
    room.call(&["network", "connect", "--ip", "10.71.0.20", "--alias", "again", "front", "both"]).ok();
    assert!(finds("in-front", "again", 0).contains("10.71.0.20"));
    room.call(&["network", "connect", "front", "both"]).fails(1, "is connected to it already");
    room.call(&["network", "connect", "--ip", "10.99.0.1", "front", "in-back"]).fails(125, "10.99.0.1");
    assert_eq!(on_network(room, "in-back", "back", "IPAddress").split('.').count(), 4);
    let hosts = room.call(&["exec", "both", "cat", "/etc/hosts"]).ok();
    assert!(hosts.contains("10.71.0.20\t") && !hosts.contains("10.71.0.9"), "{hosts}");

    // A restart keeps them, and so does a stop; one that does not run can be connected as well.
    room.call(&["restart", "-t", "0", "both"]).ok();
    assert!(finds("in-front", "again", 0).contains("10.71.0.20"));
    room.call(&["stop", "-t", "0", "both"]).ok();
    room.call(&["network", "disconnect", "back", "both"]).ok();
    room.call(&["network", "connect", "--alias", "third", "bridge", "both"])
        .fails(125, "--network-alias third");
    room.call(&["network", "connect", "bridge", "both"]).ok();
    // The first network with IPv6 says what it does to the host.
    room.call(&["start", "both"]).exits(0);
    finds("in-back", "both", 1);
    finds("in-front", "both", 0);
    wait_for("an answer", || read_from("127.0.0.1:18081") == "from both\n");
    let document: serde_json::Value =
        serde_json::from_str(&room.call(&["network", "inspect", "front"]).ok()).expect("JSON");
    let addresses: Vec<_> = document[0]["Containers"].as_object().expect("containers").values().collect();
    assert!(addresses.iter().any(|one| one["IPv4Address"] == "10.71.0.20/24"), "{document}");

    for wrong in ["host", "none"] {
        room.call(&["network", "connect", wrong, "both"]).fails(125, &format!("network {wrong}"));
    }
    room.call(&["create", "--name", "alone", "--network", "none", "./rootfs", "sleep", "1000"]).ok();
    room.call(&["network", "connect", "front", "alone"])
        .fails(1, "container alone: it is to have no network: box network disconnect none alone first");
    room.call(&["network", "disconnect", "none", "alone"]).ok();
    room.call(&["network", "disconnect", "none", "alone"]).fails(1, "is not connected to it");
    room.call(&["network", "connect", "front", "alone"]).ok();
    room.call(&["start", "alone"]).ok();
    finds("alone", "in-front", 0);
    // Who has lost all networks can have others.
    room.call(&["network", "disconnect", "front", "alone"]).ok();
    room.call(&["network", "connect", "front", "alone"]).ok();
    room.call(&["rm", "-f", "alone"]).ok();
    room.call(&["run", "--rm", "--network", "front", "--network", "host", "./rootfs", "true"])
        .fails(125, "--network host: with it there is no other one");
    room.call(&["run", "--rm", "--network", "front", "--network", "front", "./rootfs", "true"])
        .fails(125, "--network front: it is named twice");
    room.call(&["run", "--rm", "--network", "name=front,colour=red", "./rootfs", "true"])
        .fails(125, "colour=red");
    room.call(&["rm", "-f", "both", "in-front", "in-back"]).ok();
    room.call(&["network", "rm", "front", "back"]).ok();
    room.assert_gone();
}

#[test]
fn connecting_that_is_killed() {
    as_root_and_as_a_user(check_connecting_that_is_killed);
}

fn check_connecting_that_is_killed(room: &Room) {
    room.call(&["network", "create", "--subnet", "10.76.0.0/24", "front"]).ok();
    room.call(&["network", "create", "--subnet", "10.77.0.0/24", "back"]).ok();
    let start = ["run", "-d", "--network", "front", "--name", "one", "-p", "127.0.0.1:18082:80"];
    room.call(&[&start[..], &["./rootfs", "sleep", "1000"]].concat()).exits(0);
    let interfaces = || {
        let said = room.call(&["exec", "one", "ip", "-4", "addr"]).ok();
        said.lines().filter(|line| line.trim_start().starts_with("inet 10.7")).count()
    };
    for delay in delays(20, Duration::from_millis(60)) {
        kill_after(&mut bare(room, &["network", "connect", "back", "one"]), delay);
        // Whatever was done of it, the same command does the rest, or says that all is done.
        let connected = room.call(&["network", "connect", "back", "one"]);
        assert!(connected.status == 0 || connected.stderr.contains("already"), "{}", connected.stderr);
        assert_eq!(interfaces(), 2);
        kill_after(&mut bare(room, &["network", "disconnect", "back", "one"]), delay);
        let disconnected = room.call(&["network", "disconnect", "back", "one"]);
        assert!(
            disconnected.status == 0 || disconnected.stderr.contains("is not connected"),
            "{}",
            disconnected.stderr
        );
        assert_eq!(interfaces(), 1);
    }
    room.call(&["rm", "-f", "one"]).ok();
    // Everything has been given back.
    let again = ["run", "--rm", "--network", "back", "--ip", "10.77.0.2", "-p", "127.0.0.1:18082:80"];
    room.call(&[&again[..], &["./rootfs", "true"]].concat()).exits(0);
    room.call(&["network", "rm", "front", "back"]).ok();
    room.assert_gone();
}

#[test]
fn connecting_beside_a_start() {
    as_root_and_as_a_user(check_connecting_beside_a_start);
}

/// Whichever comes first, the container that runs is on the networks that are recorded.
fn check_connecting_beside_a_start(room: &Room) {
    for name in ["first", "second"] {
        room.call(&["network", "create", name]).ok();
    }
    room.give_rootfs();
    for round in 0..6 {
        room.call(&["create", "--name", "cc", "--network", "first", "./rootfs", "sleep", "1000"]).exits(0);
        let [started, connected, disconnected] = std::thread::scope(|scope| {
            let call = |pause, arguments: &'static [&'static str]| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(pause));
                    room.call(arguments)
                })
            };
            let calls = [
                call(0, &["start", "cc"]),
                call(10 * round, &["network", "connect", "second", "cc"]),
                call(15 * round, &["network", "disconnect", "first", "cc"]),
            ];
            calls.map(|call| call.join().expect("a call"))
        });
        for call in [started, disconnected] {
            call.exits(0);
        }
        // An ordinary user's that was disconnected before its start began without networks, and stays so.
        if connected.status != 0 {
            connected.fails(1, "it was started without a network with a name");
            let format = "{{range $name, $it := .NetworkSettings.Networks}}{{$name}} {{end}}";
            let recorded = room.call(&["inspect", "-f", format, "cc"]).ok();
            assert!(!recorded.contains("first") && !recorded.contains("second"), "{recorded}");
            room.call(&["rm", "-f", "cc"]).ok();
            continue;
        }
        let format = "{{range $name, $it := .NetworkSettings.Networks}}{{$name}} {{$it.IPAddress}}/{{end}}";
        let recorded = room.call(&["inspect", "-f", format, "cc"]).ok();
        let made = room.call(&["exec", "cc", "sh", "-c", "ip -o -4 addr | grep -v ' lo ' "]).ok();
        let address = recorded.trim_end().strip_prefix("second ").expect("one network");
        assert!(address.len() > 1 && made.contains(&format!(" {address}")), "{recorded}{made}");
        assert_eq!(made.lines().count(), 1, "{recorded}{made}");
        room.call(&["rm", "-f", "cc"]).ok();
    }
    room.call(&["network", "rm", "first", "second"]).ok();
    room.assert_gone();
}

#[test]
fn the_host_has_a_name() {
    let Some((room, _alone)) = room() else { return };
    let named = ["run", "--rm", "--add-host", "hg:host-gateway"];
    let script = "cat /etc/hosts; ping -c 1 -W 5 hg >/dev/null && echo reached";
    let said = room.call(&[&named[..], &["./rootfs", "sh", "-c", script]].concat()).ok();
    assert!(said.contains(".0.1\thg\n") && said.ends_with("reached\n"), "{said}");
    let said =
        room.call(&[&named[..], &["--network", "host", "./rootfs", "cat", "/etc/hosts"]].concat()).ok();
    assert!(said.contains("127.0.0.1\thg\n"), "{said}");
    room.call(&[&named[..], &["--network", "none", "./rootfs", "true"]].concat())
        .fails(125, "--add-host hg:host-gateway: only root's networks lead to the host");
}

#[test]
fn addresses_are_given_out_of_a_range() {
    as_root_and_as_a_user(|room| {
        let subnet = ["--subnet", "10.96.0.0/24", "--ip-range", "10.96.0.128/30"];
        let reserved = ["--aux-address", "router=10.96.0.129", "--aux-address", "printer=10.96.0.9"];
        room.call(&[&["network", "create"], &subnet[..], &reserved, &["part"]].concat()).ok();
        let config = room.call(&["network", "inspect", "-f", "{{json (index .IPAM.Config 0)}}", "part"]).ok();
        let wanted = r#"{"AuxiliaryAddresses":{"printer":"10.96.0.9","router":"10.96.0.129"},"Gateway":"10.96.0.128","IPRange":"10.96.0.128/30","Subnet":"10.96.0.0/24"}"#;
        assert_eq!(config.trim(), wanted);
        let on = |flags: &[&str], name: &str| {
            let fixed = ["run", "-d", "--network", "part", "--name", name];
            room.call(&[&fixed, flags, &["./rootfs", "sleep", "1000"]].concat())
        };
        for (name, last) in [("a1", "130"), ("a2", "131")] {
            on(&[], name).exits(0);
            let format =
                "{{with index .NetworkSettings.Networks \"part\"}}{{.IPAddress}} {{.Gateway}}{{end}}";
            let address = room.call(&["inspect", "-f", format, name]).ok();
            assert_eq!(address.trim(), format!("10.96.0.{last} 10.96.0.128"));
            let routes = room.call(&["exec", name, "ip", "route"]).ok();
            assert!(routes.starts_with("default via 10.96.0.128 "), "{routes}");
        }
        on(&[], "a4").fails_with(125, "from 10.96.0.128 to 10.96.0.131 are taken");
        // Whoever asks for one may have any of the subnet, but for those of others.
        on(&["--ip", "10.96.0.77"], "a5").exits(0);
        on(&["--ip", "10.96.0.9"], "a6").fails_with(125, "10.96.0.9 of network");
        room.call(&["rm", "-f", "a1", "a2", "a5"]).ok();
        room.call(&["rm", "-f", "a4", "a6"]).exits(0);
        room.call(&["network", "rm", "part"]).ok();
        let create = |flags: &[&str]| room.call(&[&["network", "create"], flags, &["wrong"]].concat());
        create(&["--ip-range", "10.96.0.0/25"])
            .fails(125, "--ip-range 10.96.0.0/25: must be in a subnet: --subnet");
        create(&["--subnet", "10.96.0.0/24", "--aux-address", "10.96.0.3"])
            .fails(125, "must be NAME=ADDRESS");
        // Free subnets are chosen when it is made, and taken if they still are free then.
        room.call(&["network", "create", "free"]).ok();
        let subnet =
            || room.call(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "free"]).ok();
        let chosen = subnet();
        assert!(chosen.starts_with("10.") && chosen.ends_with(".0.0/16\n"), "{chosen}");
        let run =
            ["run", "--rm", "--network", "free", "./rootfs", "ip", "-4", "-o", "address", "show", "eth0"];
        let said = room.call(&run).exits(0).stdout;
        assert!(said.contains(&format!("inet {}", chosen.trim().trim_end_matches("0.0/16"))), "{said}");
        assert_eq!(subnet(), chosen);
        room.call(&["network", "rm", "free"]).ok();
        room.assert_gone();
    });
}

/// What the kernel tracks is asked for once, not for each port: that took 50 ms a port.
#[test]
fn many_ports_are_published_at_once() {
    let Some((room, _alone)) = room() else { return };
    for protocol in ["tcp", "udp"] {
        let range = format!("21000-21999:21000-21999/{protocol}");
        let began = std::time::Instant::now();
        room.call(&["run", "--rm", "-p", &range, "./rootfs", "true"]).exits(0);
        assert!(began.elapsed().as_secs() < 10, "{protocol}: {:?}", began.elapsed());
    }
    room.assert_gone();
}

/// In Docker's columns, and with the fields of its templates; also those that are always there.
#[test]
fn networks_are_listed() {
    as_root_and_as_a_user(|room| {
        let create = ["network", "create", "--label", "a=b", "--label", "c=d", "--internal", "inner"];
        let id = room.call(&create).ok();
        room.call(&["network", "create", "--subnet", "10.96.0.0/24", "four"]).ok();
        let table = room.call(&["network", "ls"]).ok();
        let words = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let lines: Vec<Vec<String>> = table.lines().map(words).collect();
        assert_eq!(lines[0], ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"], "{table}");
        let of = |line: &[String]| line[1..].join(" ");
        let rows: Vec<String> = lines[1..].iter().map(|line| of(line)).collect();
        let expected = [
            "bridge bridge local",
            "four bridge local",
            "host host local",
            "inner bridge local",
            "none null local",
        ];
        assert_eq!(rows, expected, "{table}");
        assert!(lines[1..].iter().all(|line| line[0].len() == 12), "{table}");
        let fields = "{{.Name}} {{.Scope}} {{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.Label \"c\"}}";
        let list = |flags: &[&str]| room.call(&[&["network", "ls"], flags].concat()).ok();
        assert_eq!(
            list(&["--filter", "type=custom", "--format", fields]),
            "four local true false false  \ninner local true true true a=b,c=d d\n"
        );
        let heads = list(&["--format", "table {{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.CreatedAt}}"]);
        assert!(heads.starts_with("IPV4 IPV6 INTERNAL LABELS CREATED AT\n"), "{heads}");
        let created = list(&["--filter", "name=inner", "--format", "{{.CreatedAt}}"]);
        assert!(created.starts_with("20") && created.ends_with(" +0000 UTC\n"), "{created}");
        let ids = list(&["-q", "--no-trunc"]);
        assert_eq!(ids.lines().filter(|line| line.len() == 64).count(), 5, "{ids}");
        assert!(ids.contains(id.trim()), "{ids}");

        let inspect = |name: &str, format: &str| room.call(&["network", "inspect", "-f", format, name]).ok();
        let shown = "{{.Name}} {{.Driver}} {{.EnableIPv4}} {{.EnableIPv6}} {{.Attachable}} {{.ConfigOnly}}";
        assert_eq!(inspect("inner", shown), "inner bridge true true false false\n");
        for line in ids.lines() {
            assert_eq!(inspect(&line[..12], "{{.Id}}").trim(), line);
        }
        assert_eq!(inspect("none", shown), "none null true false false false\n");
        let gateways = "{{range .IPAM.Config}}{{.Gateway}} {{end}}";
        assert_eq!(inspect("bridge", gateways).trim().is_empty(), room.user() != 0);
        room.call(&["inspect", "bridge", "--type", "network"]).ok();
        room.call(&["network", "inspect", "nonesuch"]).fails_with(1, "nonesuch: there is none");
        room.call(&["network", "rm", "inner", "four"]).ok();
        room.assert_gone();
    });
}

#[test]
fn gateways_are_chosen() {
    as_root_and_as_a_user(|room| {
        let subnets = [
            "--subnet",
            "10.97.0.0/24",
            "--gateway",
            "10.97.0.254",
            "--subnet",
            "fd00:97::/64",
            "--gateway",
            "fd00:97::9",
        ];
        room.call(&[&["network", "create"], &subnets[..], &["chosen"]].concat()).ok();
        let gateways = ["network", "inspect", "-f", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", "chosen"];
        assert_eq!(room.call(&gateways).ok(), "10.97.0.254 fd00:97::9 \n");
        let script = "ip route; ip -6 route; ping -c 1 -w 5 10.97.0.254 && ping -6 -c 1 -w 5 fd00:97::9";
        let said = room
            .call(&["run", "--rm", "--network", "chosen", "./rootfs", "sh", "-c", script])
            .exits(0)
            .stdout;
        assert!(said.contains("default via 10.97.0.254 ") && said.contains("src 10.97.0.1 "), "{said}");
        assert!(said.contains("default via fd00:97::9 "), "{said}");
        assert_eq!(room.call(&gateways).ok(), "10.97.0.254 fd00:97::9 \n");
        room.call(&["run", "--rm", "--network", "chosen", "--ip", "10.97.0.254", "./rootfs", "true"])
            .fails_with(125, "is the gateway's");
        room.call(&["network", "rm", "chosen"]).ok();
        room.call(&["network", "create", "--subnet", "10.97.0.0/24", "--gateway", "10.98.0.1", "chosen"])
            .fails(125, "--gateway 10.98.0.1: must be an address for hosts in a subnet: --subnet");
        room.assert_gone();
    });
}

/// The way out of a family leads through its first subnet.
#[test]
fn subnets_of_one_family() {
    as_root_and_as_a_user(|room| {
        let subnets = ["10.95.0.0/24", "10.96.0.0/24", "fd00:95::/64", "fd00:96::/64"];
        let flags = subnets.iter().flat_map(|subnet| ["--subnet", subnet]);
        let create: Vec<&str> = ["network", "create"].into_iter().chain(flags).chain(["several"]).collect();
        room.call(&create).ok();
        let script =
            "ip -o address; ip route; ip -6 route; ping -c 1 -w 5 10.96.0.1 && ping -6 -c 1 -w 5 fd00:96::1";
        let said = room
            .call(&["run", "--rm", "--network", "several", "./rootfs", "sh", "-c", script])
            .exits(0)
            .stdout;
        for address in ["10.95.0.2/24", "10.96.0.2/24", "fd00:95::2/64", "fd00:96::2/64"] {
            assert!(said.contains(address), "{address}: {said}");
        }
        let ways: Vec<&str> = said.lines().filter(|line| line.starts_with("default ")).collect();
        assert_eq!(ways.len(), 2, "{said}");
        assert!(ways[0].contains("via 10.95.0.1 ") && ways[1].contains("via fd00:95::1 "), "{said}");
        room.call(&["network", "rm", "several"]).ok();
        room.assert_gone();
    });
}

/// Over a link of the host's somebody else is the gateway: nobody gets his address, and the way out leads to him.
#[test]
fn gateways_behind_a_link() {
    let Some((room, _alone)) = room() else { return };
    let link = ["link", "add", "lan0", "type", "veth", "peer", "name", "lan1"];
    assert!(Command::new("ip").args(link).status().expect("ip").success());
    for name in ["lan0", "lan1"] {
        assert!(Command::new("ip").args(["link", "set", name, "up"]).status().expect("ip").success());
    }
    let routes = |flags: &[&str]| {
        let fixed = ["network", "create", "--driver", "macvlan", "--opt", "parent=lan0"];
        room.call(&[&fixed, flags, &["lan"]].concat()).ok();
        let run = ["run", "--rm", "--network", "lan", "./rootfs", "ip", "route"];
        let said = room.call(&run).exits(0).stdout;
        room.call(&["network", "rm", "lan"]).ok();
        assert!(said.contains("192.168.9.0/24 dev eth0 scope link  src "), "{said}");
        assert!(!said.contains("src 192.168.9.1 "), "{said}");
        said.lines()
            .filter_map(|line| Some(line.strip_prefix("default ")?.trim_end().to_string()))
            .collect::<Vec<_>>()
    };
    let subnet = ["--subnet", "192.168.9.0/24"];
    assert_eq!(routes(&subnet), ["via 192.168.9.1 dev eth0"]);
    let chosen = [&subnet[..], &["--gateway", "192.168.9.254"]].concat();
    assert_eq!(routes(&chosen), ["via 192.168.9.254 dev eth0"]);
    let internal = [&subnet[..], &["--internal"]].concat();
    assert!(routes(&internal).is_empty());
    room.assert_gone();
}

#[test]
fn what_was_chosen_and_is_taken_by_then_is_replaced() {
    let Some((room, _alone)) = room() else { return };
    room.call(&["network", "create", "free"]).ok();
    let subnet =
        || room.call(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "free"]).ok();
    let chosen = subnet();
    let route = |verb: &str| {
        Command::new("ip").args(["route", verb, chosen.trim(), "dev", "lo"]).status().expect("ip")
    };
    assert!(route("add").success());
    room.call(&["run", "--rm", "--network", "free", "./rootfs", "true"]).exits(0);
    let other = subnet();
    assert!(other != chosen && other.starts_with("10."), "{other}");
    assert!(route("del").success());
    room.call(&["network", "rm", "free"]).ok();
    room.assert_gone();
}
