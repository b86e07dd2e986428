//! Shows what the kernel does with our messages. Every test runs in network namespaces of its own, made by
//! `unshare -n` (util-linux), and leaves nothing behind.

use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Bridge, Peer, Veth};
use pillbox_netlink::route::{self, Route};
use pillbox_netlink::{Error, LOOPBACK_INDEX, Socket};
use rustix::io::Errno;

/// Set in the process that is in the new namespace.
const INSIDE: &str = "NETLINK_TEST_INSIDE";

/// Runs a test's body in a new network namespace: runs the test binary again under unshare, with that one
/// test.
fn in_fresh_namespace(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        // Not eprintln!, which the test harness captures.
        let _ = writeln!(std::io::stderr(), "SKIP {test}: needs root for a network namespace");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .arg("-n")
        .arg(this)
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) is needed");
    assert!(status.success(), "{test} failed in its namespace");
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str, prefix: u8) -> Address {
    Address { ip: ip(text), prefix }
}

/// A second network namespace, which lives as long as a process in it.
struct Neighbour(Child);

impl Neighbour {
    fn new() -> Self {
        let child = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut neighbour = Neighbour(child);
        // The line shows that unshare is done.
        let mut line = [0];
        std::io::Read::read_exact(neighbour.0.stdout.as_mut().unwrap(), &mut line).unwrap();
        neighbour
    }

    fn namespace(&self) -> OwnedFd {
        std::fs::File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap().into()
    }

    /// A socket opened in that namespace, by a thread that enters it and ends.
    fn socket(&self) -> Socket {
        let namespace = self.namespace();
        let fd: OwnedFd = std::thread::spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            OwnedFd::from(Socket::open().unwrap())
        })
        .join()
        .unwrap();
        Socket::from_fd(fd).unwrap()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn loopback_is_set_up_in_one_round_trip() {
    in_fresh_namespace("loopback_is_set_up_in_one_round_trip", || {
        let mut socket = Socket::open().unwrap();
        assert!(!link::get(&mut socket, LOOPBACK_INDEX).unwrap().is_up());
        socket.request(&[link::set_up(LOOPBACK_INDEX).unwrap()]).unwrap();
        let lo = link::get(&mut socket, "lo").unwrap();
        assert!(lo.is_up());
        assert_eq!((lo.index, lo.mtu), (LOOPBACK_INDEX, 65536));
        let addresses = address::list(&mut socket).unwrap();
        assert!(addresses.iter().any(|assigned| assigned.address == at("127.0.0.1", 8)));
        assert!(addresses.iter().any(|assigned| assigned.address == at("::1", 128)));
        assert!(addresses.iter().all(|assigned| !assigned.is_permanent_global()));
    });
}

#[test]
fn a_bridge_with_addresses_and_routes_is_one_batch() {
    in_fresh_namespace("a_bridge_with_addresses_and_routes_is_one_batch", || {
        let mut socket = Socket::open().unwrap();
        let address = [0x02, 0, 0, 0, 0, 9];
        let bridge = Bridge { name: "br0", index: Some(40), address: Some(address), mtu: Some(1400) };
        let destination = at("192.0.2.0", 24);
        socket
            .request(&[
                link::set_up(LOOPBACK_INDEX).unwrap(),
                link::add_bridge(&bridge).unwrap(),
                address::add(40, at("10.88.0.1", 16)).unwrap(),
                address::add(40, at("fd00::1", 64)).unwrap(),
                route::add(Route { destination, gateway: None, index: Some(40) }).unwrap(),
                route::add(Route {
                    destination: at("0.0.0.0", 0),
                    gateway: Some(ip("10.88.0.2")),
                    index: None,
                })
                .unwrap(),
                route::add(Route { destination: at("::", 0), gateway: Some(ip("fd00::2")), index: Some(40) })
                    .unwrap(),
            ])
            .unwrap();
        let br0 = link::get(&mut socket, 40).unwrap();
        assert_eq!((br0.name.as_str(), br0.mtu, br0.address), ("br0", 1400, Some(address)));
        assert!(br0.is_up());
        assert_eq!(br0.kind.as_deref(), Some("bridge"));
        let mut own: Vec<Address> = address::list(&mut socket)
            .unwrap()
            .into_iter()
            .filter(|assigned| assigned.index == 40 && assigned.is_permanent_global())
            .map(|assigned| assigned.address)
            .collect();
        own.sort_by_key(|address| address.ip);
        assert_eq!(own, [at("10.88.0.1", 16), at("fd00::1", 64)]);
        let routes = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
        // Destination and gateway: network byte order, read as little-endian numbers.
        assert!(routes.contains("br0\t00000000\t0200580A"), "{routes}");
        assert!(routes.contains("br0\t000200C0\t00000000"), "{routes}");
        let routes = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap();
        assert!(routes.contains("fd000000000000000000000000000002"), "{routes}");
    });
}

