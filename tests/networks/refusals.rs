//! What cannot be is said in one line that names it, with status 1, and leaves nothing.

use std::fs;
use std::process::Command;

use pillbox_netlink::link::{self, Peer, Veth};
use serde_json::{Value, json};

use crate::connected::{Connected, bridged};
use crate::host::{Host, on_a_host};
use crate::inventory::Inventory;
use crate::machine::{HOST_4, Machine};
use crate::standpoint::Standpoint;
use crate::traffic::{Tcp, Udp};

/// Asserts that no container can be made with that netconf.json, that the one line says why, and that nothing is left.
#[track_caller]
fn refused(host: &Host, netconf: &Value, why: &str) {
    refused_as(&Connected::new(host, netconf), why);
}

/// The same of a bundle.
#[track_caller]
fn refused_as(container: &Connected<'_>, why: &str) {
    refused_by(container, &mut container.bundle_command("create", &[]), why);
}

/// The same by a command of that bundle's.
#[track_caller]
fn refused_by(container: &Connected<'_>, create: &mut Command, why: &str) {
    let before = Inventory::take();
    let output = container.finish(create);
    let file = container.bundle().join("netconf.json");
    let why = why.replace("FILE", &file.display().to_string());
    assert_eq!((output.code, output.error_lines()), (1, vec![why.as_str()]), "{output:?}");
    container.assert_gone();
    before.is_back();
}

/// One interface on bridge br0 of 10.90.0.0/24.
fn on_bridge(interface: &Value) -> Value {
    let model = json!({"type": "bridge", "bridge_name": "br0", "subnets": ["10.90.0.0/24", "fd00:90::/64"]});
    json!({"model": model, "interfaces": [interface]})
}

#[test]
fn addresses_that_cannot_be_had() {
    on_a_host(|host| {
        let five = Connected::started(host, &on_bridge(&json!({"peer_ip": "10.90.0.5/24"})));
        let of_five = five.id.clone();
        for (address, why) in [
            (
                "10.90.0.5/24",
                format!("address 10.90.0.5 of network br0 (10.90.0.0/24): taken by container {of_five}"),
            ),
            ("10.90.0.1/24", "address 10.90.0.1 of network br0 (10.90.0.0/24): is the gateway's".to_string()),
            (
                "10.90.0.255/24",
                "address 10.90.0.255 of network br0 (10.90.0.0/24): is for broadcasts".to_string(),
            ),
            (
                "10.90.0.0/24",
                "address 10.90.0.0 of network br0 (10.90.0.0/24): is the subnet's own".to_string(),
            ),
            (
                "10.91.0.5/24",
                "address 10.91.0.5: it is not in the subnet of network br0, 10.90.0.0/24".to_string(),
            ),
            (
                "fd00:91::5/64",
                "address fd00:91::5: it is not in the subnet of network br0, fd00:90::/64".to_string(),
            ),
            (
                "fd00:90::1/64",
                "address fd00:90::1 of network br0 (fd00:90::/64): is the gateway's".to_string(),
            ),
        ] {
            refused(host, &on_bridge(&json!({"peer_ip": address})), &format!("pillbox: FILE: {why}"));
        }
        five.remove();
    });
}

#[test]
fn a_subnet_of_ipv6_where_new_links_have_none() {
    on_a_host(|host| {
        host.set("net/ipv6/conf/default/disable_ipv6", "1");
        let why =
            "new links of this host have no IPv6: leave it out, or set net.ipv6.conf.default.disable_ipv6=0";
        refused(
            host,
            &on_bridge(&json!({})),
            &format!("pillbox: FILE: network br0: subnet fd00:90::/64: {why}"),
        );
        host.set("net/ipv6/conf/default/disable_ipv6", "0");
        Connected::started(host, &on_bridge(&json!({}))).remove();
        // A bridge that has it keeps it.
        host.set("net/ipv6/conf/default/disable_ipv6", "1");
        Connected::started(host, &on_bridge(&json!({}))).remove();
    });
}

