//! Who gives addresses, and which.

use std::fs;

use serde_json::{Value, json};

use crate::host::on_a_host;
use crate::plugin::{
    Container, add, addresses, call, check, delete, script, wait_for_remains, with, with_ports,
};
use crate::standpoint::Standpoint;
use crate::traffic::Tcp;

fn network(ipam: Value) -> Value {
    json!({"cniVersion": "1.1.0", "name": "testnet", "type": "pillbox-net", "bridge": "test0", "isGateway": true, "ipam": ipam})
}

fn host_local(members: Value) -> Value {
    with(&json!({"type": "host-local"}), members)
}

#[test]
fn ranges_are_used_one_after_the_other() {
    on_a_host(|host| {
        let ranges = json!([[
            {"subnet": "10.77.0.0/29", "rangeStart": "10.77.0.5", "gateway": "10.77.0.6"},
            {"subnet": "10.77.1.0/24", "rangeStart": "10.77.1.9", "rangeEnd": "10.77.1.9"}
        ]]);
        let network = network(host_local(json!({"ranges": ranges, "dataDir": "/run/somewhere"})));
        let containers = ["c1", "c2", "c3"].map(Container::new);
        let first = add(host, &containers[0], &network);
        assert_eq!(
            (addresses(&first), &first["ips"][0]["gateway"]),
            (vec!["10.77.0.5/29".to_string()], &json!("10.77.0.6"))
        );
        let second = add(host, &containers[1], &network);
        assert_eq!(
            (addresses(&second), &second["ips"][0]["gateway"]),
            (vec!["10.77.1.9/24".to_string()], &json!("10.77.1.1"))
        );
        let (code, text) = call(host, "ADD", Some(&containers[2]), &network).refused();
        assert_eq!(
            (code, text.as_str()),
            (100, "network testnet (10.77.1.0/24): all 1 addresses from 10.77.1.9 to 10.77.1.9 are taken")
        );
        let (code, text) = call(host, "STATUS", None, &network).refused();
        assert_eq!(
            (code, text.as_str()),
            (50, "network testnet (10.77.1.0/24): all addresses from 10.77.1.9 to 10.77.1.9 are taken")
        );
        delete(host, &containers[0], &network);
        assert_eq!(addresses(&add(host, &containers[2], &network)), ["10.77.0.5/29"]);
        delete(host, &containers[1], &network);
        delete(host, &containers[2], &network);
    });
}

#[test]
fn addresses_that_are_asked_for() {
    on_a_host(|host| {
        let ranges =
            json!([[{"subnet": "10.77.0.0/24", "rangeEnd": "10.77.0.99"}], [{"subnet": "fd77::/64"}]]);
        let network = network(host_local(json!({"ranges": ranges})));
        let mut container = Container::new("c1");
        for (members, args) in [
            (json!({"runtimeConfig": {"ips": ["10.77.0.50", "fd77::50/64"]}}), ""),
            (json!({"args": {"cni": {"ips": ["fd77::50", "10.77.0.50/16"], "labels": [1]}, "other": 7}}), ""),
            (json!({"args": {"cni": {"ips": ["fd77::50"]}}}), "IP=10.77.0.50;IgnoreUnknown=1;K8S_POD_NAME=x"),
        ] {
            container.args = args.to_string();
            let asking = with(&network, members);
            let result = add(host, &container, &asking);
            assert_eq!(addresses(&result), ["10.77.0.50/24", "fd77::50/64"]);
            // Of a family that is not asked for, any.
            let other = Container { args: "IP=10.77.0.51".to_string(), ..Container::new("c2") };
            let result = add(host, &other, &network);
            assert!(addresses(&result)[0] == "10.77.0.51/24" && addresses(&result).len() == 2, "{result}");
            delete(host, &other, &network);
            let other = Container { args: "IP=10.77.0.50".to_string(), ..Container::new("c2") };
            let (code, text) = call(host, "ADD", Some(&other), &network).refused();
            assert_eq!(
                (code, text.as_str()),
                (100, "address 10.77.0.50 of network testnet (10.77.0.0/24): taken by container c1")
            );
            delete(host, &container, &asking);
        }
        for (ip, expected) in [
            ("10.77.0.1", (7, "address 10.77.0.1 of network testnet (10.77.0.0/24): is the gateway's")),
            ("10.77.0.100", (7, "address 10.77.0.100: no range of network testnet has it")),
            ("10.77.0", (4, "CNI_ARGS: IP=10.77.0: is not an address as 10.88.0.5/16")),
        ] {
            container.args = format!("IP={ip}");
            let (code, text) = call(host, "ADD", Some(&container), &network).refused();
            assert_eq!((code, text.as_str()), expected);
        }
    });
}