#[test]
fn a_veth_peer_is_born_in_the_other_namespace() {
    in_fresh_namespace("a_veth_peer_is_born_in_the_other_namespace", || {
        let neighbour = Neighbour::new();
        let namespace = neighbour.namespace();
        let mut host = Socket::open().unwrap();
        let mac = [0x02, 0, 0, 0, 0, 7];
        let peer =
            Peer { name: "eth0", index: Some(2), address: Some(mac), namespace: Some(namespace.as_fd()) };
        let veth = Veth { name: "veth7", index: Some(50), mtu: Some(1300), master: Some(40), peer };
        let bridge = Bridge { name: "br0", index: Some(40), address: None, mtu: None };
        host.request(&[
            link::add_bridge(&bridge).unwrap(),
            link::add_veth(&veth).unwrap(),
            link::set_hairpin(50).unwrap(),
        ])
        .unwrap();
        let here = link::get(&mut host, "veth7").unwrap();
        assert_eq!((here.index, here.mtu, here.master), (50, 1300, Some(40)));
        assert!(here.is_up());
        let mut inside = neighbour.socket();
        let there = link::get(&mut inside, "eth0").unwrap();
        assert_eq!((there.index, there.mtu, there.address), (2, 1300, Some(mac)));
        assert_eq!(there.kind.as_deref(), Some("veth"));
        inside
            .request(&[
                link::set_up(LOOPBACK_INDEX).unwrap(),
                address::add(2, at("10.88.0.5", 16)).unwrap(),
                link::set_up("eth0").unwrap(),
                route::add(Route {
                    destination: at("0.0.0.0", 0),
                    gateway: Some(ip("10.88.0.1")),
                    index: None,
                })
                .unwrap(),
            ])
            .unwrap();
        assert_eq!(link::list(&mut inside).unwrap().len(), 2);
        // sysfs shows the namespace in which it was mounted, so it is mounted again, in a mount namespace of
        // its own.
        let script = "mount -t sysfs sysfs /sys && cat /sys/class/net/veth7/brport/hairpin_mode";
        let hairpin = Command::new("unshare").args(["-m", "sh", "-c", script]).output().unwrap();
        assert_eq!(hairpin.stdout, b"1\n");
        host.request(&[link::delete("veth7").unwrap()]).unwrap();
        assert_eq!(link::list(&mut inside).unwrap().len(), 1);
    });
}

#[test]
fn a_moved_link_is_renamed_and_up() {
    in_fresh_namespace("a_moved_link_is_renamed_and_up", || {
        let neighbour = Neighbour::new();
        let namespace = neighbour.namespace();
        let mut host = Socket::open().unwrap();
        let peer = Peer { name: "b0", index: None, address: None, namespace: None };
        let veth = Veth { name: "a0", index: None, mtu: None, master: None, peer };
        host.request(&[link::add_veth(&veth).unwrap()]).unwrap();
        let index = link::index_of(&mut host, "b0").unwrap();
        host.request(&[link::move_to_namespace(index, namespace.as_fd(), Some("eth%d")).unwrap()]).unwrap();
        let mut inside = neighbour.socket();
        assert!(link::get(&mut inside, "eth0").unwrap().is_up());
        inside.request(&[link::set_mtu("eth0", 1280).unwrap()]).unwrap();
        assert_eq!(link::get(&mut inside, "eth0").unwrap().mtu, 1280);
        assert!(
            matches!(link::index_of(&mut host, "b0"), Err(Error::Refused(refusal)) if refusal.errno == Errno::NODEV)
        );
    });
}

#[test]
fn each_message_of_a_batch_has_its_own_verdict() {
    in_fresh_namespace("each_message_of_a_batch_has_its_own_verdict", || {
        let mut socket = Socket::open().unwrap();
        let batch = [
            link::set_up(LOOPBACK_INDEX).unwrap(),
            link::set_up("nowhere").unwrap(),
            address::add(LOOPBACK_INDEX, at("10.1.1.1", 24)).unwrap(),
            address::add(LOOPBACK_INDEX, at("10.1.1.1", 24)).unwrap(),
            route::add(Route {
                destination: at("10.9.0.0", 16),
                gateway: Some(ip("203.0.113.1")),
                index: None,
            })
            .unwrap(),
        ];
        let refusals = socket.exchange(&batch).unwrap();
        let seen: Vec<_> = refusals.iter().map(|refusal| (refusal.message, refusal.errno)).collect();
        assert_eq!(seen, [(1, Errno::NODEV), (3, Errno::EXIST), (4, Errno::NETUNREACH)]);
        assert_eq!(refusals[2].text.as_deref(), Some("Nexthop has invalid gateway"));
        let error = socket.request(&batch[3..]).unwrap_err().to_string();
        assert!(error.starts_with("add address 10.1.1.1/24 to link 1: File exists"), "{error}");
        // The socket stays in step after refusals: nothing is left that could be taken for the next answer.
        socket.request(&[link::set_up(LOOPBACK_INDEX).unwrap()]).unwrap();
        assert!(link::get(&mut socket, "lo").unwrap().is_up());
    });
}

#[test]
fn a_full_batch_and_a_long_list_come_through() {
    in_fresh_namespace("a_full_batch_and_a_long_list_come_through", || {
        let mut socket = Socket::open().unwrap();
        let full: Vec<_> =
            (0..64).map(|n| address::add(1, at(&format!("10.0.{n}.1"), 24)).unwrap()).collect();
        socket.request(&full).unwrap();
        assert_eq!(socket.exchange(&full).unwrap().len(), 64);
        for n in 0..5 {
            let more: Vec<_> =
                (0..64).map(|m| address::add(1, at(&format!("10.{}.{m}.1", n + 1), 24)).unwrap()).collect();
            socket.request(&more).unwrap();
        }
        assert_eq!(address::list(&mut socket).unwrap().len(), 384);
        let one_more: Vec<_> = (0..65).map(|_| link::set_up(LOOPBACK_INDEX).unwrap()).collect();
        assert!(matches!(socket.request(&one_more), Err(Error::Invalid(_))));
        assert!(matches!(socket.request(&[]), Err(Error::Invalid(_))));
    });
}

#[test]
fn only_an_rtnetlink_socket_is_taken() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(Socket::from_fd(file.into()), Err(Error::System { .. })));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(matches!(Socket::from_fd(udp.into()), Err(Error::Invalid(_))));
}
