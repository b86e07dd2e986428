//! Our bytes against recorded ones: golden/iproute2-6.1.0.hex is what ip(8) sent for the commands that stand
//! in it. Link 4 is a0, link 2 is br0, link 1 is lo.

use std::net::IpAddr;
use std::time::Duration;

use super::address::{self, Address};
use super::link::{self, Bridge, BridgeOptions, IpvlanBetween, IpvlanMode, Kind, MacvlanMode, NewLink};
use super::link::{Peer, Port, Veth, VlanProtocol};
use super::neighbour::{self, Neighbour};
use super::rule::{self, Family, Rule, RuleAction};
use super::{LOCAL_TABLE, Metrics, NextHop, Route, RouteKind};
use crate::message::Message;
use crate::reply::{self, u16_at};

const RECORDED: &str = include_str!("golden/iproute2-6.1.0.hex");

/// A message so that only what it says counts: its type and flags, its fixed part, and its attributes sorted,
/// each with the types of those that it lies in.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    kind: u16,
    flags: u16,
    fixed: Vec<u8>,
    attributes: Vec<(Vec<u16>, Vec<u8>)>,
}

const NEW_LINK: u16 = 16;
const SET_LINK: u16 = 19;

fn plain(message: &[u8]) -> Plain {
    const ACK: u16 = 4;
    let kind = match u16_at(message, 4).unwrap() {
        // ip(8) changes links by RTM_NEWLINK, we by RTM_SETLINK, which never makes one.
        SET_LINK => NEW_LINK,
        kind => kind,
    };
    let fixed = match kind {
        NEW_LINK | 17 => 16,
        20 | 21 => 8,
        _ => 12,
    };
    let (fixed, rest) = message[16..].split_at(fixed);
    let mut attributes = Vec::new();
    flatten(kind, rest, &[], &mut attributes);
    attributes.sort();
    Plain { kind, flags: u16_at(message, 6).unwrap() & !ACK, fixed: fixed.to_vec(), attributes }
}

fn flatten(kind: u16, bytes: &[u8], path: &[u16], into: &mut Vec<(Vec<u16>, Vec<u8>)>) {
    for (number, payload, _) in reply::Positions::new(bytes) {
        let path = [path, &[number]].concat();
        match (kind, &path[..]) {
            // IFLA_LINKINFO, IFLA_INFO_DATA, IFLA_INFO_SLAVE_DATA.
            (NEW_LINK, [18] | [18, 2 | 5]) => flatten(kind, payload, &path, into),
            // VETH_INFO_PEER: an ifinfomsg and attributes.
            (NEW_LINK, [18, 2, 1]) if payload.len() > 16 => flatten(kind, &payload[16..], &path, into),
            // ip(8) sends the kind without its NUL.
            (NEW_LINK, [18, 1]) => into.push((path, payload.strip_suffix(&[0]).unwrap_or(payload).to_vec())),
            _ => into.push((path, payload.to_vec())),
        }
    }
}

/// What was recorded for that command.
fn recorded(command: &str) -> Plain {
    let line = format!("# ip {command}");
    let mut lines = RECORDED.lines().skip_while(|found| *found != line).skip(1);
    let hex = lines.next().unwrap_or_else(|| panic!("{command}: not recorded"));
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    plain(&bytes)
}

