//! Links, routes and rules together: connections go where they should.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use pillbox_netlink::link::{self, Bridge, BridgeOptions, Peer, Veth};
use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, DataType, Element, End, Family, Hook, MetaKey, Rule, Set, Table, Value,
    priority, rule,
};
use pillbox_netlink::route::{self, Route};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, address};

use crate::filters;
use crate::namespace::{Neighbour, at, in_fresh_namespace, ip};

pub const BRIDGE: u32 = 40;

/// A neighbour with an interface eth0 whose other end is `name`, with that address and a default route.
pub fn attach(host: &mut Socket, name: &str, master: Option<u32>, own: &str, gateway: &str) -> Neighbour {
    let neighbour = Neighbour::new();
    let namespace = neighbour.namespace();
    let peer = Peer { name: "eth0", index: None, address: None, namespace: Some(namespace.as_fd()) };
    let veth = Veth { master, ..Veth::new(name, peer) };
    host.request(&[link::add_veth(&veth).unwrap()]).unwrap();
    let mut inside = neighbour.socket();
    let index = link::index_of(&mut inside, "eth0").unwrap();
    let prefix = if ip(own).is_ipv6() { 64 } else { 24 };
    inside
        .request(&[
            link::set_up(LOOPBACK_INDEX).unwrap(),
            address::add(index, at(own, prefix)).unwrap(),
            link::set_up(index).unwrap(),
            route::add(&Route { index: Some(index), ..Route::default_via(ip(gateway)) }).unwrap(),
        ])
        .unwrap();
    neighbour
}

/// Listens in there, and tells every client its address.
pub fn serve(neighbour: &Neighbour, at: &'static str) {
    let listener = neighbour.run(move || TcpListener::bind(at).unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let peer = client.peer_addr().unwrap().ip();
            let _ = write!(client, "{peer}");
        }
    });
}

/// What a server says to a client that connects from here, if it does within so many seconds.
pub fn said(to: &str, seconds: u64) -> std::io::Result<IpAddr> {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(seconds))?;
    stream.set_read_timeout(Some(Duration::from_secs(seconds)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.parse().map_err(|_| std::io::Error::other(text))
}

#[test]
fn a_published_port_leads_in_and_masquerading_leads_out() {
    const TEST: &str = "traffic::a_published_port_leads_in_and_masquerading_leads_out";
    in_fresh_namespace(TEST, || {
        let Some(mut filter) = filters::socket(TEST) else { return };
        let mut host = Socket::open().unwrap();
        let options = BridgeOptions::default();
        let bridge = Bridge { name: "br0", index: Some(BRIDGE), address: None, mtu: None, options };
        host.request(&[
            link::set_up(LOOPBACK_INDEX).unwrap(),
            link::add_bridge(&bridge).unwrap(),
            address::add(BRIDGE, at("10.88.0.1", 24)).unwrap(),
        ])
        .unwrap();
        let container = attach(&mut host, "veth0", Some(BRIDGE), "10.88.0.5", "10.88.0.1");
        let outside = attach(&mut host, "out0", None, "192.0.2.2", "192.0.2.1");
        let out = link::index_of(&mut host, "out0").unwrap();
        host.request(&[address::add(out, at("192.0.2.1", 24)).unwrap()]).unwrap();
        // This namespace's own.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        serve(&container, "0.0.0.0:80");
        serve(&outside, "0.0.0.0:81");

        let table = Table::new(Family::Inet, "example");
        let ports =
            Set::map("ports", [DataType::Protocol, DataType::Port], [DataType::Ipv4Address, DataType::Port]);
        let nat = |hook, priority| Base::new(ChainKind::Nat, hook, priority);
        let published = Element::new(Value::protocol(6).and(Value::port(8080)))
            .to(Value::from(ip("10.88.0.5")).and(Value::port(80)));
        let mut batch = Batch::new();
        batch
            .add_table(&table)
            .and_then(|batch| {
                batch
                    .add_chain(&table, &Chain::based("pre", nat(Hook::Prerouting, priority::DESTINATION_NAT)))
            })
            .and_then(|batch| batch.add_chain(&table, &Chain::based("out", nat(Hook::Output, -100))))
            .and_then(|batch| batch.add_chain(&table, &Chain::based("post", nat(Hook::Postrouting, 100))))
            .and_then(|batch| batch.add_set(&table, &ports)?.add_elements(&table, &ports, &[published]))
            .and_then(|batch| {
                batch.add_rule(&table, &Rule::new("pre").local_destination().dnat_by_map("ports"))
            })
            .and_then(|batch| {
                batch.add_rule(&table, &Rule::new("out").local_destination().dnat_by_map("ports"))
            })
            .and_then(|batch| {
                let leaving = Rule::new("post")
                    .network(End::Source, ip("10.88.0.0"), 24)
                    .meta_is_not(MetaKey::OutgoingName, Value::interface("br0"));
                batch.add_rule(&table, &leaving.counted().masquerade())
            })
            .unwrap();
        filter.commit(&batch).unwrap();

        // In: the server sees the client's own address. Out: it sees the host's.
        assert_eq!(outside.run(|| said("192.0.2.1:8080", 10)).unwrap(), ip("192.0.2.2"));
        assert_eq!(said("192.0.2.1:8080", 10).unwrap(), ip("192.0.2.1"));
        assert_eq!(container.run(|| said("192.0.2.2:81", 10)).unwrap(), ip("192.0.2.1"));
        let rules = rule::list(&mut filter, &table, Some("post")).unwrap();
        let counted = rules[0].value.expressions.iter().any(|expression| {
            matches!(expression, pillbox_netlink::nft::Expression::Counter { packets: 1.., bytes: 1.. })
        });
        assert!(counted, "{rules:#?}");
        filter.commit(Batch::new().flush_set(&table, "ports").unwrap()).unwrap();
        assert!(outside.run(|| said("192.0.2.1:8080", 10)).is_err());
    });
}
