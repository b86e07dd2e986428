//! Names in networks: who answers for them inside a container, and what.

use std::net::UdpSocket;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::{Room, wait_for};
use crate::networks::{as_root_and_as_a_user, room};

fn asks(room: &Room, container: &str, question: &str) -> String {
    let said = room.call(&["exec", container, "nslookup", question]);
    said.stdout + &said.stderr
}

fn start(room: &Room, name: &str, flags: &[&str]) {
    let fixed = ["run", "-d", "--name", name];
    room.call(&[&fixed, flags, &["./rootfs", "sleep", "1000"]].concat()).exits(0);
}

#[test]
fn names_aliases_ids_and_addresses_are_answered() {
    as_root_and_as_a_user(check_names_aliases_ids_and_addresses_are_answered);
}

fn check_names_aliases_ids_and_addresses_are_answered(room: &Room) {
    room.call(&["network", "create", "--subnet", "10.73.0.0/24", "--subnet", "fd00:73::/64", "net"]).ok();
    let alias = |ip, ip6| ["--network", "net", "--network-alias", "pool", "--ip", ip, "--ip6", ip6];
    start(room, "one", &alias("10.73.0.11", "fd00:73::11"));
    let id = room.call(&["inspect", "-f", "{{.Id}}", "one"]).ok();
    // One that was there before finds who comes later.
    start(room, "two", &alias("10.73.0.12", "fd00:73::12"));
    let pool = asks(room, "one", "pool");
    assert!(pool.contains("10.73.0.11") && pool.contains("10.73.0.12"), "{pool}");
    for name in ["two", "TWO", "two.net"] {
        let said = asks(room, "one", name);
        assert!(said.contains("10.73.0.12") && said.contains("fd00:73::12"), "{said}");
    }
    assert!(asks(room, "two", &id[..12]).contains("10.73.0.11"));
    assert!(asks(room, "one", "10.73.0.12").contains("two.net"));
    // Nobody on an internal network asks anybody outside.
    room.call(&["network", "create", "--internal", "--subnet", "10.74.0.0/24", "closed"]).ok();
    start(room, "inner", &["--network", "closed"]);
    assert!(
        asks(room, "inner", "example.org").contains("NXDOMAIN"),
        "{}",
        asks(room, "inner", "example.org")
    );
    // A container that was on no network with names learns them when it is connected.
    // That of an ordinary user is started anew for it.
    let is_users = room.user() != 0;
    start(room, "late", &[]);
    if is_users {
        room.call(&["network", "connect", "net", "late"]).fails(1, "stop it first (box stop late)");
        room.call(&["stop", "-t", "0", "late"]).ok();
    }
    room.call(&["network", "connect", "net", "late"]).ok();
    if is_users {
        room.call(&["start", "late"]).ok();
    }
    assert!(asks(room, "late", "pool").contains("10.73.0.12"));
    assert!(asks(room, "one", "late").contains("10.73.0."));
    // One whose monitor was killed is answered by the next one.
    let monitor = room.call(&["inspect", "-f", "{{.State.Pid}}", "one"]).ok();
    let parent = std::fs::read_to_string(format!("/proc/{}/stat", monitor.trim())).expect("stat");
    let parent = parent.rsplit_once(") ").expect("stat").1.split(' ').nth(1).expect("parent").to_string();
    assert!(Command::new("kill").args(["-9", &parent]).status().expect("kill").success());
    room.call(&["ps"]).ok();
    wait_for("an answer", || asks(room, "one", "two").contains("10.73.0.12"));
    // A server for names of the container's own can have the port.
    let own = "nc -l -p 53 & server=$!; sleep 1; kill $server";
    assert_eq!(room.call(&["exec", "one", "sh", "-c", own]).stderr, "");
    room.call(&["rm", "-f", "one", "two", "inner", "late"]).ok();
    room.call(&["network", "rm", "net", "closed"]).ok();
    room.assert_gone();
}

