//! How containers are connected: plain pairs, several interfaces, settings of links, links over others, namespaces that
//! are joined.

use pillbox_netlink::Socket;
use pillbox_netlink::link::{self, IpvlanBetween, IpvlanMode, Kind, MacvlanMode, NewLink};
use rustix::io::Errno;
use serde_json::json;

use crate::connected::{Connected, socket};
use crate::host::{Host, on_a_host};
use crate::inventory::Inventory;
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::standpoint::Standpoint;
use crate::traffic::{Protocol, Tcp};

#[test]
fn a_plain_pair_leads_to_the_host_alone() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let interface = json!({
            "name": "pair0", "peer_name": "eth7", "ips": ["10.90.0.1/30", "fd00:90::1/64"],
            "peer_ips": ["10.90.0.2/30", "fd00:90::2/64"],
            "routes": [{"subnet": "0.0.0.0/0", "gateway": "10.90.0.1"}, {"subnet": "::/0", "gateway": "fd00:90::1"}],
            "ports": ["8080:80", "8080:80/udp", "8080:80/sctp"]
        });
        let before = Inventory::take();
        let container = Connected::started(host, &json!({"interfaces": [interface]}));
        let pair = Standpoint::Host.link("pair0");
        assert_eq!((pair.kind.as_deref(), pair.master, pair.is_up()), (Some("veth"), None, true));
        assert_eq!(Standpoint::Host.addresses("pair0"), ["10.90.0.1/30", "fd00:90::1/64"]);
        assert_eq!(container.at().addresses("eth7"), ["10.90.0.2/30", "fd00:90::2/64"]);
        // Nothing is masqueraded: the way back is the outside's matter.
        outside.route("10.90.0.0/30", HOST_4);
        outside.route("fd00:90::/64", HOST_6);
        for protocol in Protocol::ALL {
            let server = container.at().serve("pair", protocol, 80);
            let _outside = outside.at().serve("outside", protocol, 81);
            for (own, of_host, far, near) in [
                ("10.90.0.2", "10.90.0.1", OUTSIDE_4, HOST_4),
                ("fd00:90::2", "fd00:90::1", OUTSIDE_6, HOST_6),
            ] {
                let said = Standpoint::Host.ask(protocol, &socket(own, 80));
                assert_eq!(said, format!("pair sees {of_host}"), "{protocol:?}");
                let said = container.at().ask(protocol, &socket(far, 81));
                assert_eq!(said, format!("outside sees {own}"), "{protocol:?}");
                let said = outside.at().ask(protocol, &socket(near, 8080));
                assert_eq!(said, format!("pair sees {far}"), "{protocol:?}");
            }
            drop(server);
        }
        container.remove();
        before.wait_for_links();
    });
}

#[test]
fn an_interface_is_as_it_was_asked_for() {
    on_a_host(|host| {
        let model = json!({"type": "bridge", "subnets": ["10.90.0.0/24", "fd00:90::/64"], "mtu": 1450});
        let interface = json!({
            "name": "host7", "peer_name": "net7", "peer_ips": ["10.90.0.77/24", "fd00:90::77/64"],
            "mac": "02:00:00:00:00:77", "mtu": 1400
        });
        let netconf = json!({"model": model, "interfaces": [interface]});
        let container = Connected::started(host, &netconf);
        let inside = container.at().link("net7");
        assert_eq!((inside.mtu, inside.address), (1400, Some([2, 0, 0, 0, 0, 0x77])));
        assert_eq!(container.at().addresses("net7"), ["10.90.0.77/24", "fd00:90::77/64"]);
        let bridge = Standpoint::Host.link("pillbox0");
        let outer = Standpoint::Host.link("host7");
        assert_eq!((outer.mtu, outer.master), (1400, Some(bridge.index)));
        assert_eq!(Standpoint::Host.addresses("pillbox0"), ["10.90.0.1/24", "fd00:90::1/64"]);
        container.remove();
    });
}

#[test]
fn a_container_has_several_interfaces() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        let container =
            Connected::started(host, &json!({"model": {"type": "bridge"}, "interfaces": [{}, {}, {}]}));
        let network = container.network();
        let mut all = Vec::new();
        for (position, record) in network.as_array().expect("interfaces").iter().enumerate() {
            let name = format!("eth{position}");
            assert_eq!(record["interface"], json!(name));
            let addresses = container.at().addresses(&name);
            assert_eq!(record["addresses"], json!(addresses));
            all.extend(addresses);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6, "{network}");
        for (to, seen) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
            assert_eq!(container.at().ask(Tcp, &socket(to, 81)), format!("outside sees {seen}"));
        }
        container.remove();
    });
}