fn sent(message: crate::Result<Message<'_>>) -> Plain {
    plain(&message.unwrap().encode(1).unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str, prefix: u8) -> Address {
    Address { ip: ip(text), prefix }
}

#[test]
fn changes_of_links_are_what_ip_sends() {
    for (command, message) in [
        ("link set lo up", link::set_up(1)),
        ("link set dev a0 mtu 1333", link::set_mtu(4, 1333)),
        ("link set dev a0 address 02:00:00:00:00:11", link::set_address(4, [2, 0, 0, 0, 0, 0x11])),
        ("link set dev a0 promisc on", link::set_promiscuous(4, true)),
        ("link set dev a0 down", link::set_down(4)),
        ("link set dev a0 master br0", link::set_master(4, 2)),
        ("link set dev a0 nomaster", link::clear_master(4)),
        ("link del a0", link::delete(4)),
    ] {
        assert_eq!(sent(message), recorded(command), "{command}");
    }
}

#[test]
fn new_links_are_what_ip_sends() {
    let parent = 4;
    let vlan = Kind::Vlan { parent, id: 4094, protocol: VlanProtocol::Ad };
    let macvlan = Kind::Macvlan { parent, mode: MacvlanMode::Private };
    let ipvlan = Kind::Ipvlan { parent, mode: IpvlanMode::L3, between: IpvlanBetween::Private };
    let peer = Peer { name: "d0", index: None, address: Some([2, 0, 0, 0, 0, 7]), namespace: None };
    let veth = Veth { mtu: Some(1300), ..Veth::new("c0", peer) };
    for (command, message) in [
        (
            "link add link a0 name up0 up type vlan protocol 802.1ad id 4094",
            link::add(&NewLink::new("up0", vlan)),
        ),
        ("link add link a0 name up0 up type macvlan mode private", link::add(&NewLink::new("up0", macvlan))),
        ("link add link a0 name up0 up type ipvlan mode l3 private", link::add(&NewLink::new("up0", ipvlan))),
        ("link add name dummy0 up type dummy", link::add(&NewLink::new("dummy0", Kind::Dummy))),
        (
            "link add name c0 up mtu 1300 type veth peer name d0 mtu 1300 address 02:00:00:00:00:07",
            link::add_veth(&veth),
        ),
    ] {
        assert_eq!(sent(message), recorded(command), "{command}");
    }
}

#[test]
fn bridges_and_ports_are_what_ip_sends() {
    let options = BridgeOptions {
        forward_delay: Some(Duration::from_secs(4)),
        ageing_time: Some(Duration::from_secs(90)),
        spanning_tree: Some(false),
        priority: Some(24576),
        vlan_filtering: Some(true),
        default_vlan: Some(7),
        group_forward_mask: Some(8),
        multicast_snooping: Some(false),
        call_iptables: Some(true),
        ..BridgeOptions::default()
    };
    let bridge =
        Bridge { name: "br1", index: None, address: Some([2, 0, 0, 0, 0, 9]), mtu: Some(1400), options };
    let command = "link add name br1 address 02:00:00:00:00:09 mtu 1400 up type bridge forward_delay 400 \
                   ageing_time 9000 stp_state 0 priority 24576 vlan_filtering 1 vlan_default_pvid 7 \
                   group_fwd_mask 8 mcast_snooping 0 nf_call_iptables 1";
    assert_eq!(sent(link::add_bridge(&bridge)), recorded(command));

    let (on, off) = (Some(true), Some(false));
    let port = Port {
        hairpin: on,
        isolated: on,
        locked: None,
        learning: off,
        unicast_flood: off,
        multicast_flood: off,
        broadcast_flood: on,
        guard: on,
        root_block: on,
        fast_leave: on,
        proxy_arp: on,
        neighbour_suppression: on,
        priority: Some(9),
        cost: Some(77),
    };
    let command = "link set dev a0 type bridge_slave hairpin on isolated on learning off flood off \
                   mcast_flood off bcast_flood on guard on root_block on fastleave on proxy_arp on \
                   neigh_suppress on priority 9 cost 77";
    let mut expected = recorded(command);
    // ip(8) says that it is a bridge's port, too, which the kernel knows.
    expected.attributes.retain(|(path, _)| path[..] != [18, 1]);
    assert_eq!(sent(link::set_port(4, &port)), expected);
}

#[test]
fn addresses_and_neighbours_are_what_ip_sends() {
    let neighbour = Neighbour::permanent(4, ip("192.0.2.7"), [2, 0, 0, 0, 0, 1]);
    for (command, message) in [
        ("address add 10.88.0.1/16 brd + dev lo", address::add(1, at("10.88.0.1", 16))),
        ("address del 10.88.0.1/16 dev lo", address::delete(1, at("10.88.0.1", 16))),
    ] {
        assert_eq!(sent(message), recorded(command), "{command}");
    }
    let mut expected = recorded("neigh add 192.0.2.7 lladdr 02:00:00:00:00:01 dev a0 nud permanent");
    // a0 was made again by then.
    expected.fixed[4] = 4;
    assert_eq!(sent(neighbour::add(&neighbour)), expected);
}

#[test]
fn routes_and_rules_are_what_ip_sends() {
    let metrics = Metrics { mtu: Some(1400), window: Some(65_000), segment: Some(1300), hop_limit: Some(9) };
    let on_link = Route {
        gateway: Some(ip("203.0.113.9")),
        index: Some(1),
        onlink: true,
        priority: Some(700),
        source: Some(ip("127.0.0.1")),
        metrics,
        protocol: 3,
        ..Route::to(at("10.9.0.0", 16))
    };
    let hop = |gateway, weight| NextHop { gateway: Some(ip(gateway)), index: 10, weight, onlink: false };
    let several =
        Route { hops: vec![hop("192.0.2.2", 1), hop("192.0.2.3", 256)], ..Route::to(at("10.77.0.0", 16)) };
    let blackhole =
        Route { kind: RouteKind::Blackhole, table: 4000, protocol: 99, ..Route::to(at("10.66.0.0", 16)) };
    let local = Route {
        kind: RouteKind::Local,
        index: Some(2),
        table: LOCAL_TABLE,
        priority: Some(2048),
        protocol: 3,
        ..Route::to(at("::1", 128))
    };
    for (command, route) in [
        (
            "route add 10.9.0.0/16 via 203.0.113.9 dev lo onlink metric 700 src 127.0.0.1 mtu 1400 window 65000 \
             advmss 1300 hoplimit 9",
            on_link,
        ),
        (
            "route add 10.77.0.0/16 proto static nexthop via 192.0.2.2 dev a0 weight 1 nexthop via 192.0.2.3 dev \
             a0 weight 256",
            several,
        ),
        ("route add blackhole 10.66.0.0/16 table 4000 proto 99", blackhole),
        ("-6 route add local ::1 dev br0 table local metric 2048", local),
    ] {
        assert_eq!(sent(super::add(&route)), recorded(command), "{command}");
    }
    let rule = Rule {
        priority: Some(100),
        source: Some(at("10.0.0.0", 8)),
        incoming: Some("a0".to_string()),
        mark: Some((0x10, 0xf0)),
        suppressed_prefix: Some(0),
        ..Rule::new(Family::V4, RuleAction::Table(4000))
    };
    let command =
        "rule add from 10.0.0.0/8 iif a0 fwmark 0x10/0xf0 table 4000 priority 100 suppress_prefixlength 0";
    let mut expected = recorded(command);
    // FRA_PROTOCOL: who made it.
    expected.attributes.push((vec![21], vec![4]));
    assert_eq!(sent(rule::add(&rule)), expected);
}