#[test]
fn ports_that_cannot_be_had() {
    on_a_host(|host| {
        let _outside = Machine::outside();
        let web = Connected::started(host, &bridged(&["8080:80", &format!("{HOST_4}:8081:81/udp")]));
        let of_web = web.id.clone();
        let listener = std::process::id();
        let _tcp = Standpoint::Host.serve("host", Tcp, 9000);
        let _udp = Standpoint::Host.serve_at("host", Udp, "127.0.0.1:9001");
        let program = fs::read_to_string("/proc/self/comm").expect("comm");
        let program = format!("process {listener} ({})", program.trim_end());
        for (port, why) in [
            ("8080:90", format!("port 8080/tcp: taken by container {of_web}")),
            (
                "127.0.0.1:8080:90",
                format!("port 127.0.0.1:8080/tcp: 8080/tcp is taken by container {of_web}"),
            ),
            ("8079-8081:90-92", format!("port 8080/tcp: taken by container {of_web}")),
            ("8081:81/udp", format!("port 8081/udp: {HOST_4}:8081/udp is taken by container {of_web}")),
            ("9000:90", format!("port 9000/tcp: taken by {program}")),
            ("[::1]:9000:90", format!("port [::1]:9000/tcp: taken by {program}")),
            ("9001:90/udp", format!("port 9001/udp: taken by {program}")),
            (
                "10.99.0.1:9002:80",
                "port 10.99.0.1:9002/tcp: no interface of this host has the address 10.99.0.1".to_string(),
            ),
        ] {
            refused(host, &bridged(&[port]), &format!("pillbox: FILE: {why}"));
        }
        // What does not meet can be had.
        let other = Connected::started(host, &bridged(&["8080:80/udp", "127.0.0.1:8081:81/udp", "9001:90"]));
        [web, other].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn a_bridge_that_is_none() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let mut netconf = on_bridge(&json!({}));
        netconf["model"]["bridge_name"] = json!("out0");
        let why =
            "pillbox: FILE: network out0: link out0 is no bridge (veth): choose another name for the bridge";
        refused(host, &netconf, why);
        netconf["model"]["bridge_name"] = json!("lo");
        let why =
            "pillbox: FILE: network lo: link lo is no bridge (hardware): choose another name for the bridge";
        refused(host, &netconf, why);
        drop(outside);
    });
}

#[test]
fn subnets_that_somebody_has() {
    on_a_host(|host| {
        let _outside = Machine::outside();
        let container = Connected::started(host, &on_bridge(&json!({})));
        for (subnet, why) in [
            (
                "192.0.2.128/25",
                "network br7: subnet 192.0.2.128/25 overlaps with the host's route to 192.0.2.0/24: choose another one",
            ),
            (
                "192.0.0.0/16",
                "network br7: subnet 192.0.0.0/16 overlaps with the host's route to 192.0.2.0/24: choose another one",
            ),
            (
                "2001:db8::/32",
                "network br7: subnet 2001:db8::/32 overlaps with the host's route to 2001:db8::/64: choose another one",
            ),
            (
                "10.90.0.0/16",
                "network br7: subnet 10.90.0.0/16 overlaps with network br0 (10.90.0.0/24 and fd00:90::/64): choose another one",
            ),
        ] {
            let model = json!({"type": "bridge", "bridge_name": "br7", "subnets": [subnet]});
            refused(host, &json!({"model": model, "interfaces": [{}]}), &format!("pillbox: FILE: {why}"));
        }
        container.remove();
    });
}

#[test]
fn a_network_that_is_another_one() {
    on_a_host(|host| {
        let container = Connected::started(host, &on_bridge(&json!({})));
        for (member, value, why) in [
            (
                "subnets",
                json!(["10.91.0.0/24"]),
                "its subnet is 10.90.0.0/24 and fd00:90::/64, not 10.91.0.0/24",
            ),
            ("internal", json!(true), "internal is false, not true"),
            ("isolated", json!(false), "isolated is true, not false"),
            ("masquerade", json!(false), "masquerade is true, not false"),
        ] {
            let mut netconf = on_bridge(&json!({}));
            netconf["model"][member] = value;
            let why = format!(
                "pillbox: FILE: network br0: {why}: use another name, or remove it (pillbox net rm br0)"
            );
            refused(host, &netconf, &why);
        }
        container.remove();
    });
}

