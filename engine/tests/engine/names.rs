//! Names in networks: who answers for them inside a container, and what.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Room, wait_for};
use crate::networks::room;

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
    let Some((room, _alone)) = room() else { return };
    room.call(&["network", "create", "--subnet", "10.73.0.0/24", "--subnet", "fd00:73::/64", "net"]).ok();
    let alias = |ip, ip6| ["--network", "net", "--network-alias", "pool", "--ip", ip, "--ip6", ip6];
    start(&room, "one", &alias("10.73.0.11", "fd00:73::11"));
    let id = room.call(&["inspect", "-f", "{{.Id}}", "one"]).ok();
    // One that was there before finds who comes later.
    start(&room, "two", &alias("10.73.0.12", "fd00:73::12"));
    let pool = asks(&room, "one", "pool");
    assert!(pool.contains("10.73.0.11") && pool.contains("10.73.0.12"), "{pool}");
    for name in ["two", "TWO", "two.net"] {
        let said = asks(&room, "one", name);
        assert!(said.contains("10.73.0.12") && said.contains("fd00:73::12"), "{said}");
    }
    assert!(asks(&room, "two", &id[..12]).contains("10.73.0.11"));
    assert!(asks(&room, "one", "10.73.0.12").contains("two.net"));
    // Nobody on an internal network asks anybody outside.
    room.call(&["network", "create", "--internal", "--subnet", "10.74.0.0/24", "closed"]).ok();
    start(&room, "inner", &["--network", "closed"]);
    assert!(
        asks(&room, "inner", "example.org").contains("NXDOMAIN"),
        "{}",
        asks(&room, "inner", "example.org")
    );
    // A container that was on no network with names learns them when it is connected.
    start(&room, "late", &[]);
    room.call(&["network", "connect", "net", "late"]).ok();
    assert!(asks(&room, "late", "pool").contains("10.73.0.12"));
    assert!(asks(&room, "one", "late").contains("10.73.0."));
    // One whose monitor was killed is answered by the next one.
    let monitor = room.call(&["inspect", "-f", "{{.State.Pid}}", "one"]).ok();
    let parent = std::fs::read_to_string(format!("/proc/{}/stat", monitor.trim())).expect("stat");
    let parent = parent.rsplit_once(") ").expect("stat").1.split(' ').nth(1).expect("parent").to_string();
    assert!(Command::new("kill").args(["-9", &parent]).status().expect("kill").success());
    room.call(&["ps"]).ok();
    wait_for("an answer", || asks(&room, "one", "two").contains("10.73.0.12"));
    // A server for names of the container's own can have the port.
    let own = "nc -l -p 53 & server=$!; sleep 1; kill $server";
    assert_eq!(room.call(&["exec", "one", "sh", "-c", own]).stderr, "");
    room.call(&["rm", "-f", "one", "two", "inner", "late"]).ok();
    room.call(&["network", "rm", "net", "closed"]).ok();
    room.assert_gone();
}

#[test]
fn everything_else_is_asked_of_others() {
    let Some((room, _alone)) = room() else { return };
    room.call(&["network", "create", "--subnet", "10.75.0.0/24", "net"]).ok();
    // It stands on the host, and answers everything with an address of its own.
    let server = UdpSocket::bind("127.0.0.1:53").expect("port 53");
    server.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = server.recv_from(&mut buffer) {
            if buffer[12..length].windows(4).any(|window| window == b"stop") {
                return;
            }
            let is_v4 = buffer[..length].ends_with(&[0, 1, 0, 1]);
            let mut answer = buffer[..length].to_vec();
            (answer[2], answer[3], answer[7]) = (0x81, 0x80, u8::from(is_v4));
            if is_v4 {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 33]);
            }
            let _ = server.send_to(&answer, client);
        }
    });
    start(&room, "asking", &["--network", "net", "--dns", "127.0.0.1"]);
    assert!(
        asks(&room, "asking", "example.org").contains("192.0.2.33"),
        "{}",
        asks(&room, "asking", "example.org")
    );
    assert!(asks(&room, "asking", "asking").contains("10.75.0."));
    let conf = room.call(&["exec", "asking", "cat", "/etc/resolv.conf"]).ok();
    assert!(conf.starts_with("nameserver 127.0.0.11\n") && conf.contains("ndots:0"), "{conf}");
    // What is no question does not end it.
    let rubbish = "head -c 90000 /bin/busybox | nc -w 1 127.0.0.11 53; echo x | nc -w 1 127.0.0.11 53; true";
    room.call(&["exec", "asking", "sh", "-c", rubbish]).exits(0);
    assert!(asks(&room, "asking", "asking").contains("10.75.0."));
    UdpSocket::bind("127.0.0.1:0")
        .and_then(|own| own.send_to(b"............stop", "127.0.0.1:53"))
        .expect("send");
    answering.join().expect("server");
    // Nobody answers any more: that is said in time.
    let said = asks(&room, "asking", "example.net");
    assert!(said.contains("SERVFAIL") || said.contains("timed out") || said.contains("can't"), "{said}");
    room.call(&["rm", "-f", "asking"]).ok();
    room.call(&["network", "rm", "net"]).ok();
    room.assert_gone();
}
