//! ADD, CHECK and DEL of containers, and what they reach meanwhile.

use std::thread;

use serde_json::{Value, json};

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::{link, route};

use crate::host::on_a_host;
use crate::inventory::Inventory;
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::plugin::{
    Container, add, addresses, call, check, command, delete, network, run, wait_for_remains, with, with_ports,
};
use crate::standpoint::{Standpoint, ip};
use crate::traffic::{Tcp, Udp, ask_in_vain};

#[test]
fn a_container_reaches_the_outside_and_its_ports_are_reached() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _outside_server = outside.at().serve("outside", Tcp, 81);
        let container = Container::new("c1");
        let _server = container.at().serve("c1", Tcp, 80);
        let _server_udp = container.at().serve("c1", Udp, 53);
        let network = with_ports(&network(), &[(8080, 80, "tcp"), (5353, 53, "udp")]);
        add(host, &container, &network);
        // Outwards with the host's address.
        for (to, host) in [(format!("{OUTSIDE_4}:81"), HOST_4), (format!("[{OUTSIDE_6}]:81"), HOST_6)] {
            assert_eq!(container.at().ask(Tcp, &to), format!("outside sees {host}"));
        }
        // Inwards with the client's.
        for (host, client) in [(HOST_4.to_string(), OUTSIDE_4), (format!("[{HOST_6}]"), OUTSIDE_6)] {
            assert_eq!(outside.at().ask(Tcp, &format!("{host}:8080")), format!("c1 sees {client}"));
            assert_eq!(outside.at().ask(Udp, &format!("{host}:5353")), format!("c1 sees {client}"));
        }
        for local in ["127.0.0.1", "[::1]", HOST_4] {
            assert!(Standpoint::Host.ask(Tcp, &format!("{local}:8080")).starts_with("c1 sees "), "{local}");
        }
        // And by itself, on its own loopback too, which nobody else has set up.
        assert!(container.at().ask(Tcp, "10.77.0.1:8080").starts_with("c1 sees "));
        assert_eq!(container.at().ask(Tcp, "127.0.0.1:80"), "c1 sees 127.0.0.1");
        delete(host, &container, &network);
        assert_eq!(outside.at().ask(Tcp, &format!("{HOST_4}:8080")), "refused");
    });
}

#[test]
fn containers_of_one_bridge_reach_each_other_and_those_of_two_do_not() {
    on_a_host(|host| {
        let (one, other, far) = (Container::new("c1"), Container::new("c2"), Container::new("c3"));
        let elsewhere = |members: Value| {
            let mut other = with(&network(), json!({"name": "elsewhere", "bridge": "test1"}));
            other["ipam"]["ranges"] = json!([[{"subnet": "10.78.0.0/24"}]]);
            other["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
            with(&other, members)
        };
        let _server = one.at().serve("c1", Tcp, 80);
        add(host, &one, &network());
        add(host, &other, &network());
        assert_eq!(other.at().ask(Tcp, "10.77.0.2:80"), "c1 sees 10.77.0.3");
        assert_eq!(other.at().ask(Tcp, "[fd77::2]:80"), "c1 sees fd77::3");
        add(host, &far, &elsewhere(json!({})));
        ask_in_vain(&[(far.at(), "10.77.0.2:80".to_string())]);
        delete(host, &far, &elsewhere(json!({})));
        host.net(&["rm", "elsewhere"]);
        // Both must want it.
        add(host, &far, &elsewhere(json!({"isolated": false})));
        ask_in_vain(&[(far.at(), "10.77.0.2:80".to_string())]);
        delete(host, &one, &network());
        delete(host, &other, &network());
        host.net(&["rm", "testnet"]);
        let open = with(&network(), json!({"isolated": false}));
        let address = addresses(&add(host, &one, &open))[0].replace("/24", ":80");
        assert!(far.at().ask(Tcp, &address).starts_with("c1 sees "));
        delete(host, &one, &open);
        delete(host, &far, &elsewhere(json!({"isolated": false})));
    });
}

/// As with the reference plugins: nodes of a cluster route containers' addresses to each other.
#[test]
fn who_has_a_route_reaches_a_container() {
    on_a_host(|host| {
        let outside = Machine::outside();
        outside.route("10.77.0.0/24", HOST_4);
        let container = Container::new("c1");
        let _server = container.at().serve("c1", Tcp, 80);
        add(host, &container, &network());
        assert_eq!(outside.at().ask(Tcp, "10.77.0.2:80"), format!("c1 sees {OUTSIDE_4}"));
        delete(host, &container, &network());
    });
}

#[test]
fn delete_leaves_nothing_and_can_be_repeated() {
    on_a_host(|host| {
        let network = with_ports(&network(), &[(8080, 80, "tcp"), (5353, 53, "udp")]);
        let container = Container::new("c1");
        add(host, &container, &network);
        delete(host, &container, &network);
        wait_for_remains();
        let before = Inventory::take();
        let inside = container.at().links().len();
        for prev_result in [true, false] {
            let result = add(host, &container, &network);
            let told =
                if prev_result { with(&network, json!({"prevResult": result})) } else { network.clone() };
            delete(host, &container, &told);
            // At once, for whoever looks by the name.
            assert!(container.at().links().iter().all(|link| link.name != "eth0"));
            wait_for_remains();
            before.is_back();
            assert_eq!(container.at().links().len(), inside);
            delete(host, &container, &told);
        }
        // Of what was never there, and without anything having been there.
        delete(host, &Container::new("never"), &network);
        std::fs::remove_dir_all("/run/pillbox").unwrap();
        delete(host, &container, &network);
    });
}

#[test]
fn delete_needs_no_namespace() {
    on_a_host(|host| {
        let network = with_ports(&network(), &[(8080, 80, "tcp")]);
        let container = Container::new("c1");
        add(host, &container, &network);
        delete(host, &container, &network);
        wait_for_remains();
        let before = Inventory::take();
        // The variable is missing, the namespace is there.
        add(host, &container, &network);
        let mut call = command(host, "DEL", Some(&container));
        run(call.env_remove("CNI_NETNS"), &network.to_string()).ok();
        wait_for_remains();
        before.is_back();
        // The namespace is gone.
        let gone = Container::new("c2");
        add(host, &gone, &network);
        let Container { machine, id, interface, args } = gone;
        let mut call = command(host, "DEL", None);
        call.env("CNI_CONTAINERID", id).env("CNI_IFNAME", interface).env("CNI_ARGS", args);
        call.env("CNI_NETNS", machine.namespace());
        drop(machine);
        run(&mut call, &network.to_string()).ok();
        before.is_back();
    });
}

#[test]
fn a_container_can_be_added_again_at_once() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let _server = container.at().serve("c1", Tcp, 80);
        for _ in 0..10 {
            let result = add(host, &container, &network());
            let address = addresses(&result)[0].replace("/24", ":80");
            assert!(Standpoint::Host.ask(Tcp, &address).starts_with("c1 sees "), "{result}");
            check(host, &container, &network(), &result).ok();
            delete(host, &container, &network());
        }
    });
}

