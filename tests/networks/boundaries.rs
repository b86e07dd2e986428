//! Who reaches whom, and who does not.

use std::net::{IpAddr, UdpSocket};

use pillbox_netlink::address::Address;
use pillbox_netlink::nft::{self, Batch, Family, Table};
use pillbox_netlink::route::{self, LOCAL_TABLE, Route};
use serde_json::{Value, json};

use crate::connected::{Connected, bridged, socket};
use crate::harness::wait_for;
use crate::host::{Host, on_a_host};
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::standpoint::{Standpoint, ip};
use crate::traffic::{Protocol, Server, Tcp, Udp, ask_in_vain};

/// The subnets of the bridge with that number.
fn subnets(number: u8) -> [String; 2] {
    [format!("10.90.{number}.0/24"), format!("fd00:90:{number}::/64")]
}

/// A container on the bridge with that number, with servers at port 80.
fn on_bridge<'h>(host: &'h Host, number: u8, settings: &Value) -> (Connected<'h>, Vec<Server>) {
    let mut model =
        json!({"type": "bridge", "bridge_name": format!("br{number}"), "subnets": subnets(number)});
    model.as_object_mut().expect("a model").extend(settings.as_object().expect("settings").clone());
    let container = Connected::started(host, &json!({"model": model, "interfaces": [{}]}));
    let name = container.address(true);
    let servers = Protocol::ALL.map(|protocol| container.at().serve(&name, protocol, 80));
    (container, servers.into())
}

/// Where its servers are reached directly.
fn servers_of(container: &Connected<'_>) -> [String; 2] {
    [true, false].map(|is_v4| socket(&container.address(is_v4), 80))
}

/// Asserts that one reaches the other directly, which sees its own address.
#[track_caller]
fn assert_reaches(from: &Connected<'_>, to: &Connected<'_>, how: &str) {
    for protocol in Protocol::ALL {
        for is_v4 in [true, false] {
            let said = from.at().ask(protocol, &socket(&to.address(is_v4), 80));
            let expected = format!("{} sees {}", to.address(true), from.address(is_v4));
            assert_eq!(said, expected, "{protocol:?} {how}");
        }
    }
}