/// Whether the kernel has links of that kind, by making one over `out0`.
fn has(kind: Kind) -> bool {
    let mut socket = Socket::open().expect("netlink");
    let probe = NewLink { up: false, ..NewLink::new("probe0", kind) };
    match socket.request(&[link::add(&probe).expect("a link")]) {
        Ok(()) => {
            socket.request(&[link::delete("probe0").expect("a link")]).expect("a link");
            true
        }
        Err(error) if error.refused() == Some(Errno::OPNOTSUPP) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A link over the host's link to the outside gives the container a place on that network. Where the kernel has no such
/// links that is said, and nothing is left.
fn lies_over_the_hosts_link(host: &Host, name: &str, kind: impl Fn(u32) -> Kind) {
    let outside = Machine::outside();
    let _server = outside.at().serve("outside", Tcp, 81);
    let interface = json!({"peer_ips": ["192.0.2.50/24", "2001:db8::50/64"]});
    let netconf = json!({"model": {"type": name, "parent": "out0"}, "interfaces": [interface]});
    let container = Connected::new(host, &netconf);
    let before = Inventory::take();
    if has(kind(Standpoint::Host.link("out0").index)) {
        container.create_and_start();
        assert_eq!(container.at().link("eth0").kind.as_deref(), Some(name));
        for (own, far) in [("192.0.2.50", OUTSIDE_4), ("2001:db8::50", OUTSIDE_6)] {
            let _server = container.at().serve(name, Tcp, 80);
            assert_eq!(container.at().ask(Tcp, &socket(far, 81)), format!("outside sees {own}"));
            assert_eq!(outside.at().ask(Tcp, &socket(own, 80)), format!("{name} sees {far}"));
        }
        container.remove();
    } else {
        let missing = format!("the kernel has no {name}: load the module (modprobe {name})");
        container.create().fails_with(&missing);
        container.assert_gone();
    }
    before.is_back();
}

#[test]
fn a_macvlan_has_a_place_on_the_hosts_network() {
    on_a_host(|host| {
        let kind = |parent| Kind::Macvlan { parent, mode: MacvlanMode::Bridge };
        lies_over_the_hosts_link(host, "macvlan", kind);
    });
}

#[test]
fn an_ipvlan_has_a_place_on_the_hosts_network() {
    on_a_host(|host| {
        let between = IpvlanBetween::default();
        let kind = |parent| Kind::Ipvlan { parent, mode: IpvlanMode::L2, between };
        lies_over_the_hosts_link(host, "ipvlan", kind);
    });
}

#[test]
fn links_in_a_joined_namespace_go_with_the_container() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        let joined = Machine::new();
        joined.connect("other0", &[("10.77.0.1", "10.77.0.2", 24)]);
        // Without the flags: the carrier comes a moment after a link.
        let links = || {
            joined.at().links().into_iter().map(|link| (link.index, link.name, link.kind)).collect::<Vec<_>>()
        };
        let before = links();
        let mut kinds = vec![json!({
            "model": {"type": "bridge"}, "interfaces": [{"peer_name": "net0"}, {"peer_name": "net1"}]
        })];
        let parent = Standpoint::Host.link("out0").index;
        kinds.extend(has(Kind::Macvlan { parent, mode: MacvlanMode::Bridge }).then(|| {
            let interface = json!({"peer_name": "net0", "peer_ip": "192.0.2.50/24"});
            json!({"model": {"type": "macvlan", "parent": "out0"}, "interfaces": [interface]})
        }));
        for netconf in &kinds {
            // What the network itself needs stays.
            Connected::started(host, netconf).remove();
            let on_host = Inventory::take();
            let mut container = Connected::new(host, netconf);
            container.container().with_namespace("network", Some(&joined.namespace()));
            container.create_and_start();
            let added = netconf["interfaces"].as_array().map_or(0, Vec::len);
            assert_eq!(links().len(), before.len() + added);
            let said = container.at().ask(Tcp, &socket(OUTSIDE_4, 81));
            assert!(said.starts_with("outside sees "), "{said}");
            container.remove();
            // The namespace stays, and with it would whatever is left in it.
            assert_eq!(links(), before);
            on_host.is_back();
        }
    });
}
