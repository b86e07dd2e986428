//! What cannot be is refused with the specification's code and one line, and leaves nothing.

use serde_json::{Value, json};

use crate::host::on_a_host;
use crate::inventory::Inventory;
use crate::plugin::{Answer, Container, add, call, command, delete, network, run, with, with_ports};
use crate::standpoint::Standpoint;
use crate::traffic::Tcp;

#[test]
fn configurations_that_cannot_be() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let before = Inventory::take();
        let ipam = |ipam: Value| json!({"ipam": ipam});
        let range = |range: Value| ipam(json!({"type": "host-local", "ranges": [[range]]}));
        for (members, code, expected) in [
            (
                json!({"cniVersion": "0.2.0"}),
                1,
                "cniVersion: \"0.2.0\": must be 0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0",
            ),
            (json!({"cniVersion": null}), 1, "cniVersion: \"\": must be 0.3.0"),
            (json!({"name": null}), 7, "network name \"\": CNI allows letters"),
            (json!({"name": "a/b"}), 7, "network name \"a/b\": CNI allows letters"),
            (
                json!({"isGateway": "yes"}),
                6,
                "network configuration: isGateway: \"yes\" is not true or false",
            ),
            (json!({"mtu": -1}), 6, "network configuration: mtu: -1 is not a whole number"),
            (json!({"mtu": 7}), 7, "mtu: 7 bytes: must be from 68 to 65535"),
            (
                json!({"bridge": "sixteen-bytes-xx"}),
                7,
                "bridge: \"sixteen-bytes-xx\" cannot be a link's name",
            ),
            (json!({"vlan": 100}), 2, "vlan: 100: pillbox-net does not do that: the plugin bridge has it"),
            (json!({"vlanTrunk": [{"id": 7}]}), 2, "vlanTrunk: {\"id\":7}: pillbox-net does not do that"),
            (json!({"enabledad": true}), 2, "enabledad: true: pillbox-net does not do that"),
            (
                json!({"snat": false}),
                2,
                "snat: false: pillbox-net does not do that: it is for the plugins portmap and firewall",
            ),
            (
                json!({"ingressPolicy": "same-bridge"}),
                2,
                "ingressPolicy: \"same-bridge\": pillbox-net does not do that",
            ),
            (
                json!({"isgateway": true}),
                2,
                "isgateway: true: pillbox-net does not do that: it is called isGateway",
            ),
            (
                json!({"ipMasqBackend": "pf"}),
                2,
                "ipMasqBackend: pf: pillbox-net does not do that: it is nftables",
            ),
            (json!({"hairpinMode": true, "promiscMode": true}), 7, "hairpinMode: not with promiscMode"),
            (json!({"disableContainerInterface": true}), 7, "disableContainerInterface: not with ipam"),
            (
                json!({"runtimeConfig": {"bandwidth": {"ingressRate": 1}}}),
                2,
                "runtimeConfig.bandwidth: {\"ingressRate\":1}: pillbox-net does not do that: another plugin behind it may have this capability",
            ),
            (json!({"runtimeConfig": {"aliases": ["a"]}}), 2, "runtimeConfig.aliases: [\"a\"]: pillbox-net"),
            (json!({"runtimeConfig": {"mac": "x"}}), 7, "hardware address \"x\": must be six bytes"),
            (
                json!({"runtimeConfig": {"ips": [7]}}),
                6,
                "runtimeConfig.ips: [0]: 7 is not an IP address, with the length of its prefix or without",
            ),
            (
                json!({"runtimeConfig": {"portMappings": [{"hostPort": 80}]}}),
                7,
                "runtimeConfig: portMappings[0]: hostPort and containerPort must be from 1 to 65535",
            ),
            (
                json!({"prevResult": {"cniVersion": "0.1.0"}}),
                7,
                "prevResult: cniVersion: \"0.1.0\" is not 0.3.0",
            ),
            (json!({"prevResult": {"ips": 7}}), 7, "prevResult: ips: 7 is not a list"),
            (
                ipam(json!({"type": "host-local"})),
                7,
                "ipam.ranges: a list of lists with a subnet each is needed",
            ),
            (ipam(json!({"type": "host-local", "ranges": [[]]})), 7, "ipam.ranges: a list of lists"),
            (
                ipam(json!({"type": "host-local", "subnet": "10.77.0/24"})),
                6,
                "ipam: subnet: \"10.77.0/24\" is not an IP address with the length of its prefix",
            ),
            (
                range(json!({"subnet": "10.77.0.5/24"})),
                7,
                "ipam.ranges: subnet 10.77.0.5/24 is an address in 10.77.0.0/24",
            ),
            (
                range(json!({"subnet": "10.77.0.0/31"})),
                7,
                "ipam.ranges: subnet 10.77.0.0/31 has no room for a gateway and containers",
            ),
            (
                range(json!({"subnet": "10.77.0.0/24", "rangeStart": "10.78.0.1"})),
                7,
                "ipam.ranges: rangeStart 10.78.0.1 is not in 10.77.0.0/24",
            ),
            (
                range(json!({"subnet": "10.77.0.0/24", "rangeStart": "10.77.0.9", "rangeEnd": "10.77.0.8"})),
                7,
                "ipam.ranges: rangeStart 10.77.0.9 is behind rangeEnd 10.77.0.8",
            ),
            (
                ipam(
                    json!({"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "10.77.0.0/25"}]]}),
                ),
                7,
                "ipam.ranges: 10.77.0.0/24 and 10.77.0.0/25 overlap",
            ),
            (
                ipam(
                    json!({"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}, {"subnet": "fd77::/64"}]]}),
                ),
                7,
                "ipam.ranges: the ranges of one set are of two families",
            ),
            (
                ipam(json!({"type": "host-local", "subnet": "10.77.0.0/24", "resolvConf": "/nowhere"})),
                5,
                "ipam.resolvConf: read /nowhere: ",
            ),
            (
                ipam(
                    json!({"type": "host-local", "subnet": "10.77.0.0/24", "routes": [{"dst": "::/0", "gw": "10.77.0.1"}]}),
                ),
                7,
                "route to ::/0 via 10.77.0.1: these are of two families",
            ),
            (
                ipam(json!({"type": "static", "addresses": [{"address": "10.77.0.5"}]})),
                6,
                "ipam: addresses[0].address: \"10.77.0.5\" is not an IP address with",
            ),
            (
                ipam(json!({"type": "static", "addresses": [{"address": "10.77.0.0/24"}]})),
                7,
                "address 10.77.0.0 of network testnet (10.77.0.0/24): is the subnet's own",
            ),
            (ipam(json!(7)), 6, "ipam: 7 is not an object"),
        ] {
            let configuration = with(&network(), members.clone());
            let answer = call(host, "ADD", Some(&container), &configuration);
            let version = answer.printed["cniVersion"].clone();
            let (found, text) = answer.refused();
            assert!(found == code && text.starts_with(expected), "{members}: {found} {text}");
            let asked = configuration["cniVersion"].as_str().unwrap_or_default();
            assert_eq!(version, if crate::plugin::VERSIONS.contains(&asked) { asked } else { "1.1.0" });
            assert_eq!(container.at().links().len(), 1);
        }
        // What is left are networks that could be made.
        let list: Value = serde_json::from_str(&host.net(&["list", "--format", "json"])).unwrap();
        for network in list["networks"].as_array().unwrap() {
            host.net(&["rm", network["name"].as_str().unwrap()]);
        }
        crate::plugin::wait_for_remains();
        assert_eq!(Inventory::take().links, before.links);
    });
}

#[test]
fn what_is_unknown_is_ignored() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let members = json!({
            "addIf": "true", "preserveDefaultVlan": true, "vlan": 0, "vlanTrunk": [], "ipMasqBackend": "iptables",
            "capabilities": {"portMappings": true}, "io.example/key": [1], "dns": null, "runtimeConfig": null
        });
        let network = with(&network(), members);
        add(host, &container, &network);
        delete(host, &container, &network);
    });
}

