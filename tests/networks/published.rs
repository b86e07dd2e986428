//! Published ports, from everywhere.

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Bridge, BridgeOptions};
use pillbox_netlink::route;
use serde_json::json;

use crate::connected::{Connected, bridged, socket};
use crate::harness::wait_for;
use crate::host::{Host, on_a_host};
use crate::inventory::Inventory;
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::standpoint::Standpoint;
use crate::traffic::{Protocol, Server, Tcp, Udp};

/// The same port of each protocol.
const ALL: [&str; 3] = ["8080:80", "8080:80/udp", "8080:80/sctp"];

/// A container called `name` with servers at port 80.
fn serving<'h>(host: &'h Host, name: &str, ports: &[&str]) -> (Connected<'h>, Vec<Server>) {
    let container = Connected::started(host, &bridged(ports));
    let servers = Protocol::ALL.map(|protocol| container.at().serve(name, protocol, 80));
    (container, servers.into())
}

/// The addresses of the container's bridge.
fn gateways() -> [String; 2] {
    let addresses = Standpoint::Host.addresses("pillbox0");
    let ip = |is_v4: bool| {
        let address = addresses.iter().find(|address| address.contains(':') != is_v4);
        address.and_then(|address| address.split('/').next()).expect("an address").to_string()
    };
    [ip(true), ip(false)]
}

#[test]
fn the_container_sees_the_outsides_own_address() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let (container, servers) = serving(host, "web", &ALL);
        host.with_and_without_bridge_netfilter(|how| {
            for protocol in Protocol::ALL {
                for (to, seen) in [(HOST_4, OUTSIDE_4), (HOST_6, OUTSIDE_6)] {
                    let said = outside.at().ask(protocol, &socket(to, 8080));
                    assert_eq!(said, format!("web sees {seen}"), "{protocol:?} {how}");
                }
            }
        });
        drop(servers);
        container.remove();
    });
}

#[test]
fn the_host_reaches_ports_on_its_loopback_and_on_its_own_addresses() {
    on_a_host(|host| {
        let _outside = Machine::outside();
        let (container, servers) = serving(host, "web", &ALL);
        let [gateway_4, gateway_6] = gateways();
        let (gateway_4, gateway_6) = (gateway_4.as_str(), gateway_6.as_str());
        host.with_and_without_bridge_netfilter(|how| {
            for protocol in Protocol::ALL {
                for (to, seen) in [
                    ("127.0.0.1", gateway_4),
                    ("127.8.8.8", gateway_4),
                    ("::1", gateway_6),
                    (HOST_4, HOST_4),
                    (HOST_6, HOST_6),
                    (gateway_4, gateway_4),
                    (gateway_6, gateway_6),
                ] {
                    let said = Standpoint::Host.ask(protocol, &socket(to, 8080));
                    assert_eq!(said, format!("web sees {seen}"), "{protocol:?} {to} {how}");
                }
            }
        });
        drop(servers);
        container.remove();
    });
}

#[test]
fn a_container_reaches_its_own_port_and_those_of_others() {
    on_a_host(|host| {
        let _outside = Machine::outside();
        let (web, servers) = serving(host, "web", &ALL);
        let other = Connected::started(host, &bridged(&[]));
        let far = json!({"model": {"type": "bridge", "bridge_name": "far0"}, "interfaces": [{}]});
        let far = Connected::started(host, &far);
        let [gateway_4, gateway_6] = gateways();
        host.with_and_without_bridge_netfilter(|how| {
            for (client, from) in [("itself", &web), ("a neighbour", &other), ("another bridge", &far)] {
                for protocol in Protocol::ALL {
                    for (to, seen) in [(HOST_4, &gateway_4), (HOST_6, &gateway_6)] {
                        let said = from.at().ask(protocol, &socket(to, 8080));
                        assert_eq!(said, format!("web sees {seen}"), "{protocol:?} {to} from {client} {how}");
                    }
                }
            }
        });
        drop(servers);
        [web, other, far].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn a_port_of_one_address_is_no_port_of_others() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let ports =
            [format!("{HOST_4}:8080:80"), format!("[{HOST_6}]:8081:80/udp"), "127.0.0.1:8082:80".to_string()];
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let (container, servers) = serving(host, "web", &ports);
        let here = Standpoint::Host;
        let [gateway_4, _] = gateways();
        for (from, protocol, to, port, expected) in [
            (outside.at(), Tcp, HOST_4, 8080, format!("web sees {OUTSIDE_4}")),
            (outside.at(), Tcp, HOST_6, 8080, "refused".to_string()),
            (here, Tcp, "127.0.0.1", 8080, "refused".to_string()),
            (here, Tcp, HOST_4, 8080, format!("web sees {HOST_4}")),
            (outside.at(), Udp, HOST_6, 8081, format!("web sees {OUTSIDE_6}")),
            (outside.at(), Udp, HOST_4, 8081, "refused".to_string()),
            (outside.at(), Tcp, HOST_6, 8081, "refused".to_string()),
            (here, Tcp, "127.0.0.1", 8082, format!("web sees {gateway_4}")),
            (here, Tcp, "::1", 8082, "refused".to_string()),
            (here, Tcp, HOST_4, 8082, "refused".to_string()),
            (outside.at(), Tcp, HOST_4, 8082, "refused".to_string()),
        ] {
            assert_eq!(from.ask(protocol, &socket(to, port)), expected, "{protocol:?} {to} {port}");
        }
        drop(servers);
        container.remove();
    });
}