#[test]
fn static_addresses() {
    on_a_host(|host| {
        let ipam = json!({
            "type": "static",
            "addresses": [{"address": "10.77.0.50/24", "gateway": "10.77.0.9"}, {"address": "fd77::50/64"}],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dns": {"nameservers": ["192.0.2.53"], "search": ["example"]}
        });
        let network = network(ipam);
        let container = Container::new("c1");
        let _server = container.at().serve("c1", Tcp, 80);
        let result = add(host, &container, &network);
        assert_eq!(addresses(&result), ["10.77.0.50/24", "fd77::50/64"]);
        assert_eq!(
            (&result["ips"][0]["gateway"], &result["ips"][1]["gateway"]),
            (&json!("10.77.0.9"), &json!("fd77::1"))
        );
        assert_eq!(
            result["dns"],
            json!({"nameservers": ["192.0.2.53"], "search": ["example"], "options": []})
        );
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.77.0.9/24", "fd77::1/64"]);
        assert!(Standpoint::Host.ask(Tcp, "[fd77::50]:80").starts_with("c1 sees "));
        check(host, &container, &network, &result).ok();
        let (code, text) = call(host, "ADD", Some(&Container::new("c2")), &network).refused();
        assert_eq!(
            (code, text.as_str()),
            (100, "address 10.77.0.50 of network testnet (10.77.0.0/24): taken by container c1")
        );
        delete(host, &container, &network);
    });
}

#[test]
fn static_addresses_that_the_caller_names() {
    on_a_host(|host| {
        let network = network(json!({"type": "static"}));
        let by_args = Container {
            args: "IP=10.77.0.60/24,fd77::60/64;GATEWAY=10.77.0.3".to_string(),
            ..Container::new("c1")
        };
        let result = add(host, &by_args, &network);
        assert_eq!(addresses(&result), ["10.77.0.60/24", "fd77::60/64"]);
        assert_eq!(result["ips"][0]["gateway"], "10.77.0.3");
        let asking = with(&network, json!({"runtimeConfig": {"ips": ["10.77.0.61/24"]}}));
        let other = Container::new("c2");
        assert_eq!(addresses(&add(host, &other, &asking)), ["10.77.0.61/24"]);
        let third = Container::new("c3");
        let asking =
            with(&network, json!({"args": {"cni": {"ips": ["10.77.0.62/24"], "mac": "02:00:00:00:00:62"}}}));
        let result = add(host, &third, &asking);
        assert_eq!(
            (addresses(&result), &result["interfaces"][2]["mac"]),
            (vec!["10.77.0.62/24".to_string()], &json!("02:00:00:00:00:62"))
        );
        let fourth = Container::new("c4");
        assert_eq!(
            call(host, "ADD", Some(&fourth), &network).refused(),
            (7, "ipam.addresses: lists none, and the caller asks for none".to_string())
        );
        assert_eq!(call(host, "STATUS", None, &network).ok(), Value::Null);
        for container in [&by_args, &other, &third] {
            delete(host, container, &network);
        }
    });
}

#[test]
fn hardware_addresses_and_names() {
    on_a_host(|host| {
        let network = network(host_local(json!({"subnet": "10.77.0.0/24"})));
        for (members, args) in [
            (
                json!({"runtimeConfig": {"mac": "C2:11:22:33:44:55"}, "args": {"cni": {"mac": "02:00:00:00:00:01"}}}),
                "MAC=02:00:00:00:00:02",
            ),
            (json!({"args": {"cni": {"mac": "c2:11:22:33:44:55"}}}), "MAC=02:00:00:00:00:02"),
            (json!({}), "MAC=c2:11:22:33:44:55"),
        ] {
            let container = Container { args: args.to_string(), ..Container::new("c1") };
            let network = with(&network, members);
            let result = add(host, &container, &network);
            assert_eq!(result["interfaces"][2]["mac"], "c2:11:22:33:44:55");
            assert_eq!(container.at().link("eth0").address, Some([0xc2, 0x11, 0x22, 0x33, 0x44, 0x55]));
            delete(host, &container, &network);
        }
        fs::write("/run/resolv.conf", "nameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:2\n")
            .unwrap();
        let by_file = json!({"nameservers": ["192.0.2.53"], "search": ["a.example", "b.example"], "options": ["ndots:2"]});
        let own = json!({"nameservers": ["192.0.2.54"], "domain": "example", "search": [], "options": []});
        let by_caller = json!({"servers": ["192.0.2.55"], "searches": ["example"], "options": ["edns0"]});
        let of_caller = json!({"nameservers": ["192.0.2.55"], "search": ["example"], "options": ["edns0"]});
        let container = Container::new("c1");
        let mut network = network.clone();
        for (members, expected) in [
            (json!({}), Value::Null),
            (
                json!({"ipam": host_local(json!({"subnet": "10.77.0.0/24", "resolvConf": "/run/resolv.conf"}))}),
                by_file,
            ),
            (json!({"dns": own}), own.clone()),
            (json!({"runtimeConfig": {"dns": by_caller}}), of_caller),
        ] {
            network = with(&network, members);
            assert_eq!(add(host, &container, &network)["dns"], expected);
            delete(host, &container, &network);
        }
    });
}