/// Stands on the host, and answers every question with 192.0.2.N.
struct Server {
    address: &'static str,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn begin(address: &'static str, number: u8) -> Server {
        let socket = UdpSocket::bind(address).expect("port 53");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        let answer = move || {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                if buffer[12..length].windows(4).any(|window| window == b"stop") {
                    return;
                }
                let is_v4 = buffer[..length].ends_with(&[0, 1, 0, 1]);
                let mut answer = buffer[..length].to_vec();
                (answer[2], answer[3], answer[7]) = (0x81, 0x80, u8::from(is_v4));
                if is_v4 {
                    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, number]);
                }
                let _ = socket.send_to(&answer, client);
            }
        };
        Server { address, thread: Some(std::thread::spawn(answer)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let own = UdpSocket::bind("127.0.0.1:0").expect("socket");
        own.send_to(b"............stop", self.address).expect("send");
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// The host's /etc/resolv.conf changes: what runs on a network with names asks the new server at once, and every container has it
/// when it starts again.
#[test]
fn another_server_of_the_hosts() {
    let Some((room, _alone)) = room() else { return };
    let (file, place) = (room.folder.join("resolv.conf"), "/etc/resolv.conf");
    let becomes = |text: &str| std::fs::write(&file, text).expect("file");
    becomes("nameserver 127.0.0.1\n");
    rustix::mount::mount_bind(&file, place).expect("bind");
    let _servers = [Server::begin("127.0.0.1:53", 33), Server::begin("127.0.0.2:53", 34)];
    room.call(&["network", "create", "--subnet", "10.76.0.0/24", "net"]).ok();
    start(&room, "named", &["--network", "net"]);
    let said = asks(&room, "named", "example.org");
    assert!(said.contains("192.0.2.33"), "{said}");
    becomes("nameserver 127.0.0.2\n");
    let said = asks(&room, "named", "example.com");
    assert!(said.contains("192.0.2.34"), "{said}");
    let conf = |name: &str| room.call(&["exec", name, "cat", "/etc/resolv.conf"]).ok();
    becomes("nameserver 192.0.2.1\nsearch one.test\n");
    let others = ["bridged", "alone", "hosts"];
    for (name, network) in others.into_iter().zip(["bridge", "none", "host"]) {
        start(&room, name, &["--network", network]);
        assert_eq!(conf(name), "nameserver 192.0.2.1\nsearch one.test\n");
    }
    becomes("nameserver 192.0.2.2\nsearch two.test\n");
    for name in others {
        room.call(&["restart", "-t", "0", name]).exits(0);
        assert_eq!(conf(name), "nameserver 192.0.2.2\nsearch two.test\n");
    }
    room.call(&["restart", "-t", "0", "named"]).exits(0);
    assert!(conf("named").contains("search two.test"), "{}", conf("named"));
    room.call(&["rm", "-f", "named", "bridged", "alone", "hosts"]).ok();
    room.call(&["network", "rm", "net"]).ok();
    rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH).expect("umount");
    room.assert_gone();
}

#[test]
fn everything_else_is_asked_of_others() {
    as_root_and_as_a_user(check_everything_else_is_asked_of_others);
}

fn check_everything_else_is_asked_of_others(room: &Room) {
    room.call(&["network", "create", "--subnet", "10.75.0.0/24", "net"]).ok();
    let server = Server::begin("127.0.0.1:53", 33);
    start(room, "asking", &["--network", "net", "--dns", "127.0.0.1"]);
    assert!(
        asks(room, "asking", "example.org").contains("192.0.2.33"),
        "{}",
        asks(room, "asking", "example.org")
    );
    assert!(asks(room, "asking", "asking").contains("10.75.0."));
    let conf = room.call(&["exec", "asking", "cat", "/etc/resolv.conf"]).ok();
    assert!(conf.starts_with("nameserver 127.0.0.11\n") && conf.contains("ndots:0"), "{conf}");
    // What is no question does not end it.
    let rubbish = "head -c 90000 /bin/busybox | nc -w 1 127.0.0.11 53; echo x | nc -w 1 127.0.0.11 53; true";
    room.call(&["exec", "asking", "sh", "-c", rubbish]).exits(0);
    assert!(asks(room, "asking", "asking").contains("10.75.0."));
    drop(server);
    // Nobody answers any more: that is said in time.
    let said = asks(room, "asking", "example.net");
    assert!(said.contains("SERVFAIL") || said.contains("timed out") || said.contains("can't"), "{said}");
    room.call(&["rm", "-f", "asking"]).ok();
    room.call(&["network", "rm", "net"]).ok();
    room.assert_gone();
}
