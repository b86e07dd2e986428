//! Networks that share a bridge, or have subnets of others.

use serde_json::{Value, json};

use crate::host::on_a_host;
use crate::inventory::Inventory;
use crate::machine::{HOST_4, Machine, OUTSIDE_4};
use crate::plugin::{Container, add, addresses, call, delete, wait_for_remains, with_ports};
use crate::standpoint::Standpoint;
use crate::traffic::Tcp;

fn network(name: &str, bridge: &str, ranges: Value) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": name, "type": "pillbox-net", "bridge": bridge, "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    })
}

#[test]
fn two_networks_share_a_bridge() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        let one = network("one", "test0", json!([[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]]));
        let two = network("two", "test0", json!([[{"subnet": "10.78.0.0/24"}], [{"subnet": "fd78::/64"}]]));
        let (first, second) = (Container::new("c1"), Container::new("c2"));
        let _first = first.at().serve("c1", Tcp, 80);
        add(host, &first, &one);
        delete(host, &first, &one);
        wait_for_remains();
        let alone = Inventory::take();
        let address = addresses(&add(host, &first, &one))[0].replace("/24", ":80");
        add(host, &second, &two);
        let mut all = Standpoint::Host.addresses("test0");
        all.sort();
        assert_eq!(all, ["10.77.0.1/24", "10.78.0.1/24", "fd77::1/64", "fd78::1/64"]);
        for container in [&first, &second] {
            assert_eq!(container.at().ask(Tcp, &format!("{OUTSIDE_4}:81")), format!("outside sees {HOST_4}"));
        }
        // They are on one bridge, though not on one subnet.
        assert!(second.at().ask(Tcp, &address).starts_with("c1 sees "));
        assert_eq!(host.net(&["check"]), "");
        delete(host, &second, &two);
        delete(host, &first, &one);
        host.net(&["rm", "two"]);
        wait_for_remains();
        alone.is_back();
        // The first one may go first.
        add(host, &second, &two);
        delete(host, &second, &two);
        host.net(&["rm", "one"]);
        add(host, &second, &two);
        assert_eq!(Standpoint::Host.addresses("test0"), ["10.78.0.1/24", "fd78::1/64"]);
        assert_eq!(second.at().ask(Tcp, &format!("{OUTSIDE_4}:81")), format!("outside sees {HOST_4}"));
        delete(host, &second, &two);
        host.net(&["rm", "two"]);
        assert!(Standpoint::Host.links().iter().all(|link| link.name != "test0"));
    });
}

#[test]
fn two_networks_share_a_subnet_if_they_give_different_addresses() {
    on_a_host(|host| {
        let range = |first: &str, last: &str| json!([[{"subnet": "10.77.0.0/24", "rangeStart": first, "rangeEnd": last}]]);
        let one = network("one", "test0", range("10.77.0.10", "10.77.0.99"));
        let two = network("two", "test0", range("10.77.0.100", "10.77.0.199"));
        let wrong = network("wrong", "test0", range("10.77.0.50", "10.77.0.120"));
        let elsewhere = network("elsewhere", "test1", range("10.77.0.200", "10.77.0.210"));
        let (first, second) = (Container::new("c1"), Container::new("c2"));
        let _first = first.at().serve("c1", Tcp, 80);
        assert_eq!(addresses(&add(host, &first, &one)), ["10.77.0.10/24"]);
        assert_eq!(addresses(&add(host, &second, &two)), ["10.77.0.100/24"]);
        assert_eq!(second.at().ask(Tcp, "10.77.0.10:80"), "c1 sees 10.77.0.100");
        let third = Container::new("c3");
        for (network, name) in [(wrong, "wrong"), (elsewhere, "elsewhere")] {
            let (code, text) = call(host, "ADD", Some(&third), &network).refused();
            let expected = format!(
                "network {name}: subnet 10.77.0.0/24 overlaps with network one (10.77.0.0/24): choose another one"
            );
            assert_eq!((code, text), (100, expected));
        }
        delete(host, &first, &one);
        delete(host, &second, &two);
    });
}

#[test]
fn networks_on_one_bridge_agree_on_isolation() {
    on_a_host(|host| {
        let one = network("one", "test0", json!([[{"subnet": "10.77.0.0/24"}]]));
        let mut two = network("two", "test0", json!([[{"subnet": "10.78.0.0/24"}]]));
        two["isolated"] = json!(false);
        let container = Container::new("c1");
        add(host, &container, &one);
        let (code, text) = call(host, "ADD", Some(&Container::new("c2")), &two).refused();
        let expected = "network two: isolated is false, but network one has the same bridge test0, where it is true: they must agree";
        assert_eq!((code, text.as_str()), (7, expected));
        delete(host, &container, &one);
    });
}

#[test]
fn a_subnet_of_the_hosts_is_refused_but_not_a_way_to_more() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let container = Container::new("c1");
        let within = network("one", "test0", json!([[{"subnet": "192.0.2.0/25"}]]));
        let (code, text) = call(host, "ADD", Some(&container), &within).refused();
        let expected = "network one: subnet 192.0.2.0/25 overlaps with the host's route to 192.0.2.0/24: choose another one";
        assert_eq!((code, text.as_str()), (100, expected));
        crate::plugin::output("ip", &["route", "add", "10.0.0.0/8", "via", OUTSIDE_4]);
        let free = network("one", "test0", json!([[{"subnet": "10.77.0.0/24"}]]));
        add(host, &container, &free);
        delete(host, &container, &free);
        drop(outside);
    });
}

#[test]
fn a_network_gets_more_subnets() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        let one = network("one", "test0", json!([[{"subnet": "10.77.0.0/24"}]]));
        let (first, second) = (Container::new("c1"), Container::new("c2"));
        add(host, &first, &one);
        // As a capability argument may say for one container.
        let mut more = with_ports(&one, &[(8080, 80, "tcp")]);
        more["runtimeConfig"]["ipRanges"] = json!([[{"subnet": "10.78.0.0/24"}], [{"subnet": "fd78::/64"}]]);
        let result = add(host, &second, &more);
        assert_eq!(addresses(&result), ["10.78.0.2/24", "fd78::2/64", "10.77.0.3/24"]);
        let mut all = Standpoint::Host.addresses("test0");
        all.sort();
        assert_eq!(all, ["10.77.0.1/24", "10.78.0.1/24", "fd78::1/64"]);
        assert_eq!(second.at().ask(Tcp, &format!("{OUTSIDE_4}:81")), format!("outside sees {HOST_4}"));
        assert_eq!(host.net(&["check"]), "");
        delete(host, &first, &one);
        delete(host, &second, &more);
    });
}

#[test]
fn netconf_and_the_plugin_do_not_take_each_others_for_theirs() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let one = network("one", "test0", json!([[{"subnet": "10.77.0.0/24"}]]));
        add(host, &container, &one);
        // The name of netconf.json's networks is that of their bridge.
        let other = network("one", "test1", json!([[{"subnet": "10.78.0.0/24"}]]));
        let (code, text) = call(host, "ADD", Some(&Container::new("c2")), &other).refused();
        let expected = "network one: its bridge is test0, not test1: use another name, or remove it (pillbox net rm one)";
        assert_eq!((code, text.as_str()), (7, expected));
        let list: Value = serde_json::from_str(&host.net(&["list", "--format", "json"])).unwrap();
        let attachment = &list["attachments"][0];
        assert_eq!((&attachment["attachment"]["owner"], &attachment["alive"]), (&json!("c1"), &json!(true)));
        delete(host, &container, &one);
    });
}
