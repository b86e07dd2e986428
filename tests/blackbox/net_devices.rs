//! `linux.netDevices`: interfaces of the host (here, of the tests' own network namespace) that are moved into
//! the container.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use pillbox_netlink::Socket;
use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Peer, Veth};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::harness::{Container, each_runtime_but};

const RUNC: (&str, &str) = ("runc", "ignores linux.netDevices before 1.4");

/// A pair of interfaces, the first one with addresses; removed when dropped, wherever the other end is.
struct Pair {
    name: String,
    peer: String,
}

impl Pair {
    fn new() -> Self {
        static PAIRS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = PAIRS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let pair = Pair { name: format!("move{number}"), peer: format!("stay{number}") };
        let mut socket = Socket::open().expect("netlink");
        let peer = Peer { name: &pair.name, index: None, address: Some([2, 0, 0, 0, 7, 7]), namespace: None };
        let veth = Veth { mtu: Some(1400), ..Veth::new(&pair.peer, peer) };
        socket.request(&[link::add_veth(&veth).expect("veth")]).expect("veth");
        let index = link::index_of(&mut socket, &pair.name).expect("index");
        for (ip, prefix) in [("192.0.2.77", 24), ("fd00:77::1", 64)] {
            let ip = ip.parse().expect("ip");
            socket
                .request(&[address::add(index, Address { ip, prefix }).expect("address")])
                .expect("address");
        }
        pair
    }

    fn is_here(&self) -> bool {
        match link::index_of(&mut Socket::open().expect("netlink"), &self.name) {
            Ok(_) => true,
            Err(error) if error.refused() == Some(Errno::NODEV) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let (Ok(mut socket), Ok(delete)) = (Socket::open(), link::delete(self.peer.as_str())) {
            socket.request(&[delete]).ok();
        }
    }
}

fn move_device(container: &mut Container, device: &str, settings: Value) {
    container.spec["linux"]["netDevices"] = json!({device: settings});
}

#[test]
fn a_device_moves_with_its_addresses() {
    each_runtime_but(&[RUNC], |runtime| {
        let pair = Pair::new();
        let mut container = Container::sh(runtime, &format!("ip addr show {}; ip link show lo", pair.name));
        move_device(&mut container, &pair.name, json!({}));
        let output = container.run_ok();
        for part in ["192.0.2.77/24", "fd00:77::1/64", "02:00:00:00:07:07", "mtu 1400", ",UP", "LOOPBACK,UP"]
        {
            assert!(output.contains(part), "{part}: {output}");
        }
        assert!(!pair.is_here());
    });
}

#[test]
fn a_broadcast_address_is_kept_as_it_is() {
    each_runtime_but(&[RUNC], |runtime| {
        for broadcast in [Some("192.0.2.254"), None] {
            let pair = Pair::new();
            let mut socket = Socket::open().expect("netlink");
            let index = link::index_of(&mut socket, &pair.name).expect("index");
            let address = Address { ip: "192.0.2.99".parse().expect("ip"), prefix: 26 };
            let broadcast = broadcast.map(|ip| ip.parse().expect("ip"));
            let assigned = address::Assigned { index, address, scope: 0, flags: 0, broadcast };
            let add = address::add_as_assigned(index, &assigned).expect("address");
            socket.request(&[add]).expect("address");
            let script = format!("ip addr show {} | grep 192.0.2.99", pair.name);
            let mut container = Container::sh(runtime, &script);
            move_device(&mut container, &pair.name, json!({}));
            let output = container.run_ok();
            assert_eq!(output.contains("brd 192.0.2.254"), broadcast.is_some(), "{output}");
            assert_eq!(output.contains("brd"), broadcast.is_some(), "{output}");
        }
    });
}

#[test]
fn a_device_gets_another_name() {
    each_runtime_but(&[RUNC], |runtime| {
        let pair = Pair::new();
        let mut container = Container::sh(runtime, "ip -o addr show eth7");
        move_device(&mut container, &pair.name, json!({"name": "eth7"}));
        let output = container.run_ok();
        assert!(output.contains("192.0.2.77/24"), "{output}");
        assert!(!pair.is_here());
    });
}

#[test]
fn a_device_gets_a_name_that_the_kernel_numbers() {
    each_runtime_but(&[RUNC, ("crun", "loses the addresses then")], |runtime| {
        let pair = Pair::new();
        let mut container = Container::sh(runtime, "ip -o addr show box0");
        move_device(&mut container, &pair.name, json!({"name": "box%d"}));
        let output = container.run_ok();
        assert!(output.contains("192.0.2.77/24"), "{output}");
    });
}

#[test]
fn a_missing_device_is_named() {
    each_runtime_but(&[RUNC], |runtime| {
        let mut container = Container::new(runtime);
        move_device(&mut container, "nonesuch0", json!({}));
        container.run().fails_with("nonesuch0");
        container.assert_gone();
    });
}

#[test]
fn a_name_that_is_taken_is_an_error() {
    each_runtime_but(
        &[RUNC, ("crun", "moves it nevertheless, and loses it with the namespace")],
        |runtime| {
            let pair = Pair::new();
            let mut container = Container::new(runtime);
            move_device(&mut container, &pair.name, json!({"name": "lo"}));
            container.run().fails_with("\"lo\" already");
            container.assert_gone();
            assert!(pair.is_here());
        },
    );
}

/// Another network namespace, which lives as long as a process in it.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let script = ["-n", "sh", "-c", "echo; exec cat"];
        let child = Command::new("unshare").args(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut namespace = Namespace(child.expect("unshare"));
        // The line shows that unshare is done.
        let output: &OwnedFd = &OwnedFd::from(namespace.0.stdout.take().expect("stdout"));
        rustix::io::read(output, &mut [0u8; 1]).expect("line");
        namespace
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_device_moves_into_a_joined_namespace() {
    each_runtime_but(&[RUNC], |runtime| {
        let pair = Pair::new();
        let namespace = Namespace::new();
        let mut container = Container::sh(runtime, &format!("ip -o addr show {}", pair.name));
        let namespaces = container.spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "network", "path": namespace.path()}));
        move_device(&mut container, &pair.name, json!({}));
        assert!(container.run_ok().contains("192.0.2.77/24"));
        // An interface is never moved back.
        assert!(!pair.is_here());
    });
}

#[test]
fn a_device_moves_into_a_user_namespaces_network() {
    each_runtime_but(&[RUNC], |runtime| {
        let pair = Pair::new();
        let mut container = Container::sh(runtime, &format!("ip -o addr show {}", pair.name));
        container.in_user_namespace();
        move_device(&mut container, &pair.name, json!({}));
        let output = container.run_ok();
        assert!(output.contains("192.0.2.77/24") && output.contains("fd00:77::1/64"), "{output}");
    });
}