#[test]
fn what_is_attached_is_not_attached_again() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let result = add(host, &container, &network());
        let (code, text) = call(host, "ADD", Some(&container), &network()).refused();
        assert_eq!(
            (code, text.as_str()),
            (100, "container c1: it is connected already: disconnect it first")
        );
        // It has done no harm.
        check(host, &container, &network(), &result).ok();
        // Another interface is another attachment.
        let mut second = Container { interface: "net1", ..Container::new("c2") };
        second.machine = container.machine;
        second.id = "c1".to_string();
        let mut other = network();
        other["ipam"].as_object_mut().unwrap().remove("routes");
        let result = add(host, &second, &other);
        assert_eq!(addresses(&result)[0], "10.77.0.3/24");
        delete(host, &second, &other);
        let container = Container { machine: second.machine, ..Container::new("c1") };
        assert_eq!(container.at().addresses("eth0"), ["10.77.0.2/24", "fd77::2/64"]);
        delete(host, &container, &network());
        // The same id in another namespace is another container: the first one is over.
        add(host, &container, &network());
        let again = Container::new("c1");
        add(host, &again, &network());
        delete(host, &again, &network());
    });
}

#[test]
fn an_interface_that_is_there_is_no_more_than_that() {
    on_a_host(|host| {
        let container = Container::new("c1");
        add(host, &container, &network());
        delete(host, &container, &network());
        wait_for_remains();
        let before = Inventory::take();
        container.machine.connect("cable0", &[]);
        let (code, text) = call(host, "ADD", Some(&container), &network()).refused();
        assert_eq!(
            (code, text.as_str()),
            (100, "interface eth0: the network namespace has a link of that name or its index")
        );
        let links = Standpoint::Host.links();
        assert!(
            links.iter().any(|link| link.name == "cable0")
                && !links.iter().any(|link| link.name.starts_with("veth"))
        );
        Standpoint::Host.socket().request(&[link::delete("cable0").unwrap()]).unwrap();
        before.is_back();
    });
}

