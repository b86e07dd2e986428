//! The bridge and its ports: what each key does.

use pillbox_netlink::link::{self, BridgeOptions, Kind, NewLink, Port};
use pillbox_netlink::{Socket, address, route};
use serde_json::{Value, json};

use crate::host::on_a_host;
use crate::machine::{HOST_4, Machine, OUTSIDE_4};
use crate::plugin::{Container, add, call, check, delete, network, with};
use crate::standpoint::{Standpoint, ip};
use crate::traffic::{Tcp, ask_in_vain};

/// The port that the result names.
fn port_of(result: &Value) -> Port {
    let name = result["interfaces"][1]["name"].as_str().unwrap();
    Standpoint::Host.link(name).port().unwrap().expect("a port")
}

/// IPv4 only, which is enough for most.
fn small(members: Value) -> Value {
    let mut network = network();
    network["ipam"] =
        json!({"type": "host-local", "subnet": "10.77.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]});
    with(&network, members)
}

#[test]
fn without_a_name_it_is_cni0() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let network = small(json!({"bridge": null, "mtu": 1400}));
        let result = add(host, &container, &network);
        assert_eq!(result["interfaces"][0]["name"], "cni0");
        let bridge = Standpoint::Host.link("cni0");
        assert_eq!((bridge.mtu, bridge.is_up(), bridge.is_promiscuous()), (1400, true, false));
        assert_eq!(container.at().link("eth0").mtu, 1400);
        assert_eq!(port_of(&result).hairpin, Some(false));
        assert_eq!(port_of(&result).isolated, Some(false));
        delete(host, &container, &network);
    });
}

#[test]
fn a_bridge_that_is_no_gateway_has_no_address() {
    on_a_host(|host| {
        host.set("net/ipv4/ip_forward", "0");
        let container = Container::new("c1");
        // The gateway is another machine on the bridge.
        let network = small(json!({"isGateway": false, "ipMasq": false}));
        let result = add(host, &container, &network);
        assert_eq!(Standpoint::Host.addresses("test0"), [""; 0]);
        assert_eq!(result["ips"][0]["gateway"], "10.77.0.1");
        assert_eq!(host.setting("net/ipv4/ip_forward"), "0");
        let routes = route::list(&mut container.at().socket()).unwrap();
        assert!(routes.iter().any(|route| route.gateway == Some(ip("10.77.0.1"))));
        check(host, &container, &network, &result).ok();
        assert_eq!(host.net(&["check"]), "");
        delete(host, &container, &network);
        let now_it_is = small(json!({}));
        let (code, text) = call(host, "ADD", Some(&container), &now_it_is).refused();
        assert_eq!(code, 7);
        assert!(text.starts_with("network testnet: masquerade is false, not true: "), "{text}");
        host.net(&["rm", "testnet"]);
        add(host, &container, &now_it_is);
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.77.0.1/24"]);
        assert_eq!(host.setting("net/ipv4/ip_forward"), "1");
        delete(host, &container, &now_it_is);
    });
}

#[test]
fn a_default_gateway_adds_routes() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let mut network = with(&network(), json!({"isGateway": false, "isDefaultGateway": true}));
        network["ipam"].as_object_mut().unwrap().remove("routes");
        let result = add(host, &container, &network);
        assert_eq!(
            result["routes"],
            json!([{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}, {"dst": "::/0", "gw": "fd77::1"}])
        );
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.77.0.1/24", "fd77::1/64"]);
        check(host, &container, &network, &result).ok();
        delete(host, &container, &network);
        // One that is there already leads there.
        network["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.128/25"}]);
        let result = add(host, &container, &network);
        let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}, {"dst": "192.0.2.128/25"}, {"dst": "::/0", "gw": "fd77::1"}]);
        assert_eq!(result["routes"], routes);
        delete(host, &container, &network);
    });
}

#[test]
fn routes_have_what_their_configuration_says() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let mut network = small(json!({}));
        network["ipam"]["routes"] = json!([
            {"dst": "192.0.2.0/24", "gw": "10.77.0.9", "mtu": 1300, "advmss": 1200, "priority": 7},
            {"dst": "198.51.100.0/24", "table": 1000},
            {"dst": "203.0.113.0/24", "gw": "172.16.0.1"}
        ]);
        let result = add(host, &container, &network);
        assert_eq!(result["routes"], network["ipam"]["routes"]);
        let routes = route::list(&mut container.at().socket()).unwrap();
        let to = |network: &str| routes.iter().find(|route| route.destination.ip == ip(network)).unwrap();
        let first = to("192.0.2.0");
        assert_eq!(
            (first.gateway, first.priority, first.metrics.mtu, first.metrics.segment),
            (Some(ip("10.77.0.9")), Some(7), Some(1300), Some(1200))
        );
        assert_eq!((to("198.51.100.0").table, to("198.51.100.0").gateway), (1000, Some(ip("10.77.0.1"))));
        assert!(to("203.0.113.0").onlink);
        check(host, &container, &network, &result).ok();
        delete(host, &container, &network);
    });
}

#[test]
fn without_masquerading_the_outside_sees_the_container() {
    on_a_host(|host| {
        let outside = Machine::outside();
        outside.route("10.77.0.0/24", HOST_4);
        let _server = outside.at().serve("outside", Tcp, 81);
        let container = Container::new("c1");
        let network = small(json!({"ipMasq": false}));
        add(host, &container, &network);
        assert_eq!(container.at().ask(Tcp, &format!("{OUTSIDE_4}:81")), "outside sees 10.77.0.2");
        delete(host, &container, &network);
    });
}

