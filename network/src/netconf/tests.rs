use super::*;

fn parse(text: &str) -> Netconf {
    Netconf::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    Netconf::parse(text.as_bytes()).expect_err(text).to_string()
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).expect("an address")
}

/// The file that box has in its documentation.
const OF_BOX: &str = r#"{
  "loopback_name": "lo",
  "model": {"type": "bridge", "bridge_name": "docker0"},
  "interfaces": [{
    "type": "veth", "name": "eth1", "peer_name": "eth2", "ip": "0.0.0.0/0", "peer_ip": "172.17.0.6/28",
    "routes": [{"subnet": "0.0.0.0/0", "gateway": "172.17.0.1"}]
  }],
  "dns": {"nameservers": ["8.8.8.8"], "domain": "box", "search": ["box", "box.local"]}
}"#;

#[test]
fn the_file_of_box_is_read_as_box_reads_it() {
    let netconf = parse(OF_BOX);
    let [request] = netconf.requests.as_slice() else { panic!("{netconf:?}") };
    let gateway = Ip("172.17.0.1".parse().unwrap());
    let range = Range { subnet: cidr("172.17.0.0/28"), gateway: Some(gateway), first: None, last: None };
    assert_eq!((request.network.name.as_str(), request.network.kind), ("docker0", NetworkKind::Bridge));
    // If there is no docker0 it is made so that the container reaches its gateway.
    assert_eq!(request.network.suggested, [range]);
    assert!(request.network.ranges.is_empty() && request.host_addresses.is_empty());
    assert_eq!((request.name.as_str(), request.host_name.as_deref()), ("eth2", Some("eth1")));
    assert_eq!(request.addresses, [Wanted { ip: "172.17.0.6".parse().unwrap(), prefix: Some(28) }]);
    assert_eq!(request.routes.as_deref(), Some(&[Route::new(cidr("0.0.0.0/0"), Some(gateway))][..]));
    let resolver = netconf.resolver.expect("dns");
    assert_eq!(resolver.text("dns").unwrap(), "nameserver 8.8.8.8\ndomain box\nsearch box box.local\n");
}

#[test]
fn without_a_model_each_interface_is_a_plain_pair() {
    let netconf = parse(
        r#"{"interfaces": [{"name": "a0", "ip": "10.0.0.1/30", "peer_ip": "10.0.0.2/30"}, {"peer_name": "x"}]}"#,
    );
    let [first, second] = netconf.requests.as_slice() else { panic!("{netconf:?}") };
    assert_eq!(first.network.kind, NetworkKind::Pair);
    assert_eq!((first.name.as_str(), first.host_addresses.as_slice()), ("eth0", &[cidr("10.0.0.1/30")][..]));
    assert_eq!((second.name.as_str(), second.host_name.as_deref()), ("x", None));
}

