//! Tracked connections: UDP that goes on through a translation that is no more, until its entry is deleted.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use pillbox_netlink::conntrack::{self, Entry, Filter, Pattern};
use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, End, Family, Hook, Rule, Socket as NetfilterSocket, Table, connection,
    priority, rule,
};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, address, link};

use crate::filters;
use crate::loopback::echo;
use crate::namespace::{Neighbour, at, in_fresh_namespace, ip, skip};
use crate::traffic::attach;

const UDP: u8 = 17;

fn table() -> Table {
    Table::new(Family::Ip, "example")
}

/// A socket; `None`, and it is said, on a kernel that does not list connections.
fn socket(test: &str) -> Option<NetfilterSocket> {
    let mut socket = filters::socket(test)?;
    if let Err(error) = conntrack::list(&mut socket, &Filter::default()) {
        skip(test, &format!("this kernel does not list connections: {error}"));
        return None;
    }
    Some(socket)
}

fn translate(filter: &mut NetfilterSocket) {
    let base = Base::new(ChainKind::Nat, Hook::Prerouting, priority::DESTINATION_NAT);
    let mut batch = Batch::new();
    batch.add_table(&table()).unwrap().add_chain(&table(), &Chain::based("pre", base)).unwrap();
    for port in [5353, 5354] {
        let rule = Rule::new("pre").port(UDP, End::Destination, port).dnat(ip("10.88.0.5"), Some(53));
        batch.add_rule(&table(), &rule).unwrap();
    }
    filter.commit(&batch).unwrap();
}

/// A client that keeps its port, as one that goes on sending.
struct Client(UdpSocket);

impl Client {
    fn new(outside: &Neighbour, port: u16) -> Self {
        let socket = outside.run(move || {
            let socket = UdpSocket::bind("192.0.2.2:0").unwrap();
            socket.connect(SocketAddr::new(ip("192.0.2.1"), port)).unwrap();
            socket
        });
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        Client(socket)
    }