#[test]
fn documents_that_are_none() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let refused = |input: &str| run(&mut command(host, "ADD", Some(&container)), input).refused();
        assert_eq!(
            refused(""),
            (1, "cniVersion: \"\": must be 0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0".to_string())
        );
        let (code, text) = refused(r#"{"cniVersion": "1.0.0", "name": "x""#);
        assert!(code == 1 || code == 6, "{text}");
        let (code, text) =
            refused(r#"{"cniVersion": "1.0.0", "name": "x", "ipam": {"type": "static"}, "name": "y"}"#);
        assert_eq!((code, text.as_str()), (6, "network configuration: name: is there twice"));
        let mut broken = command(host, "ADD", Some(&container));
        let (code, text) = run(&mut broken, "\u{0}").refused();
        assert!(code == 1 || code == 6, "{text}");
    });
}

#[test]
fn variables_that_cannot_be() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let try_with = |operation: &str, name: &str, value: Option<&str>| -> Answer {
            let mut command = command(host, operation, Some(&container));
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
            run(&mut command, &network().to_string())
        };
        for (operation, name, value, code, expected) in [
            (
                "ADD",
                "CNI_COMMAND",
                Some("add"),
                4,
                "CNI_COMMAND: \"add\" is none of ADD, CHECK, DEL, GC, STATUS, VERSION",
            ),
            ("ADD", "CNI_COMMAND", None, 4, "CNI_COMMAND: \"\" is none of"),
            ("ADD", "CNI_CONTAINERID", None, 4, "CNI_CONTAINERID: container id \"\": CNI allows"),
            ("DEL", "CNI_CONTAINERID", Some("a/b"), 4, "CNI_CONTAINERID: container id \"a/b\": CNI allows"),
            ("ADD", "CNI_IFNAME", None, 4, "CNI_IFNAME: interface name: \"\" cannot be a link's name"),
            (
                "CHECK",
                "CNI_IFNAME",
                Some("a:b"),
                4,
                "CNI_IFNAME: interface name: \"a:b\" cannot be a link's name",
            ),
            ("ADD", "CNI_NETNS", None, 4, "CNI_NETNS: missing: a network namespace's path"),
            ("CHECK", "CNI_NETNS", Some(""), 4, "CNI_NETNS: missing"),
            ("ADD", "CNI_NETNS", Some("/nowhere"), 3, "CNI_NETNS: stat of /nowhere: no such file or folder"),
            ("ADD", "CNI_NETNS", Some("/dev/null"), 4, "CNI_NETNS: "),
            ("ADD", "CNI_NETNS", Some("/proc/1/ns/mnt"), 4, "CNI_NETNS: "),
            (
                "ADD",
                "CNI_NETNS",
                Some("/proc/self/ns/net"),
                4,
                "CNI_NETNS: /proc/self/ns/net: is the host's own",
            ),
            (
                "ADD",
                "CNI_ARGS",
                Some("FOO=bar"),
                4,
                "CNI_ARGS: FOO=bar: unknown: IgnoreUnknown=1 lets that pass",
            ),
            ("ADD", "CNI_ARGS", Some("FOO"), 4, "CNI_ARGS \"FOO\": \"FOO\" must be like KEY=VALUE"),
            ("ADD", "CNI_ARGS", Some("MAC=x"), 7, "hardware address \"x\": must be six bytes"),
        ] {
            let (found, text) = try_with(operation, name, value).refused();
            assert!(
                found == code && text.starts_with(expected),
                "{operation} {name}={value:?}: {found} {text}"
            );
        }
        assert_eq!(container.at().links().len(), 1);
    });
}

