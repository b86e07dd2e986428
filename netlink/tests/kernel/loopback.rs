//! A port published on ::1, by routes and rules alone. Replies come in by the bridge with ::1 as their destination, which routing
//! allows only where a route says so, and which IPv6 itself drops where br_netfilter has translated them before.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use pillbox_netlink::link::{self, Bridge, BridgeOptions};
use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Comparison, End, Expression, Family, Hook, MetaKey, PayloadBase, Register,
    Rule, Socket as Filter, Table, Value,
};
use pillbox_netlink::route::{self, LOCAL_TABLE, Route, RouteKind};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, address};

use crate::filters;
use crate::namespace::{Neighbour, at, in_fresh_namespace, ip, skip};
use crate::traffic::{BRIDGE, attach, serve};

const TEST: &str = "loopback::a_port_is_published_on_the_loopback_of_ipv6";
const BRIDGE_CALLS: &str = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";

/// Nat: connections to ::1 port 8080 go to the container, and what leaves for the bridge has its address.
fn publish(filter: &mut Filter) {
    let table = Table::new(Family::Inet, "example");
    let nat = |hook, priority| Base::new(ChainKind::Nat, hook, priority);
    let to_loopback = || Rule::new("out").network(End::Destination, Ipv6Addr::LOCALHOST, 128);
    let leaving = Rule::new("post")
        .network(End::Source, Ipv6Addr::LOCALHOST, 128)
        .meta_is(MetaKey::OutgoingName, Value::interface("br0"))
        .masquerade();
    let mut batch = Batch::new();
    batch
        .add_table(&table)
        .and_then(|batch| batch.add_chain(&table, &Chain::based("out", nat(Hook::Output, -100))))
        .and_then(|batch| batch.add_chain(&table, &Chain::based("post", nat(Hook::Postrouting, 100))))
        .and_then(|batch| batch.add_rule(&table, &leaving))
        .unwrap();
    for protocol in [6, 17] {
        let rule = to_loopback().port(protocol, End::Destination, 8080).dnat(ip("fd00:1::5"), Some(80));
        batch.add_rule(&table, &rule).unwrap();
    }
    filter.commit(&batch).unwrap();
}

/// What comes in by the bridge for ::1 goes to the loopback, with its hardware address.
fn forward_to_loopback(filter: &mut Filter) {
    const FIRST: Register = Register::FIRST;
    let table = Table::new(Family::Netdev, "example");
    let device = Some("br0".to_string());
    let base = Base { device, ..Base::new(ChainKind::Filter, Hook::Ingress, 0) };
    let rule = Rule::new("ingress")
        .meta_is(MetaKey::Protocol, Value::port(0x86dd))
        .then(Expression::Payload { base: PayloadBase::Network, offset: 24, length: 16, to: FIRST })
        .then(Expression::Compare {
            register: FIRST,
            comparison: Comparison::Equal,
            value: Ipv6Addr::LOCALHOST.into(),
        })
        .then(Expression::Immediate { value: Value(vec![0; 6]), to: FIRST })
        .then(Expression::SetPayload {
            base: PayloadBase::Link,
            offset: 0,
            length: 6,
            from: FIRST,
            checksum: None,
            pseudo_header: false,
        })
        .then(Expression::Immediate { value: Value::number(LOOPBACK_INDEX), to: FIRST })
        .then(Expression::Forward { to: FIRST });
    let mut batch = Batch::new();
    batch.add_table(&table).unwrap().add_chain(&table, &Chain::based("ingress", base)).unwrap();
    batch.add_rule(&table, &rule).unwrap();
    filter.commit(&batch).unwrap();
}

/// Sends back what comes in over UDP.
pub fn echo(neighbour: &Neighbour, at: &'static str) {
    let socket = neighbour.run(move || UdpSocket::bind(at).unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    });
}

fn connects(to: SocketAddr, seconds: u64) -> bool {
    TcpStream::connect_timeout(&to, Duration::from_secs(seconds)).is_ok()
}

fn echoed(to: SocketAddr) -> bool {
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.connect(to).unwrap();
    socket.send(b"echo").unwrap();
    let mut buffer = [0; 8];
    match socket.recv(&mut buffer) {
        Ok(length) => buffer[..length] == *b"echo",
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_port_is_published_on_the_loopback_of_ipv6() {
    in_fresh_namespace(TEST, || {
        let Some(mut filter) = filters::socket(TEST) else { return };
        let mut host = Socket::open().unwrap();
        let options = BridgeOptions::default();
        let bridge = Bridge { name: "br0", index: Some(BRIDGE), address: None, mtu: None, options };
        host.request(&[
            link::set_up(LOOPBACK_INDEX).unwrap(),
            link::add_bridge(&bridge).unwrap(),
            address::add(BRIDGE, at("fd00:1::1", 64)).unwrap(),
        ])
        .unwrap();
        let container = attach(&mut host, "veth0", Some(BRIDGE), "fd00:1::5", "fd00:1::1");
        serve(&container, "[::]:80");
        echo(&container, "[::]:80");
        publish(&mut filter);
        let published = "[::1]:8080".parse().unwrap();
        // The container answers by then, so what is missing below is the way back.
        assert!(connects("[fd00:1::5]:80".parse().unwrap(), 10));

        // This namespace's own; without br_netfilter there is none.
        let calls = std::fs::write(BRIDGE_CALLS, "0").is_ok();
        assert!(!connects(published, 1));
        let route = Route {
            kind: RouteKind::Local,
            index: Some(BRIDGE),
            table: LOCAL_TABLE,
            priority: Some(2048),
            ..Route::to(at("::1", 128))
        };
        host.request(&[route::add(&route).unwrap()]).unwrap();
        let listed = route::list(&mut host).unwrap();
        assert!(listed.contains(&Route { scope: Some(0), ..route.clone() }), "{listed:#?}");
        assert!(connects(published, 5) && echoed(published));

        // The namespace's own services are where they were.
        let own = TcpListener::bind("[::1]:0").unwrap();
        assert!(connects(own.local_addr().unwrap(), 5));

        if calls {
            std::fs::write(BRIDGE_CALLS, "1").unwrap();
            assert!(!connects(published, 1));
            forward_to_loopback(&mut filter);
            assert!(connects(published, 5) && echoed(published));
            assert!(connects(own.local_addr().unwrap(), 5));
            std::fs::write(BRIDGE_CALLS, "0").unwrap();
            assert!(connects(published, 5) && echoed(published));
        } else {
            skip(TEST, "no br_netfilter: what it does to replies is not tried");
        }
        host.request(&[route::delete(&route).unwrap()]).unwrap();
        assert!(!connects(published, 1));
    });
}
