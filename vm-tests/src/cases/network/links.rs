//! How containers are connected but for bridges.

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Kind, NewLink, VlanProtocol};
use serde_json::{Value, json};

use super::host::{Connected, answers, on_a_host, socket, with_outside};
use super::machine::{HOST_4, HOST_6, OUTSIDE_4, OUTSIDE_6};
use super::standpoint::{Standpoint, ip};
use super::traffic::{Protocol, Tcp};
use super::{Guest, Need};
use crate::cases::expectation::equal;

pub const MACVLAN: &[Need] = &[Need::Command("net"), Need::Module("veth"), Need::Module("macvlan")];
pub const IPVLAN: &[Need] = &[Need::Command("net"), Need::Module("veth"), Need::Module("ipvlan")];
pub const VLAN: &[Need] =
    &[Need::Command("net"), Need::Module("veth"), Need::Module("8021q"), Need::Module("macvlan")];
pub const DUMMY: &[Need] =
    &[Need::Command("net"), Need::Module("veth"), Need::Module("dummy"), Need::Module("macvlan")];

/// Without a model the host's end of a pair has addresses of its own.
pub fn pair(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, outside| {
        let interface = json!({
            "name": "pair0", "peer_name": "eth7", "ips": ["10.90.0.1/30", "fd00:90::1/64"],
            "peer_ips": ["10.90.0.2/30", "fd00:90::2/64"],
            "routes": [{"subnet": "0.0.0.0/0", "gateway": "10.90.0.1"}, {"subnet": "::/0", "gateway": "fd00:90::1"}],
            "ports": ["8080:80", "8080:80/udp", "8080:80/sctp"]
        });
        let container = host.start("pair", &json!({"interfaces": [interface]}))?;
        outside.route("10.90.0.0/30", HOST_4);
        outside.route("fd00:90::/64", HOST_6);
        for protocol in Protocol::ALL {
            let _server = container.at().serve("pair", protocol, 80);
            let _outside = outside.at().serve("outside", protocol, 81);
            for (own, of_host, far, near) in [
                ("10.90.0.2", "10.90.0.1", OUTSIDE_4, HOST_4),
                ("fd00:90::2", "fd00:90::1", OUTSIDE_6, HOST_6),
            ] {
                let sees = |who: &str| format!("pair sees {who}");
                answers(Standpoint::Host, protocol, &socket(own, 80), &sees(of_host), "from the host")?;
                answers(outside.at(), protocol, &socket(near, 8080), &sees(far), "from outside")?;
                let expected = format!("outside sees {own}");
                answers(container.at(), protocol, &socket(far, 81), &expected, "from the container")?;
            }
        }
        container.remove()
    })
}

/// A netconf.json for a link over `parent` with those addresses.
fn over(kind: &str, parent: &str, addresses: [&str; 2]) -> Value {
    json!({"model": {"type": kind, "parent": parent}, "interfaces": [{"peer_ips": addresses}]})
}

/// A link over the host's link to the outside gives the container a place on that network.
fn over_the_hosts_link(guest: &Guest, kind: &str) -> Result<(), String> {
    with_outside(guest, |host, outside| {
        let _outside = Protocol::ALL.map(|protocol| outside.at().serve("outside", protocol, 81));
        let netconf = over(kind, "out0", ["192.0.2.50/24", "2001:db8::50/64"]);
        let container = host.start("over", &netconf)?;
        equal("its kind", container.at().link("eth0").kind.as_deref(), Some(kind))?;
        for protocol in Protocol::ALL {
            let _server = container.at().serve(kind, protocol, 80);
            for (own, far) in [("192.0.2.50", OUTSIDE_4), ("2001:db8::50", OUTSIDE_6)] {
                let expected = format!("outside sees {own}");
                answers(container.at(), protocol, &socket(far, 81), &expected, "from the container")?;
                let expected = format!("{kind} sees {far}");
                answers(outside.at(), protocol, &socket(own, 80), &expected, "from outside")?;
            }
        }
        container.remove()
    })
}

pub fn macvlan(guest: &Guest) -> Result<(), String> {
    over_the_hosts_link(guest, "macvlan")
}

pub fn ipvlan(guest: &Guest) -> Result<(), String> {
    over_the_hosts_link(guest, "ipvlan")
}

/// Adds a link at that place, set up, with an address if one is given.
fn add_link(at: Standpoint, name: &str, kind: Kind, of_link: Option<(&str, u8)>) -> Result<(), String> {
    let mut socket = at.socket();
    let mut add = || {
        socket.request(&[link::add(&NewLink { up: true, ..NewLink::new(name, kind) })?])?;
        let index = link::index_of(&mut socket, name)?;
        match of_link {
            Some((own, prefix)) => socket.request(&[address::add(index, Address { ip: ip(own), prefix })?]),
            None => Ok(()),
        }
    };
    add().map_err(|e: pillbox_netlink::Error| format!("link {name}: {e}"))
}

/// A macvlan over a VLAN of the host's link is on that VLAN.
pub fn over_a_vlan(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, outside| {
        for (at, parent, own) in
            [(Standpoint::Host, "out0", "192.0.3.1"), (outside.at(), "eth0", "192.0.3.2")]
        {
            let kind = Kind::Vlan { parent: at.link(parent).index, id: 7, protocol: VlanProtocol::default() };
            add_link(at, "vlan7", kind, Some((own, 24)))?;
        }
        let _server = outside.at().serve("outside", Tcp, 81);
        let netconf = over("macvlan", "vlan7", ["192.0.3.50/24", "fd00:7::50/64"]);
        let container = host.start("over", &netconf)?;
        answers(container.at(), Tcp, "192.0.3.2:81", "outside sees 192.0.3.50", "over the VLAN")?;
        container.remove()?;
        delete_link("vlan7")
    })
}

/// Two containers over one link that leads nowhere have each other.
pub fn over_a_dummy(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        add_link(Standpoint::Host, "dummy7", Kind::Dummy, None)?;
        let one = host.start("one", &over("macvlan", "dummy7", ["10.90.7.1/24", "fd00:90:7::1/64"]))?;
        let two = host.start("two", &over("macvlan", "dummy7", ["10.90.7.2/24", "fd00:90:7::2/64"]))?;
        for protocol in Protocol::ALL {
            let _server = two.at().serve("two", protocol, 80);
            for (from, to) in [("10.90.7.1", "10.90.7.2"), ("fd00:90:7::1", "fd00:90:7::2")] {
                answers(one.at(), protocol, &socket(to, 80), &format!("two sees {from}"), "")?;
            }
        }
        [one, two].into_iter().try_for_each(Connected::remove)?;
        delete_link("dummy7")
    })
}

fn delete_link(name: &str) -> Result<(), String> {
    let delete = link::delete(name).and_then(|delete| Standpoint::Host.socket().request(&[delete]));
    delete.map_err(|e| format!("link {name}: {e}"))
}