#[test]
fn names_that_cannot_be() {
    on_a_host(|host| {
        for (interface, why) in [
            (
                json!({"peer_name": "sixteen-letters-"}),
                "interfaces[0].peer_name: \"sixteen-letters-\" cannot be a link's name: it must have 1 to 15 bytes",
            ),
            (
                json!({"name": "a/b"}),
                "interfaces[0].name: \"a/b\" cannot be a link's name: it must have no slash, colon or white space, nor be . or ..",
            ),
            (json!({"peer_name": "lo"}), "interface lo: there is another one of that name"),
            (
                json!({"name": "lo"}),
                "interface lo: the host has a link of that name already: choose another one for the host's end",
            ),
        ] {
            refused(host, &on_bridge(&interface), &format!("pillbox: FILE: {why}"));
        }
        let mut netconf = on_bridge(&json!({"peer_name": "net0"}));
        netconf["interfaces"] = json!([{"peer_name": "net0"}, {"peer_name": "net0"}]);
        refused(host, &netconf, "pillbox: FILE: interface net0: there is another one of that name");
    });
}

#[test]
fn values_that_cannot_be() {
    on_a_host(|host| {
        for (interface, why) in [
            (
                json!({"peer_ip": "10.90.0.5"}),
                "interfaces[0].peer_ip: \"10.90.0.5\" is not an IP address with the length of its prefix, as 10.88.0.5/16",
            ),
            (
                json!({"peer_ip": "10.90.0.5/33"}),
                "interfaces[0].peer_ip: \"10.90.0.5/33\" is not an IP address with the length of its prefix, as 10.88.0.5/16",
            ),
            (json!({"peerip": "10.90.0.5/24"}), "interfaces[0].peerip: unknown"),
            (json!({"mtu": 67}), "interfaces[0].mtu: 67 bytes: must be from 68 to 65535"),
            (
                json!({"mac": "01:00:00:00:00:01"}),
                "interfaces[0].mac: hardware address \"01:00:00:00:00:01\": must be six bytes like 02:00:0a:58:00:05, of which the first is even",
            ),
            (
                json!({"ports": ["80:81:82:83"]}),
                "interfaces[0].ports[0]: port \"80:81:82:83\": the host's address is not an IP address: must be like 8080:80, 127.0.0.1:8080:80/udp or [::1]:8000-8009:80-89",
            ),
            (
                json!({"routes": [{"subnet": "10.0.0.0/8", "gateway": "fd00:90::1"}]}),
                "interfaces[0].routes[0]: 10.0.0.0/8: its gateway is of another family",
            ),
            (
                json!({"routes": [{"subnet": "0.0.0.0/0"}, {"subnet": "0.0.0.0/0"}]}),
                "interfaces[0].routes[1]: 0.0.0.0/0: there is another route to it",
            ),
        ] {
            refused(host, &on_bridge(&interface), &format!("pillbox: FILE: {why}"));
        }
        let mut netconf = on_bridge(&json!({}));
        netconf["model"]["subnets"] = json!(["10.90.0.0/240"]);
        refused(
            host,
            &netconf,
            "pillbox: FILE: model.subnets[0]: \"10.90.0.0/240\" is not an IP address with the length of its prefix, as 10.88.0.5/16",
        );
        let internal = json!({"type": "bridge", "bridge_name": "in0", "internal": true});
        let netconf = json!({"model": internal, "interfaces": [{"ports": ["8080:80"]}]});
        refused(
            host,
            &netconf,
            "pillbox: FILE: port 8080/tcp: interface eth0: an internal network has no way in: leave the port out",
        );
    });
}

