//! A list that was written for the reference plugins, with one word changed.

use std::path::Path;

use pillbox_network::cni::{AddResult, Attached};
use serde_json::{Value, json};

use crate::chain::{attached, conflist, programs};
use crate::harness::skip;
use crate::host::{Host, on_a_host};
use crate::machine::{Machine, OUTSIDE_4};
use crate::plugin::{Container, NAME, output, wait_for_remains};
use crate::standpoint::Standpoint;
use crate::traffic::{Tcp, Udp};

/// Whether they are here; says so if not.
fn has_reference() -> bool {
    let missing =
        ["/usr/lib/cni/bridge", "/usr/sbin/iptables"].into_iter().find(|path| !Path::new(path).exists());
    if let Some(path) = missing {
        skip(&format!("{path} is missing (Debian: containernetworking-plugins, iptables)"));
    }
    missing.is_none()
}

/// What they write outside of a network namespace becomes the test's own.
fn hide_their_records() {
    output("mount", &["-t", "tmpfs", "tmpfs", "/var/lib"]);
}

/// Lists as people have them, in the version that the reference plugins of Debian 12 speak.
fn lists() -> Vec<(&'static str, Vec<Value>)> {
    let host_local = |members: Value| {
        let mut ipam = json!({"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]});
        members.as_object().unwrap().iter().for_each(|(name, value)| ipam[name] = value.clone());
        ipam
    };
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let bridge = |members: Value| {
        let mut bridge = json!({"type": "bridge", "bridge": "ref0", "isGateway": true, "ipMasq": true, "hairpinMode": true});
        members.as_object().unwrap().iter().for_each(|(name, value)| bridge[name] = value.clone());
        bridge
    };
    vec![
        // Podman's.
        (
            "podman",
            vec![
                bridge(
                    json!({"ipam": host_local(json!({"ranges": [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]]}))}),
                ),
                portmap.clone(),
                json!({"type": "firewall"}),
                json!({"type": "tuning"}),
            ],
        ),
        // containerd's, with both families.
        (
            "containerd",
            vec![
                bridge(json!({"promiscMode": true, "hairpinMode": false, "ipam": host_local(json!({
                    "ranges": [[{"subnet": "10.88.0.0/16"}], [{"subnet": "2001:db8:4860::/64"}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
                }))})),
                portmap.clone(),
            ],
        ),
        // flannel's.
        (
            "flannel",
            vec![
                bridge(json!({"isDefaultGateway": true, "ipMasq": false, "mtu": 1450, "ipam": {
                    "type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]], "routes": [{"dst": "10.244.0.0/16"}]
                }})),
                portmap.clone(),
            ],
        ),
        (
            "old",
            vec![bridge(
                json!({"isGateway": false, "ipMasq": false, "dns": {"nameservers": ["192.0.2.53"], "search": ["example"]}, "ipam": {
                    "type": "host-local", "subnet": "10.22.0.0/16", "rangeStart": "10.22.0.9", "rangeEnd": "10.22.0.99", "gateway": "10.22.0.5"
                }}),
            )],
        ),
        (
            "static",
            vec![bridge(json!({"ipam": {
                "type": "static", "addresses": [{"address": "10.10.0.9/24", "gateway": "10.10.0.254"}, {"address": "3ffe:ffff:0:1ff::9/64"}],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.0.7"}]}}))],
        ),
        ("layer2", vec![bridge(json!({"isGateway": false, "ipMasq": false}))]),
    ]
}

fn replaced(plugins: &[Value]) -> Vec<Value> {
    let mut plugins = plugins.to_vec();
    plugins[0]["type"] = json!(NAME);
    plugins
}

/// What of a result does not depend on who has made it: names of host ends and hardware addresses are made up by each.
fn shape(result: &AddResult, container: &Container) -> Value {
    let interfaces: Vec<Value> = result
        .interfaces
        .iter()
        .map(|one| {
            let sandbox = one.sandbox.as_deref().unwrap_or_default();
            let is_inside = if sandbox == container.machine.namespace() { "inside" } else { sandbox };
            let name = if one.name.starts_with("veth") { "veth" } else { &one.name };
            let has_mac = one.mac.as_deref().is_some_and(|mac| mac.len() == 17);
            json!({"name": name, "sandbox": is_inside, "has mac": has_mac})
        })
        .collect();
    let ips: Vec<Value> = result
        .ips
        .iter()
        .map(|ip| json!([ip.address.to_string(), ip.gateway.map(|ip| ip.to_string()), ip.interface]))
        .collect();
    let routes: Vec<Value> = result
        .routes
        .iter()
        .map(|route| json!([route.dst.to_string(), route.gw.map(|ip| ip.to_string())]))
        .collect();
    json!({"interfaces": interfaces, "ips": ips, "routes": routes, "dns": format!("{:?}", result.dns)})
}

/// What a container has come to, as it sees it itself.
fn inside(container: &Container) -> Value {
    let ip = |arguments: &[&str]| {
        let net = format!("--net={}", container.machine.namespace());
        let all = [&[net.as_str(), "ip"], arguments].concat();
        let text = output("nsenter", &all);
        let mut lines: Vec<String> =
            text.lines().map(|line| line.replace(" proto static", "").trim().to_string()).collect();
        lines.retain(|line| !line.contains("fe80::") && !line.contains("::/8"));
        lines.sort();
        lines
    };
    let link = container.at().link("eth0");
    json!({
        "addresses": container.at().addresses("eth0"), "mtu": link.mtu, "up": link.is_up(),
        "routes": ip(&["-4", "route"]), "routes6": ip(&["-6", "route", "show", "dev", "eth0"]),
    })
}

/// Adds a container by such a list, looks what it has come to, and deletes it.
fn try_list(host: &Host, version: &str, name: &str, plugins: &[Value]) -> (Value, Value) {
    let container = Container::new("c1");
    let ports = json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}, {"hostPort": 5353, "containerPort": 53, "protocol": "udp"}
    ]);
    let list = conflist(version, name, plugins);
    let given = if list.wants("portMappings") { vec![("portMappings", ports)] } else { Vec::new() };
    let mut attached: Attached = attached(&list, &container, &given);
    attached.add(&programs(host)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let result = attached.result().unwrap().unwrap();
    let seen = (shape(&result, &container), inside(&container));
    if list.wants("portMappings") {
        let _tcp = container.at().serve("c1", Tcp, 80);
        let _udp = container.at().serve("c1", Udp, 53);
        let own = result.ips[0].gateway.unwrap();
        assert!(Standpoint::Host.ask(Tcp, &format!("{own}:8080")).starts_with("c1 sees "), "{name}");
        assert!(Standpoint::Host.ask(Udp, &format!("{own}:5353")).starts_with("c1 sees "), "{name}");
    }
    attached.delete(&programs(host)).unwrap_or_else(|error| panic!("{name}: {error}"));
    attached.delete(&programs(host)).unwrap_or_else(|error| panic!("{name}: {error}"));
    wait_for_remains();
    assert!(container.at().links().iter().all(|link| link.name == "lo"), "{name}");
    seen
}

#[test]
fn lists_for_the_reference_plugins_change_in_one_word() {
    on_a_host(|host| {
        if !has_reference() {
            return;
        }
        hide_their_records();
        for (name, plugins) in lists() {
            for version in ["0.4.0", "1.0.0"] {
                let theirs = try_list(host, version, name, &plugins);
                output("ip", &["link", "delete", "ref0"]);
                output("iptables", &["-t", "nat", "-F"]);
                let ours = try_list(host, version, name, &replaced(&plugins));
                host.net(&["rm", name]);
                assert_eq!(ours, theirs, "{name} {version}");
            }
        }
    });
}

/// Where the bridge is there from before, with everything of theirs around it.
#[test]
fn the_word_changes_while_their_containers_run() {
    on_a_host(|host| {
        if !has_reference() {
            return;
        }
        hide_their_records();
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        let (name, plugins) = lists().remove(0);
        let ports = |port: u16| {
            [("portMappings", json!([{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]))]
        };
        let theirs = Container::new("theirs");
        let _their_server = theirs.at().serve("theirs", Tcp, 80);
        let mut their_attached = attached(&conflist("1.0.0", name, &plugins), &theirs, &ports(8080));
        their_attached.add(&programs(host)).unwrap();
        // Its own addresses, so that none of theirs is given again.
        let mut changed = replaced(&plugins);
        changed[0]["ipam"]["ranges"][0][0]["rangeStart"] = json!("10.88.1.0");
        let ours = Container::new("ours");
        let _our_server = ours.at().serve("ours", Tcp, 80);
        let mut our_attached = attached(&conflist("1.0.0", name, &changed), &ours, &ports(8081));
        our_attached.add(&programs(host)).unwrap();
        let before = output("iptables-save", &[]).lines().filter(|line| !line.starts_with('#')).count();
        for container in [&theirs, &ours] {
            assert!(container.at().ask(Tcp, &format!("{OUTSIDE_4}:81")).starts_with("outside sees "));
        }
        assert_eq!(outside.at().ask(Tcp, "192.0.2.1:8080"), format!("theirs sees {OUTSIDE_4}"));
        assert_eq!(outside.at().ask(Tcp, "192.0.2.1:8081"), format!("ours sees {OUTSIDE_4}"));
        assert!(ours.at().ask(Tcp, "10.88.0.2:80").starts_with("theirs sees "));
        assert!(theirs.at().ask(Tcp, "10.88.1.0:80").starts_with("ours sees "));
        our_attached.delete(&programs(host)).unwrap();
        // Nothing of theirs has gone with it but what their plugins in our list have added.
        assert!(output("iptables-save", &[]).lines().count() <= before + 10);
        assert_eq!(outside.at().ask(Tcp, "192.0.2.1:8080"), format!("theirs sees {OUTSIDE_4}"));
        host.net(&["rm", name]);
        assert_eq!(outside.at().ask(Tcp, "192.0.2.1:8080"), format!("theirs sees {OUTSIDE_4}"));
        assert!(theirs.at().ask(Tcp, &format!("{OUTSIDE_4}:81")).starts_with("outside sees "));
        their_attached.delete(&programs(host)).unwrap();
    });
}
