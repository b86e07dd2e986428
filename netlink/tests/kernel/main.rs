//! Shows what the kernel does with our messages. Every test runs in network namespaces of its own and leaves nothing
//! behind.

mod connections;
mod filters;
mod foreign;
mod links;
mod loopback;
mod namespace;
mod routes;
mod rules;
mod sets;
mod traffic;

use namespace::{at, in_fresh_namespace, ip};
use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Bridge, BridgeOptions};
use pillbox_netlink::route::{self, Route};
use pillbox_netlink::{Cause, LOOPBACK_INDEX, Socket};
use rustix::io::Errno;

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
        let bridge = Bridge {
            name: "br0",
            index: Some(40),
            address: Some(address),
            mtu: Some(1400),
            options: BridgeOptions::default(),
        };
        let destination = at("192.0.2.0", 24);
        socket
            .request(&[
                link::set_up(LOOPBACK_INDEX).unwrap(),
                link::add_bridge(&bridge).unwrap(),
                address::add(40, at("10.88.0.1", 16)).unwrap(),
                address::add(40, at("fd00::1", 64)).unwrap(),
                route::add(&Route { index: Some(40), ..Route::to(destination) }).unwrap(),
                route::add(&Route::default_via(ip("10.88.0.2"))).unwrap(),
                route::add(&Route { index: Some(40), ..Route::default_via(ip("fd00::2")) }).unwrap(),
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
fn each_message_of_a_batch_has_its_own_verdict() {
    in_fresh_namespace("each_message_of_a_batch_has_its_own_verdict", || {
        let mut socket = Socket::open().unwrap();
        let batch = [
            link::set_up(LOOPBACK_INDEX).unwrap(),
            link::set_up("nowhere").unwrap(),
            address::add(LOOPBACK_INDEX, at("10.1.1.1", 24)).unwrap(),
            address::add(LOOPBACK_INDEX, at("10.1.1.1", 24)).unwrap(),
            route::add(&Route { gateway: Some(ip("203.0.113.1")), ..Route::to(at("10.9.0.0", 16)) }).unwrap(),
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
        assert!(
            matches!(socket.request(&one_more), Err(error) if matches!(error.cause(), Cause::Invalid(_)))
        );
        assert!(matches!(socket.request(&[]), Err(error) if matches!(error.cause(), Cause::Invalid(_))));
    });
}

#[test]
fn only_an_rtnetlink_socket_is_taken() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(
        matches!(Socket::from_fd(file.into()), Err(error) if matches!(error.cause(), Cause::System { .. }))
    );
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(matches!(Socket::from_fd(udp.into()), Err(error) if matches!(error.cause(), Cause::Invalid(_))));
}