    /// Whether the server answers; what is refused is not answered.
    fn is_answered(&self) -> bool {
        let mut buffer = [0; 16];
        match self.0.send(b"hello").and_then(|_| self.0.recv(&mut buffer)) {
            Ok(length) => buffer[..length] == *b"hello",
            Err(error) => {
                let expected = [ErrorKind::WouldBlock, ErrorKind::ConnectionRefused];
                assert!(expected.contains(&error.kind()), "{error}");
                false
            }
        }
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

fn published(port: u16, container: IpAddr) -> Filter {
    Filter {
        protocol: Some(UDP),
        original: Pattern { destination_port: Some(port), ..Pattern::default() },
        reply: Pattern { source: Some(container), source_port: Some(53), ..Pattern::default() },
    }
}

/// The destination's ports of connections, in order.
fn ports(entries: &[Entry]) -> Vec<u16> {
    let mut ports: Vec<u16> = entries.iter().map(|entry| entry.original.destination_port).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn udp_through_a_port_that_is_no_more_ends_with_its_entry() {
    const TEST: &str = "connections::udp_through_a_port_that_is_no_more_ends_with_its_entry";
    in_fresh_namespace(TEST, || {
        let Some(mut filter) = socket(TEST) else { return };
        let mut host = Socket::open().unwrap();
        host.request(&[link::set_up(LOOPBACK_INDEX).unwrap()]).unwrap();
        let container = attach(&mut host, "veth0", None, "10.88.0.5", "10.88.0.1");
        let outside = attach(&mut host, "out0", None, "192.0.2.2", "192.0.2.1");
        for (name, own) in [("veth0", "10.88.0.1"), ("out0", "192.0.2.1")] {
            let index = link::index_of(&mut host, name).unwrap();
            host.request(&[address::add(index, at(own, 24)).unwrap()]).unwrap();
        }
        // This namespace's own.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        echo(&container, "10.88.0.5:53");
        translate(&mut filter);
        let clients = [5353, 5353, 5354].map(|port| Client::new(&outside, port));
        // The first packets may go while a neighbour is looked up.
        assert!(clients.iter().all(|client| (0..10).any(|_| client.is_answered())));

        let all = conntrack::list(&mut filter, &Filter::default()).unwrap();
        assert_eq!(ports(&all), [5353, 5353, 5354]);
        let first = all.iter().find(|entry| entry.original.source_port == clients[0].port()).unwrap();
        assert_eq!((first.original.source, first.original.destination), (ip("192.0.2.2"), ip("192.0.2.1")));
        assert_eq!((first.reply.source, first.reply.source_port), (ip("10.88.0.5"), 53));
        assert_eq!(
            (first.reply.destination, first.reply.destination_port),
            (ip("192.0.2.2"), clients[0].port())
        );
        assert_eq!((first.original.protocol, first.zone), (UDP, 0));
        assert_ne!(first.status & connection::DESTINATION_TRANSLATED, 0);

        // Without its rule, those that have begun go on.
        let rules = rule::list(&mut filter, &table(), Some("pre")).unwrap();
        filter.commit(Batch::new().delete_rule(&table(), "pre", rules[0].handle).unwrap()).unwrap();
        assert!(clients[0].is_answered() && !Client::new(&outside, 5353).is_answered());

        let container_ip = ip("10.88.0.5");
        assert_eq!(conntrack::list(&mut filter, &published(5353, container_ip)).unwrap().len(), 2);
        for other in [published(5355, container_ip), published(5353, ip("10.88.0.6"))] {
            conntrack::delete(&mut filter, &other).unwrap();
        }
        assert_eq!(conntrack::list(&mut filter, &published(5353, container_ip)).unwrap().len(), 2);
        for _ in 0..2 {
            conntrack::delete(&mut filter, &published(5353, container_ip)).unwrap();
            assert_eq!(conntrack::list(&mut filter, &published(5353, container_ip)).unwrap(), []);
        }
        assert!(!clients[0].is_answered() && !clients[1].is_answered());
        assert!(clients[2].is_answered());

        // What is left to the container: the other port. By the one who began it, everything goes.
        let left = conntrack::list(&mut filter, &published(5354, container_ip)).unwrap();
        assert_eq!(left.len(), 1);
        let from_outside = Pattern { source: Some(ip("192.0.2.2")), ..Pattern::default() };
        let all = Filter { original: from_outside, ..Filter::default() };
        conntrack::delete(&mut filter, &all).unwrap();
        assert_eq!(conntrack::list(&mut filter, &Filter::default()).unwrap(), []);
    });
}

#[test]
fn more_entries_than_a_batch_takes_are_deleted() {
    const TEST: &str = "connections::more_entries_than_a_batch_takes_are_deleted";
    in_fresh_namespace(TEST, || {
        let Some(mut filter) = socket(TEST) else { return };
        Socket::open().unwrap().request(&[link::set_up(LOOPBACK_INDEX).unwrap()]).unwrap();
        // Connections are tracked where a rule asks for it.
        let base = Base::new(ChainKind::Filter, Hook::Output, priority::FILTER);
        let mut batch = Batch::new();
        let table = Table::new(Family::Inet, "example");
        let rule = Rule::new("out").connection_state(connection::NEW).counted();
        batch
            .add_table(&table)
            .and_then(|batch| batch.add_chain(&table, &Chain::based("out", base)))
            .and_then(|batch| batch.add_rule(&table, &rule))
            .unwrap();
        filter.commit(&batch).unwrap();
        let four = UdpSocket::bind("127.0.0.1:0").unwrap();
        let six = UdpSocket::bind("[::1]:0").unwrap();
        // Nobody listens, which nobody need know.
        for port in 10_001..=10_150 {
            four.send_to(b"x", ("127.0.0.1", port)).unwrap();
            six.send_to(b"x", ("::1", port)).unwrap();
        }
        let to = |ip| Filter {
            protocol: Some(UDP),
            original: Pattern { destination: Some(ip), ..Pattern::default() },
            ..Filter::default()
        };
        assert_eq!(conntrack::list(&mut filter, &Filter::default()).unwrap().len(), 300);
        // The kernel deletes by IPv4 addresses, if it can, and by IPv6 addresses we do.
        conntrack::delete(&mut filter, &to(ip("127.0.0.1"))).unwrap();
        let left = conntrack::list(&mut filter, &Filter::default()).unwrap();
        assert_eq!(left.len(), 150);
        assert!(left.iter().all(|entry| entry.original.destination == ip("::1")));
        conntrack::delete(&mut filter, &to(ip("::2"))).unwrap();
        assert_eq!(conntrack::list(&mut filter, &to(ip("::1"))).unwrap().len(), 150);
        conntrack::delete(&mut filter, &to(ip("::1"))).unwrap();
        assert_eq!(conntrack::list(&mut filter, &Filter::default()).unwrap(), []);
    });
}