#[test]
fn modes_of_the_bridge_and_its_ports() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let network = small(json!({"hairpinMode": true}));
        assert_eq!(port_of(&add(host, &container, &network)).hairpin, Some(true));
        delete(host, &container, &network);
        host.net(&["rm", "testnet"]);
        let network = small(json!({"promiscMode": true}));
        add(host, &container, &network);
        assert!(Standpoint::Host.link("test0").is_promiscuous());
        delete(host, &container, &network);
        let (code, text) = call(host, "ADD", Some(&container), &small(json!({}))).refused();
        assert!(code == 7 && text.starts_with("network testnet: promiscMode is true, not false: "), "{text}");
    });
}

#[test]
fn isolated_ports_reach_the_gateway_alone() {
    on_a_host(|host| {
        let (one, other) = (Container::new("c1"), Container::new("c2"));
        let network = small(json!({"portIsolation": true}));
        let _server = one.at().serve("c1", Tcp, 80);
        let _on_host = Standpoint::Host.serve("host", Tcp, 81);
        assert_eq!(port_of(&add(host, &one, &network)).isolated, Some(true));
        add(host, &other, &network);
        assert!(other.at().ask(Tcp, "10.77.0.1:81").starts_with("host sees "));
        let answer = other.at().ask(Tcp, "10.77.0.2:80");
        assert!(["unreachable", "no answer"].contains(&answer.as_str()), "{answer}");
        delete(host, &one, &network);
        delete(host, &other, &network);
    });
}

#[test]
fn a_container_with_another_hardware_address_is_not_heard() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let network = small(json!({"macspoofchk": true}));
        let _on_host = Standpoint::Host.serve("host", Tcp, 81);
        let result = add(host, &container, &network);
        assert_eq!(port_of(&result).locked, Some(true));
        assert!(container.at().ask(Tcp, "10.77.0.1:81").starts_with("host sees "));
        let own = container.at().link("eth0").address.unwrap();
        let set = |address| {
            let index = container.at().link("eth0").index;
            container.at().socket().request(&[link::set_address(index, address).unwrap()]).unwrap();
        };
        set([2, 0, 0, 0, 0, 9]);
        ask_in_vain(&[(container.at(), "10.77.0.1:81".to_string())]);
        set(own);
        assert!(container.at().ask(Tcp, "10.77.0.1:81").starts_with("host sees "));
        delete(host, &container, &network);
    });
}

#[test]
fn a_link_without_addresses() {
    on_a_host(|host| {
        let container = Container::new("c1");
        for (members, is_up) in [(json!({}), true), (json!({"disableContainerInterface": true}), false)] {
            let network = with(&small(json!({"isGateway": false, "ipMasq": false, "ipam": null})), members);
            let result = add(host, &container, &network);
            assert_eq!((&result["ips"], &result["routes"]), (&json!([]), &json!([])));
            let eth0 = container.at().link("eth0");
            assert_eq!(eth0.is_up(), is_up);
            let mac = eth0.address.unwrap().map(|byte| format!("{byte:02x}")).join(":");
            assert_eq!(result["interfaces"][2]["mac"], json!(mac));
            assert_eq!(Standpoint::Host.addresses("test0"), [""; 0]);
            check(host, &container, &network, &result).ok();
            delete(host, &container, &network);
        }
    });
}

/// A bridge of somebody else's, with that address.
fn bridge(name: &str, own: Option<&str>) {
    let mut socket = Socket::open().unwrap();
    let bridge = NewLink::new(name, Kind::Bridge(BridgeOptions::default()));
    socket.request(&[link::add(&bridge).unwrap()]).unwrap();
    let index = link::index_of(&mut socket, name).unwrap();
    if let Some((ip_text, prefix)) = own.and_then(|own| own.split_once('/')) {
        let own = address::Address { ip: ip(ip_text), prefix: prefix.parse().unwrap() };
        socket.request(&[address::add(index, own).unwrap()]).unwrap();
    }
}

#[test]
fn a_bridge_that_is_there_is_used_and_stays() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        // As one that the reference plugin has made.
        bridge("test0", Some("10.77.0.1/24"));
        let before = Standpoint::Host.link("test0");
        let container = Container::new("c1");
        let result = add(host, &container, &network());
        let mac = before.address.unwrap().map(|byte| format!("{byte:02x}")).join(":");
        assert_eq!(result["interfaces"][0], json!({"name": "test0", "mac": mac}));
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.77.0.1/24", "fd77::1/64"]);
        assert_eq!(container.at().ask(Tcp, &format!("{OUTSIDE_4}:81")), format!("outside sees {HOST_4}"));
        check(host, &container, &network(), &result).ok();
        delete(host, &container, &network());
        host.net(&["rm", "testnet"]);
        assert_eq!(Standpoint::Host.link("test0").index, before.index);
    });
}

#[test]
fn an_address_in_the_way_stays_unless_it_is_forced() {
    on_a_host(|host| {
        bridge("test0", Some("10.99.0.1/24"));
        let container = Container::new("c1");
        let (code, text) = call(host, "ADD", Some(&container), &small(json!({}))).refused();
        let expected = "network testnet: bridge test0 has the address 10.99.0.1/24, not 10.77.0.1/24: remove it, or set forceAddress";
        assert_eq!((code, text.as_str()), (100, expected));
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.99.0.1/24"]);
        let forced = small(json!({"forceAddress": true}));
        add(host, &container, &forced);
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.77.0.1/24"]);
        delete(host, &container, &forced);
    });
}

#[test]
fn what_is_no_bridge_is_named() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let container = Container::new("c1");
        let (code, text) = call(host, "ADD", Some(&container), &small(json!({"bridge": "out0"}))).refused();
        assert_eq!(
            (code, text.as_str()),
            (7, "network testnet: link out0 is no bridge (veth): choose another name for the bridge")
        );
        drop(outside);
    });
}