/// Asserts that none of them reaches another.
#[track_caller]
fn assert_apart(containers: &[&Connected<'_>]) {
    let mut questions = Vec::new();
    for (position, from) in containers.iter().enumerate() {
        let others = containers.iter().enumerate().filter(|(other, _)| *other != position);
        let others = others.flat_map(|(_, to)| servers_of(to));
        questions.extend(others.map(|to| (from.at(), to)));
    }
    ask_in_vain(&questions);
}

/// Asserts that a server has answered nobody but those.
#[track_caller]
fn assert_heard_only(servers: &[Server], clients: &[&str]) {
    let clients: Vec<IpAddr> = clients.iter().map(|client| ip(client)).collect();
    for heard in servers.iter().map(Server::heard) {
        assert!(heard.iter().all(|client| clients.contains(client)), "{heard:?}, not only {clients:?}");
    }
}

#[test]
fn containers_on_one_bridge_reach_each_other_directly() {
    on_a_host(|host| {
        let (one, servers_of_one) = on_bridge(host, 1, &json!({}));
        let (two, servers_of_two) = on_bridge(host, 1, &json!({}));
        host.with_and_without_bridge_netfilter(|how| {
            assert_reaches(&one, &two, how);
            assert_reaches(&two, &one, how);
        });
        drop((servers_of_one, servers_of_two));
        [one, two].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn containers_on_two_bridges_do_not_reach_each_other() {
    on_a_host(|host| {
        let (one, servers_of_one) = on_bridge(host, 1, &json!({}));
        let (two, servers_of_two) = on_bridge(host, 2, &json!({}));
        // One side alone does not open the way.
        let (open, servers_of_open) = on_bridge(host, 3, &json!({"isolated": false}));
        host.with_and_without_bridge_netfilter(|_| assert_apart(&[&one, &two, &open]));
        for servers in [servers_of_one, servers_of_two, servers_of_open] {
            assert_heard_only(&servers, &[]);
        }
        [one, two, open].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn bridges_that_are_not_isolated_reach_each_other() {
    on_a_host(|host| {
        let (one, servers_of_one) = on_bridge(host, 1, &json!({"isolated": false}));
        let (two, servers_of_two) = on_bridge(host, 2, &json!({"isolated": false}));
        host.with_and_without_bridge_netfilter(|how| {
            assert_reaches(&one, &two, how);
            assert_reaches(&two, &one, how);
        });
        drop((servers_of_one, servers_of_two));
        [one, two].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn an_internal_network_has_no_way_out_and_no_way_in() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _outside = [Tcp, Udp].map(|protocol| outside.at().serve("outside", protocol, 81));
        let (inner, servers_of_inner) = on_bridge(host, 1, &json!({"internal": true}));
        let (mate, servers_of_mate) = on_bridge(host, 1, &json!({"internal": true}));
        let (other, servers_of_other) = on_bridge(host, 2, &json!({"isolated": false}));
        for to in [OUTSIDE_4, OUTSIDE_6] {
            assert_eq!(inner.at().ask(Tcp, &socket(to, 81)), "unreachable");
        }
        // Not even with routes that somebody adds.
        for (subnet, gateway) in
            subnets(1).iter().zip([HOST_4, HOST_6]).chain(subnets(2).iter().zip([HOST_4, HOST_6]))
        {
            outside.route(subnet, gateway);
        }
        for gateway in ["10.90.1.1", "fd00:90:1::1"] {
            let default = route::add(&Route::default_via(ip(gateway))).expect("route");
            inner.at().socket().request(&[default]).expect("route");
        }
        host.with_and_without_bridge_netfilter(|how| {
            let mut questions = vec![
                (inner.at(), socket(OUTSIDE_4, 81)),
                (inner.at(), socket(OUTSIDE_6, 81)),
                (inner.at(), socket(&other.address(true), 80)),
                (inner.at(), socket(&other.address(false), 80)),
            ];
            questions.extend(servers_of(&inner).map(|to| (outside.at(), to)));
            questions.extend(servers_of(&inner).map(|to| (other.at(), to)));
            ask_in_vain(&questions);
            assert_reaches(&mate, &inner, how);
        });
        assert_heard_only(&servers_of_inner, &[&mate.address(true), &mate.address(false)]);
        assert_heard_only(&servers_of_other, &[]);
        drop((servers_of_inner, servers_of_mate, servers_of_other));
        [inner, mate, other].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn a_neighbour_with_a_route_to_the_subnet_does_not_get_in() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let (container, servers) = on_bridge(host, 1, &json!({}));
        for (subnet, gateway) in subnets(1).iter().zip([HOST_4, HOST_6]) {
            outside.route(subnet, gateway);
        }
        let questions: Vec<_> = servers_of(&container).map(|to| (outside.at(), to)).into();
        host.with_and_without_bridge_netfilter(|_| ask_in_vain(&questions));
        assert_heard_only(&servers, &[]);
        drop(servers);
        container.remove();
    });
}

/// Sends what is for the loopback to the host, which stands at `gateway`.
fn lead_loopback_to_host(container: &Connected<'_>, loopback: &str, gateway: &str) {
    let loopback = Address { ip: ip(loopback), prefix: if ip(loopback).is_ipv4() { 32 } else { 128 } };
    let mut socket = container.at().socket();
    let is_loopback = |route: &Route| {
        let own = if loopback.ip.is_ipv4() {
            route.destination.ip.is_loopback()
        } else {
            route.destination == loopback
        };
        route.table == LOCAL_TABLE && own
    };
    for own in route::list(&mut socket).expect("routes").iter().filter(|route| is_loopback(route)) {
        socket.request(&[route::delete(own).expect("route")]).expect("route");
    }
    let route = Route { gateway: Some(ip(gateway)), ..Route::to(loopback) };
    socket.request(&[route::add(&route).expect("route")]).expect("route");
}

/// Sends a datagram from the container's own address to the host's loopback, and another one behind it to where the
/// host answers.
fn send_to_loopback(container: &Connected<'_>, loopback: &str, gateway: &str) {
    let source = socket(&container.address(ip(loopback).is_ipv4()), 0);
    let to = socket(loopback, 7000);
    container.at().run(move || {
        let client = UdpSocket::bind(source).expect("a socket");
        client.send_to(b"frame", to).expect("a datagram");
    });
    assert!(container.at().ask(Udp, &socket(gateway, 7001)).starts_with("host sees "));
}

#[test]
fn frames_for_the_hosts_loopback_do_not_get_there() {
    on_a_host(|host| {
        let container = Connected::started(host, &bridged(&["127.0.0.1:8080:80", "[::1]:8080:80"]));
        let here = Standpoint::Host;
        let _answering = here.serve("host", Udp, 7001);
        let gateways = here.addresses("pillbox0");
        let ways: Vec<_> = ["127.0.0.1", "::1"]
            .into_iter()
            .zip(gateways.iter().filter_map(|gateway| gateway.split('/').next()))
            .map(|(loopback, gateway)| {
                lead_loopback_to_host(&container, loopback, gateway);
                let own = container.address(ip(loopback).is_ipv4());
                (loopback, gateway, own, here.serve_at("host", Udp, &socket(loopback, 7000)))
            })
            .collect();
        host.with_and_without_bridge_netfilter(|how| {
            for (loopback, gateway, _, server) in &ways {
                send_to_loopback(&container, loopback, gateway);
                assert_eq!(server.heard(), [] as [IpAddr; 0], "{loopback} {how}");
            }
        });

        // It is the guard that keeps them out: without it they get there.
        let mut batch = Batch::new();
        batch.flush_chain(&Table::new(Family::Inet, "pillbox"), "raw").expect("batch");
        nft::Socket::open().and_then(|mut socket| socket.commit(&batch)).expect("nf_tables");
        host.with_and_without_bridge_netfilter(|how| {
            for (loopback, gateway, own, server) in &ways {
                let before = server.heard().len();
                send_to_loopback(&container, loopback, gateway);
                let heard =
                    wait_for(&format!("a frame to {loopback} {how}"), || server.heard().get(before).copied());
                assert_eq!(heard, ip(own));
            }
        });
        drop(ways);
        container.remove();
    });
}