#[test]
fn check_finds_what_has_changed() {
    on_a_host(|host| {
        let network = with_ports(&network(), &[(8080, 80, "tcp")]);
        let container = Container::new("c1");
        let result = add(host, &container, &network);
        let refused = || check(host, &container, &network, &result).refused();
        check(host, &container, &network, &result).ok();
        let index = container.at().link("eth0").index;
        let own = Address { ip: ip("fd77::2"), prefix: 64 };
        let change = |message| container.at().socket().request(&[message]).unwrap();
        change(link::set_down(index).unwrap());
        assert_eq!(refused(), (101, "interface eth0: it is down".to_string()));
        change(link::set_up(index).unwrap());
        // Setting it down has taken its IPv6 addresses and its routes.
        assert_eq!(refused(), (101, "interface eth0: it has not the address fd77::2/64".to_string()));
        change(address::add(index, own).unwrap());
        assert_eq!(refused(), (101, "interface eth0: its route to 0.0.0.0/0 is gone".to_string()));
        change(route::add(&route::Route::default_via(ip("10.77.0.1"))).unwrap());
        change(route::add(&route::Route::default_via(ip("fd77::1"))).unwrap());
        check(host, &container, &network, &result).ok();
        change(link::set_address(index, [2, 0, 0, 0, 0, 9]).unwrap());
        assert_eq!(
            refused(),
            (
                101,
                "interface eth0: its hardware address is 02:00:00:00:00:09, not 02:50:0a:4d:00:02"
                    .to_string()
            )
        );
        // What a plugin behind it has changed is in the result.
        let mut changed = result.clone();
        changed["interfaces"][2]["mac"] = json!("02:00:00:00:00:09");
        changed["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        check(host, &container, &network, &changed).ok();
        change(route::delete(&route::Route::default_via(ip("fd77::1"))).unwrap());
        check(host, &container, &network, &changed).ok();
        let host_end = result["interfaces"][1]["name"].as_str().unwrap();
        Standpoint::Host.socket().request(&[link::clear_master(host_end).unwrap()]).unwrap();
        let (code, text) = check(host, &container, &network, &changed).refused();
        assert_eq!(
            (code, text),
            (101, format!("interface eth0: its host's end {host_end} is no port of bridge test0, or down"))
        );
        Standpoint::Host
            .socket()
            .request(&[link::set_master(host_end, Standpoint::Host.link("test0").index).unwrap()])
            .unwrap();
        crate::plugin::output("nft", &["flush", "map", "inet", "pillbox", "ports4"]);
        assert_eq!(
            check(host, &container, &network, &changed).refused(),
            (101, "port 8080/tcp: it is not published any more".to_string())
        );
        crate::plugin::output("nft", &["flush", "ruleset"]);
        assert_eq!(
            check(host, &container, &network, &changed).refused(),
            (101, "nf_tables: table inet pillbox: somebody has flushed it".to_string())
        );
        host.net(&["gc"]);
        check(host, &container, &network, &changed).ok();
        // Of a container that is not there.
        let (code, text) = check(host, &Container::new("c2"), &network, &changed).refused();
        assert_eq!((code, text.as_str()), (3, "container c2: eth0 is not connected to network testnet"));
        let (code, text) = call(host, "CHECK", Some(&container), &network).refused();
        assert_eq!((code, text.as_str()), (7, "prevResult: missing: CHECK needs what ADD has resulted in"));
        delete(host, &container, &network);
    });
}

#[test]
fn fifty_at_once_have_an_address_each() {
    on_a_host(|host| {
        let containers: Vec<Container> =
            (0..50).map(|number| Container::new(&format!("c{number}"))).collect();
        let results: Vec<Value> = thread::scope(|scope| {
            let adding: Vec<_> = containers
                .iter()
                .map(|container| scope.spawn(move || call(host, "ADD", Some(container), &network())))
                .collect();
            adding.into_iter().map(|adding| adding.join().unwrap().ok()).collect()
        });
        let mut all: Vec<String> = results.iter().flat_map(addresses).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 100, "{all:?}");
        for (container, result) in containers.iter().zip(&results) {
            check(host, container, &network(), result).ok();
        }
        assert_eq!(host.net(&["check"]), "");
        thread::scope(|scope| {
            for container in &containers {
                scope.spawn(move || delete(host, container, &network()));
            }
        });
        wait_for_remains();
        assert_eq!(Standpoint::Host.links().len(), 2, "the loopback and the bridge");
        let list: Value = serde_json::from_str(&host.net(&["list", "--format", "json"])).unwrap();
        assert_eq!(list["attachments"], json!([]));
    });
}

#[test]
fn the_loopback_alone_is_set_up() {
    on_a_host(|host| {
        let network = json!({"cniVersion": "1.0.0", "name": "lo", "type": "pillbox-net"});
        let container = Container { interface: "lo", ..Container::new("c1") };
        let lo = container.at().link("lo").index;
        container.at().socket().request(&[link::set_down(lo).unwrap()]).unwrap();
        let result = add(host, &container, &network);
        assert_eq!(addresses(&result), ["127.0.0.1/8", "::1/128"]);
        assert_eq!(
            result["interfaces"],
            json!([{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": container.machine.namespace()}])
        );
        check(host, &container, &network, &result).ok();
        delete(host, &container, &network);
        assert!(!container.at().link("lo").is_up());
        assert_eq!(
            check(host, &container, &network, &result).refused(),
            (101, "interface lo: it is down".to_string())
        );
        // Behind another plugin its result is added.
        let before = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "x"}], "ips": [], "routes": []});
        let result = add(host, &container, &with(&network, json!({"prevResult": before})));
        assert_eq!(
            (&result["interfaces"][0]["name"], &result["ips"][0]["interface"]),
            (&json!("x"), &json!(1))
        );
        // The host's own is nobody's.
        let mut own = command(host, "DEL", Some(&container));
        run(own.env("CNI_NETNS", "/proc/self/ns/net"), &network.to_string()).ok();
        assert!(Standpoint::Host.link("lo").is_up());
    });
}