#[test]
fn namespaces_that_cannot_be() {
    on_a_host(|host| {
        let mut container = Connected::new(host, &on_bridge(&json!({})));
        container.container().without_namespace("network");
        let why =
            "pillbox: FILE: the container has the host's network namespace: add one to linux.namespaces";
        refused_as(&container, why);
        // By another name it is the same.
        container.container().with_namespace("network", Some("/proc/1/ns/net"));
        let why = "pillbox: FILE: /proc/1/ns/net in linux.namespaces is the host's network namespace: name another one";
        refused_as(&container, why);
        // The second is what is left of a namespace that was pinned there.
        fs::write("/run/unpinned", "").expect("a file");
        let config = container.bundle().join("config.json");
        for (path, why) in [("/run/gone", "no such file or folder"), ("/run/unpinned", "it is no namespace")]
        {
            container.container().with_namespace("network", Some(path));
            let config = config.display();
            refused_as(
                &container,
                &format!("pillbox: {config}: linux.namespaces: network: open {path}: {why}"),
            );
        }
    });
}

#[test]
fn an_interface_that_a_joined_namespace_has_already() {
    on_a_host(|host| {
        // What the network itself needs stays.
        Connected::started(host, &on_bridge(&json!({}))).remove();
        let machine = Machine::new();
        machine.connect("out0", &[]);
        let mut container = Connected::new(host, &on_bridge(&json!({"ports": ["8080:80"]})));
        container.container().with_namespace("network", Some(&machine.namespace()));
        refused_as(
            &container,
            "pillbox: FILE: interface eth0: the network namespace has a link of that name or its index",
        );
    });
}

#[test]
fn links_to_lie_over_that_cannot_be() {
    on_a_host(|host| {
        let _outside = Machine::outside();
        for (kind, member, value, why) in [
            ("macvlan", "parent", "gone0", "network macvlan-gone0: there is no link gone0 to lie over"),
            ("ipvlan", "parent", "gone0", "network ipvlan-gone0: there is no link gone0 to lie over"),
            (
                "macvlan",
                "mode",
                "l2",
                "interface eth0: mode \"l2\": must be one of bridge, vepa, private, passthru",
            ),
            ("ipvlan", "mode", "vepa", "interface eth0: mode \"vepa\": must be one of l2, l3, l3s"),
        ] {
            let mut netconf = json!({"model": {"type": kind, "parent": "out0"}, "interfaces": [{}]});
            netconf["model"][member] = json!(value);
            refused(host, &netconf, &format!("pillbox: FILE: {why}"));
        }
    });
}

#[test]
fn one_port_more_than_a_bridge_can_have() {
    /// How many the kernel numbers: `BR_MAX_PORTS` less the one that is none.
    const MOST: usize = 1023;
    on_a_host(|host| {
        Connected::started(host, &on_bridge(&json!({}))).remove();
        let bridge = Standpoint::Host.link("br0").index;
        let mut socket = Standpoint::Host.socket();
        for pair in 0..MOST.div_ceil(2) {
            let [one, other] = ["a", "b"].map(|end| format!("{end}{pair}"));
            let peer = Peer { name: &other, index: None, address: None, namespace: None };
            let veth = Veth { master: Some(bridge), up: false, ..Veth::new(&one, peer) };
            socket.request(&[link::add_veth(&veth).expect("veth")]).expect("veth");
            if 2 * pair + 1 < MOST {
                let master = link::set_master(other.as_str(), bridge).expect("a port");
                socket.request(&[master]).expect("a port");
            }
        }
        let why = "pillbox: FILE: bridge br0: it has 1,023 ports already, the most that a bridge can have";
        refused(host, &on_bridge(&json!({"ports": ["8080:80"]})), why);
    });
}

#[test]
fn rights_that_are_missing() {
    on_a_host(|host| {
        let container = Connected::new(host, &on_bridge(&json!({"ports": ["8080:80"]})));
        let without = |inner: Command| {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
            command.arg(inner.get_program()).args(inner.get_args());
            command
        };
        let why = "CAP_NET_ADMIN is missing: networks need it: run this as root, or add the capability";
        // Whether the bridge is there or not.
        for _ in 0..2 {
            let mut create = without(container.bundle_command("create", &[]));
            refused_by(&container, &mut create, &format!("pillbox: FILE: {why}"));
            Connected::started(host, &on_bridge(&json!({}))).remove();
        }
        let checked = container.finish(&mut without(container.command(&["net", "check"])));
        assert_eq!((checked.code, checked.error_lines()), (1, vec![&*format!("pillbox: {why}")]));
    });
}