#[test]
fn the_shortest_file_that_gives_a_network_leaves_everything_to_be_chosen() {
    let netconf =
        parse(r#"{"model": {"type": "bridge"}, "interfaces": [{"ports": ["8080:80", "53:53/udp"]}]}"#);
    let [request] = netconf.requests.as_slice() else { panic!("{netconf:?}") };
    assert_eq!((request.network.name.as_str(), request.name.as_str()), (DEFAULT_BRIDGE, "eth0"));
    assert!(request.addresses.is_empty() && request.routes.is_none() && request.network.suggested.is_empty());
    assert_eq!(request.ports.len(), 2);
    assert_eq!(parse("{}"), Netconf::default());
}

#[test]
fn links_over_others_need_one() {
    let netconf = parse(
        r#"{"model": {"type": "macvlan", "parent": "eth9", "mode": "private"}, "interfaces": [{"peer_ip": "10.0.0.2/24"}]}"#,
    );
    assert_eq!(netconf.requests[0].network.name, "macvlan-eth9");
    assert!(refused(r#"{"model": {"type": "ipvlan"}}"#).starts_with("model.parent: missing"));
    assert_eq!(
        refused(r#"{"model": {"type": "ipvlan", "parent": "e", "bridge_name": "b"}}"#),
        "model.bridge_name: not with the type ipvlan"
    );
}

#[test]
fn what_cannot_be_is_refused_by_its_field() {
    for (text, expected) in [
        (r#"{"modell": {}}"#, "modell: unknown"),
        (r#"{"interfaces": [{"peer_ip": "10.0.0.2/24", "porst": []}]}"#, "interfaces[0].porst: unknown"),
        (r#"{"loopback_name": "lo0"}"#, "loopback_name: \"lo0\": the kernel calls it lo"),
        (
            r#"{"model": {"type": "vxlan"}}"#,
            "model.type: \"vxlan\": must be bridge, macvlan, ipvlan or pasta; plain pairs have no model",
        ),
        (r#"{"model": {"bridge_name": "b"}}"#, "model.type: missing"),
        (
            r#"{"interfaces": [{"peer_ip": "10.0.0.2"}]}"#,
            "interfaces[0].peer_ip: \"10.0.0.2\" is not an IP address with the length of its prefix, as 10.88.0.5/16",
        ),
        (r#"{"interfaces": [{"type": "tun"}]}"#, "interfaces[0].type: \"tun\": must be veth"),
        (
            r#"{"interfaces": [{"peer_name": "a b"}]}"#,
            "interfaces[0].peer_name: \"a b\" cannot be a link's name: it must have no slash, colon or white space, nor be . or ..",
        ),
        (
            r#"{"interfaces": [{"mac": "01:00:00:00:00:01"}]}"#,
            "interfaces[0].mac: hardware address \"01:00:00:00:00:01\": must be six bytes like 02:00:0a:58:00:05, of which the first is even",
        ),
        (
            r#"{"interfaces": [{"routes": [{"subnet": "10.0.0.0/8", "gateway": "fd00::1"}]}]}"#,
            "interfaces[0].routes[0]: 10.0.0.0/8: its gateway is of another family",
        ),
        (
            r#"{"interfaces": [{"routes": [{"subnet": "10.0.0.0/8"}]}, {"routes": [{"subnet": "::/0"}, {"subnet": "10.1.0.0/8"}]}]}"#,
            "interfaces[1].routes[1]: 10.1.0.0/8: there is another route to it",
        ),
        (r#"{"interfaces": [{"mtu": 10}]}"#, "interfaces[0].mtu: 10 bytes: must be from 68 to 65535"),
        (
            r#"{"model": {"type": "bridge"}, "interfaces": [{"ip": "10.0.0.1/8"}]}"#,
            "interfaces[0].ip: 10.0.0.1/8: the host's address is its bridge's: leave it out, or say 0.0.0.0/0",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.1/16"]}}"#,
            "model.subnets[0]: 10.88.0.1/16 is an address in 10.88.0.0/16",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.1/32"]}}"#,
            "model.subnets[0]: 10.88.0.1/32 has no room for a gateway and containers",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["127.0.0.0/8"]}}"#,
            "model.subnets[0]: 127.0.0.0/8 has addresses of the loopback (127.0.0.0/8): choose a private one, such as \
             10.88.0.0/16 or fd00:88::/64",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.0/16", "::/0"]}}"#,
            "model.subnets[1]: ::/0 has addresses of no host, and the loopback's (::/127): choose a private one, such as \
             10.88.0.0/16 or fd00:88::/64",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.0/16"], "ranges": ["10.89.0.0/24"]}}"#,
            "model.ranges[0]: 10.89.0.0/24 is in none of model.subnets",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.0/16"], "ranges": ["10.88.1.0/24", "10.88.2.0/24"]}}"#,
            "model.ranges[1]: 10.88.2.0/24: 10.88.0.0/16 has a range already",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.0/16"], "gateways": ["10.88.255.255"]}}"#,
            "model.gateways[0]: 10.88.255.255 is no address for hosts in any of model.subnets",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.0/16"], "gateways": ["10.88.0.7", "10.88.0.8"]}}"#,
            "model.gateways[1]: 10.88.0.8: 10.88.0.0/16 has a gateway already",
        ),
        (
            r#"{"model": {"type": "bridge", "subnets": ["10.88.0.0/16"], "reserved": ["10.88.0.0"]}}"#,
            "model.reserved[0]: 10.88.0.0 is no address for hosts in any of model.subnets",
        ),
        (
            r#"{"dns": {"nameservers": ["localhost"]}}"#,
            "dns.nameservers[0]: \"localhost\" is not an IP address",
        ),
        (r#"{"hosts": {"a b": "10.0.0.1"}}"#, "hosts: \"a b\" is not the name of a host"),
        ("", "is empty, not JSON"),
    ] {
        assert_eq!(refused(text), expected);
    }
    let port =
        refused(r#"{"model": {"type": "bridge"}, "interfaces": [{}, {"ports": ["8080:80", "80:x"]}]}"#);
    assert!(port.starts_with("interfaces[1].ports[1]: port \"80:x\": "), "{port}");
}

#[test]
fn subnets_have_ranges() {
    let netconf = parse(
        r#"{"model": {"type": "bridge", "subnets": ["10.88.0.0/24", "fd00::/64"], "ranges": ["10.88.0.128/25"],
            "reserved": ["10.88.0.129"], "gateways": ["fd00::7"]}, "interfaces": [{}]}"#,
    );
    let network = &netconf.requests[0].network;
    let gateways = network.ranges.iter().map(|range| range.gateway.map(|Ip(ip)| ip.to_string()));
    assert_eq!(gateways.collect::<Vec<_>>(), [None, Some("fd00::7".to_string())]);
    let ends = network.ranges[0].ends();
    assert_eq!(
        (ends.0.to_string(), ends.1.to_string()),
        ("10.88.0.128".to_string(), "10.88.0.254".to_string())
    );
    assert_eq!((network.ranges[1].first, network.reserved.len()), (None, 1));
    let other = parse(r#"{"model": {"type": "bridge", "preferred": ["10.88.0.0/24"]}, "interfaces": [{}]}"#);
    let network = &other.requests[0].network;
    assert_eq!((network.ranges.len(), network.preferred[0].subnet), (0, cidr("10.88.0.0/24")));
}

#[test]
fn interfaces_have_models_of_their_own() {
    let netconf = parse(
        r#"{"model": {"type": "bridge"}, "interfaces": [
            {"model": {"type": "bridge", "bridge_name": "front0"}}, {"model": {"type": "macvlan", "parent": "eth7"}}, {}
        ]}"#,
    );
    let names: Vec<_> =
        netconf.requests.iter().map(|one| (one.network.name.as_str(), one.name.as_str())).collect();
    assert_eq!(names, [("front0", "eth0"), ("macvlan-eth7", "eth1"), (DEFAULT_BRIDGE, "eth2")]);
    let wrong = refused(r#"{"interfaces": [{}, {"model": {"type": "bridge", "parent": "eth0"}}]}"#);
    assert_eq!(wrong, "interfaces[1]: model.parent: not with the type bridge");
    let wrong = refused(r#"{"model": {"type": "pasta"}, "interfaces": [{"model": {"type": "bridge"}}]}"#);
    assert_eq!(wrong, "interfaces[0].model: not with the type pasta");
}