#[test]
fn of_two_containers_each_has_its_port_of_its_address() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let (one, servers_of_one) = serving(host, "one", &[&format!("{HOST_4}:8080:80")]);
        let (two, servers_of_two) = serving(host, "two", &["127.0.0.1:8080:80", "[::1]:8080:80"]);
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("one sees {OUTSIDE_4}"));
        let [gateway_4, gateway_6] = gateways();
        for (to, seen) in [("127.0.0.1", gateway_4), ("::1", gateway_6)] {
            assert_eq!(Standpoint::Host.ask(Tcp, &socket(to, 8080)), format!("two sees {seen}"));
        }
        drop((servers_of_one, servers_of_two));
        [one, two].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn each_port_of_a_range_leads_to_its_own() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let container = Connected::started(host, &bridged(&["8000-8002:90-92", "8000-8001:90-91/udp"]));
        for (protocol, port, inside) in
            [(Tcp, 8000, 90), (Tcp, 8001, 91), (Tcp, 8002, 92), (Udp, 8000, 90), (Udp, 8001, 91)]
        {
            let _server = container.at().serve(&format!("port {inside}"), protocol, inside);
            let said = outside.at().ask(protocol, &socket(HOST_4, port));
            assert_eq!(said, format!("port {inside} sees {OUTSIDE_4}"));
        }
        for (protocol, port) in [(Tcp, 7999), (Tcp, 8003), (Udp, 8002)] {
            assert_eq!(outside.at().ask(protocol, &socket(HOST_4, port)), "refused", "{port}");
        }
        container.remove();
    });
}

#[test]
fn a_free_port_is_chosen_where_none_is_said() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let (container, servers) = serving(host, "web", &["80", "127.0.0.1::80", "80/udp"]);
        let network = container.network();
        let ports = network[0]["ports"].as_array().expect("ports");
        // `49153/tcp -> 80`, `127.0.0.1:49154/tcp -> 80`.
        let chosen: Vec<u16> = ports
            .iter()
            .map(|port| {
                let (outside, inside) =
                    port.as_str().and_then(|port| port.split_once(" -> ")).expect("a port");
                assert_eq!(inside, "80");
                let number = outside.split('/').next().and_then(|port| port.rsplit(':').next());
                number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{network}"))
            })
            .collect();
        let [tcp, loopback, udp] = chosen[..] else { panic!("{network}") };
        assert_ne!(tcp, loopback);
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, tcp)), format!("web sees {OUTSIDE_4}"));
        assert_eq!(outside.at().ask(Udp, &socket(HOST_6, udp)), format!("web sees {OUTSIDE_6}"));
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, loopback)), "refused");
        let [gateway, _] = gateways();
        assert_eq!(Standpoint::Host.ask(Tcp, &socket("127.0.0.1", loopback)), format!("web sees {gateway}"));
        drop(servers);
        container.remove();
    });
}

#[test]
fn a_port_is_refused_again_when_its_container_is_deleted() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let (container, servers) = serving(host, "web", &ALL);
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
        drop(servers);
        container.remove();
        for to in [HOST_4, HOST_6] {
            for protocol in [Tcp, Udp] {
                assert_eq!(outside.at().ask(protocol, &socket(to, 8080)), "refused", "{protocol:?} {to}");
            }
        }
        for to in ["127.0.0.1", "::1"] {
            assert_eq!(Standpoint::Host.ask(Tcp, &socket(to, 8080)), "refused", "{to}");
        }
        // And it can be had again.
        let (container, servers) = serving(host, "next", &ALL);
        for protocol in Protocol::ALL {
            assert_eq!(outside.at().ask(protocol, &socket(HOST_4, 8080)), format!("next sees {OUTSIDE_4}"));
        }
        drop(servers);
        container.remove();
    });
}