/// A plugin that gives addresses: it needs the interface, as dhcp does, and notes how it is called.
fn giver(result: &str) {
    let text = format!(
        r#"echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>/run/calls
        cat >/run/stdin.$CNI_COMMAND
        [ "$CNI_COMMAND" != ADD ] || nsenter --net="$CNI_NETNS" ip link show "$CNI_IFNAME" up >/dev/null || exit 1
        [ "$CNI_COMMAND" != ADD ] || echo '{result}'"#
    );
    script("giver", &text);
}

fn calls() -> String {
    let calls = fs::read_to_string("/run/calls").unwrap_or_default();
    let _ = fs::remove_file("/run/calls");
    calls.lines().collect::<Vec<_>>().join(", ")
}

#[test]
fn another_plugin_gives_addresses() {
    on_a_host(|host| {
        giver(
            r#"{"cniVersion":"1.1.0","ips":[{"address":"10.77.0.70/24","gateway":"10.77.0.1"},{"address":"fd77::70/64"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["192.0.2.53"]}}"#,
        );
        let network = with_ports(
            &network(json!({"type": "giver", "subnet": 7, "ranges": "any"})),
            &[(8080, 80, "tcp")],
        );
        let container = Container::new("c1");
        let _server = container.at().serve("c1", Tcp, 80);
        let result = add(host, &container, &network);
        assert_eq!(calls(), "ADD c1 eth0");
        let stdin: Value = serde_json::from_slice(&fs::read("/run/stdin.ADD").unwrap()).unwrap();
        assert_eq!(stdin, network);
        assert_eq!(addresses(&result), ["10.77.0.70/24", "fd77::70/64"]);
        assert_eq!(
            (&result["ips"][1]["gateway"], &result["ips"][1]["interface"]),
            (&json!("fd77::1"), &json!(2))
        );
        assert_eq!(
            (&result["routes"], &result["dns"]["nameservers"]),
            (&json!([{"dst": "0.0.0.0/0"}]), &json!(["192.0.2.53"]))
        );
        assert_eq!(container.at().addresses("eth0"), ["10.77.0.70/24", "fd77::70/64"]);
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.77.0.1/24", "fd77::1/64"]);
        assert!(Standpoint::Host.ask(Tcp, "127.0.0.1:8080").starts_with("c1 sees "));
        // From its own port back to itself.
        assert!(container.at().ask(Tcp, "10.77.0.1:8080").starts_with("c1 sees "));
        check(host, &container, &network, &result).ok();
        assert_eq!(call(host, "STATUS", None, &network).ok(), Value::Null);
        assert_eq!(
            call(
                host,
                "GC",
                None,
                &with(
                    &network,
                    json!({"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]})
                )
            )
            .ok(),
            Value::Null
        );
        assert_eq!(calls(), "CHECK c1 eth0, STATUS  , GC  ");
        let (code, text) = call(host, "ADD", Some(&Container::new("c2")), &network).refused();
        assert_eq!(
            (code, text.as_str()),
            (100, "address 10.77.0.70 of network testnet (10.77.0.0/24): taken by container c1")
        );
        assert_eq!(calls(), "ADD c2 eth0, DEL c2 eth0");
        delete(host, &container, &network);
        assert_eq!(calls(), "DEL c1 eth0");
    });
}

#[test]
fn a_plugin_that_gives_no_addresses_leaves_nothing() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let network = network(json!({"type": "giver"}));
        let refused = || {
            let (code, text) = call(host, "ADD", Some(&container), &network).refused();
            wait_for_remains();
            assert_eq!(container.at().links().len(), 1);
            (code, text)
        };
        let (code, text) = refused();
        assert!(
            code == 101
                && text.starts_with(
                    "ipam: plugin giver: ADD: no program giver in /run/cni, /usr/lib/cni: install it"
                ),
            "{text}"
        );
        giver(r#"{"cniVersion":"1.1.0","ips":[]}"#);
        assert_eq!(refused(), (7, "ipam: its plugin has given no address".to_string()));
        assert_eq!(calls(), "ADD c1 eth0, DEL c1 eth0");
        giver("rubbish");
        let (code, text) = refused();
        assert!(
            code == 7 && text.starts_with("ipam: plugin giver: ADD: its result: line 1, column 1"),
            "{text}"
        );
        script("giver", r#"echo '{"code": 11, "msg": "wait", "details": "a moment"}'; exit 1"#);
        let (code, text) = refused();
        assert!(
            code == 11 && text.starts_with("ipam: plugin giver: ADD: wait: a moment (code 11)"),
            "{text}"
        );
    });
}