#[test]
fn a_port_that_somebody_has() {
    on_a_host(|host| {
        let (one, other) = (Container::new("c1"), Container::new("c2"));
        let ports = with_ports(&network(), &[(8080, 80, "tcp")]);
        add(host, &one, &ports);
        let refused = |network: &Value| {
            let refused = call(host, "ADD", Some(&other), network).refused();
            assert_eq!(other.at().links().len(), 1);
            refused
        };
        assert_eq!(refused(&ports), (100, "port 8080/tcp: taken by container c1".to_string()));
        let _program = Standpoint::Host.serve("host", Tcp, 8081);
        let (code, text) = refused(&with_ports(&network(), &[(8081, 80, "tcp")]));
        assert!(code == 100 && text.starts_with("port 8081/tcp: taken by process "), "{text}");
        let only_v4 = with(
            &network(),
            json!({"ipam": {"type": "host-local", "subnet": "10.78.0.0/24"}, "name": "other", "bridge": "test1"}),
        );
        let wrong = with(
            &only_v4,
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 8082, "containerPort": 80, "hostIP": "::1"}]}}),
        );
        assert_eq!(
            refused(&wrong),
            (7, "port [::1]:8082/tcp: interface eth0 has no IPv6 address for it".to_string())
        );
        delete(host, &one, &ports);
    });
}