#[test]
fn a_program_in_the_container_is_reached_at_its_port() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let mut container = Connected::new(host, &bridged(&["8080:8000"]));
        let script = "while :; do echo hello | nc -l -p 8000 >/dev/null; done";
        container.spec()["process"]["args"] = json!(["/bin/sh", "-c", script]);
        container.create_and_start();
        for to in [HOST_4, HOST_6] {
            // Between two clients nobody listens for a moment.
            let to = socket(to, 8080);
            wait_for("hello", || (outside.at().ask(Tcp, &to) == "hello\n").then_some(()));
        }
        container.remove();
    });
}

#[test]
fn each_of_two_bridges_has_ports_on_the_loopback() {
    on_a_host(|host| {
        let on = |bridge: &str, port: &str| {
            let model = json!({"type": "bridge", "bridge_name": bridge});
            let netconf = json!({"model": model, "interfaces": [{"ports": [port]}]});
            let container = Connected::started(host, &netconf);
            let server = container.at().serve(bridge, Tcp, 80);
            (container, server)
        };
        let (one, server_of_one) = on("br1", "8081:80");
        let (two, server_of_two) = on("br2", "8082:80");
        let reaches = |bridge: &str, port: u16| {
            for to in ["127.0.0.1", "::1"] {
                let said = Standpoint::Host.ask(Tcp, &socket(to, port));
                assert!(said.starts_with(&format!("{bridge} sees ")), "{to} {port}: {said}");
            }
        };
        host.with_and_without_bridge_netfilter(|_| {
            reaches("br1", 8081);
            reaches("br2", 8082);
        });
        drop(server_of_two);
        two.remove();
        assert_eq!(host.net(&["rm", "br2"]), "");
        reaches("br1", 8081);
        drop(server_of_one);
        one.remove();
    });
}

#[test]
fn ports_lead_into_a_bridge_of_somebody_else() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let options = BridgeOptions::default();
        let bridge = Bridge { name: "theirs0", index: Some(40), address: None, mtu: None, options };
        let mut messages = vec![link::add_bridge(&bridge).expect("bridge")];
        for (ip, prefix) in [("10.90.0.1", 24), ("fd00:90::1", 64)] {
            let ip = crate::standpoint::ip(ip);
            messages.push(address::add(40, Address { ip, prefix }).expect("address"));
        }
        Standpoint::Host.socket().request(&messages).expect("bridge");
        let before = Inventory::take();
        let routes_of_loopback = || {
            let routes = route::list(&mut Standpoint::Host.socket()).expect("routes");
            routes.into_iter().filter(|route| route.destination.ip.is_loopback()).collect::<Vec<_>>()
        };
        let routes = routes_of_loopback();
        let setting = "net/ipv4/conf/theirs0/route_localnet";
        assert_eq!(host.setting(setting), "0");
        let netconf = json!({
            "model": {"type": "bridge", "bridge_name": "theirs0"}, "interfaces": [{"ports": ALL}]
        });
        let container = Connected::started(host, &netconf);
        let servers = Protocol::ALL.map(|protocol| container.at().serve("web", protocol, 80));
        host.with_and_without_bridge_netfilter(|how| {
            for protocol in Protocol::ALL {
                for (from, to, seen) in [
                    (outside.at(), HOST_4, OUTSIDE_4),
                    (outside.at(), HOST_6, OUTSIDE_6),
                    (Standpoint::Host, "127.0.0.1", "10.90.0.1"),
                    (Standpoint::Host, "::1", "fd00:90::1"),
                ] {
                    let said = from.ask(protocol, &socket(to, 8080));
                    assert_eq!(said, format!("web sees {seen}"), "{protocol:?} {to} {how}");
                }
            }
        });
        drop(servers);
        container.remove();
        // Nor does it go with the network.
        assert_eq!(host.net(&["rm", "theirs0"]), "");
        before.is_back();
        assert_eq!(Standpoint::Host.addresses("theirs0"), ["10.90.0.1/24", "fd00:90::1/64"]);
        assert_eq!(routes_of_loopback(), routes);
        assert_eq!(host.setting(setting), "0");
    });
}
