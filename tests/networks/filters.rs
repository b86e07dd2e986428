//! Packet filters of others on the same host: what is forwarded passes, and nothing of theirs is changed for good.

use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Family, Hook, MetaKey, Policy, Rule, Socket, Table, Value, Verdict,
    priority,
};
use serde_json::json;

use crate::connected::{Connected, bridged, socket};
use crate::host::on_a_host;
use crate::inventory::{Inventory, assert_same};
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::rules::rules;
use crate::traffic::{Protocol, Tcp, Udp, ask_in_vain};

/// Makes chains that drop what is forwarded, in those tables; with `users`, a chain of that name is asked first.
fn drop_forwarded(tables: &[Table], chain: &str, users: Option<&str>) {
    let base =
        Base { policy: Some(Policy::Drop), ..Base::new(ChainKind::Filter, Hook::Forward, priority::FILTER) };
    let mut batch = Batch::new();
    for table in tables {
        batch.add_table(table).expect("table");
        batch.add_chain(table, &Chain::based(chain, base.clone())).expect("chain");
        if let Some(users) = users {
            let jump = Rule::new(chain).counted().verdict(Verdict::Jump(users.to_string()));
            batch.add_chain(table, &Chain::new(users)).expect("chain");
            batch.add_rule(table, &jump).expect("rule");
        }
    }
    Socket::open().and_then(|mut socket| socket.commit(&batch)).expect("nf_tables");
}

/// The tables of iptables and ip6tables.
fn of_iptables() -> [Table; 2] {
    [Family::Ip, Family::Ip6].map(|family| Table::new(family, "filter"))
}

#[test]
fn what_iptables_drops_passes_from_and_to_containers() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _outside = Protocol::ALL.map(|protocol| outside.at().serve("outside", protocol, 81));
        for users in [None, Some("DOCKER-USER")] {
            drop_forwarded(&of_iptables(), "FORWARD", users);
            let before = Inventory::take();
            let container = Connected::started(host, &bridged(&["8080:80", "8080:80/udp", "8080:80/sctp"]));
            for protocol in Protocol::ALL {
                let server = container.at().serve("web", protocol, 80);
                for (far, near) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
                    let said = container.at().ask(protocol, &socket(far, 81));
                    assert_eq!(said, format!("outside sees {near}"), "{protocol:?} {users:?}");
                    let said = outside.at().ask(protocol, &socket(near, 8080));
                    assert_eq!(said, format!("web sees {far}"), "{protocol:?} {users:?}");
                }
                drop(server);
            }
            // Once, however many containers there are.
            let with_one = rules();
            Connected::started(host, &bridged(&[])).remove();
            assert_eq!(rules().len(), with_one.len());
            container.remove();
            assert_eq!(host.net(&["rm", "pillbox0"]), "");
            assert_same("rule", &rules(), &before.rules);
        }
    });
}

#[test]
fn nobody_is_cut_off_when_it_drops_later() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _outside = outside.at().serve("outside", Tcp, 81);
        let container = Connected::started(host, &bridged(&["8080:80"]));
        let _server = container.at().serve("web", Tcp, 80);
        let neighbour = Connected::started(host, &bridged(&[]));
        // As ufw does.
        drop_forwarded(&of_iptables(), "FORWARD", None);
        host.with_and_without_bridge_netfilter(|how| {
            for (is_v4, far, near) in [(true, OUTSIDE_4, HOST_4), (false, OUTSIDE_6, HOST_6)] {
                assert_eq!(
                    container.at().ask(Tcp, &socket(far, 81)),
                    format!("outside sees {near}"),
                    "{how}"
                );
                assert_eq!(outside.at().ask(Tcp, &socket(near, 8080)), format!("web sees {far}"), "{how}");
                let said = neighbour.at().ask(Tcp, &socket(&container.address(is_v4), 80));
                assert_eq!(said, format!("web sees {}", neighbour.address(is_v4)), "{how}");
            }
        });
    });
}

/// A pair of the host's `pair0` with a published port.
fn pair() -> serde_json::Value {
    let interface = json!({
        "name": "pair0", "ips": ["10.90.0.1/30", "fd00:90::1/64"],
        "peer_ips": ["10.90.0.2/30", "fd00:90::2/64"],
        "routes": [{"subnet": "0.0.0.0/0", "gateway": "10.90.0.1"}, {"subnet": "::/0", "gateway": "fd00:90::1"}],
        "ports": ["8081:80", "8081:80/udp"]
    });
    json!({"interfaces": [interface]})
}

#[test]
fn what_iptables_drops_passes_to_the_ports_of_plain_pairs() {
    on_a_host(|host| {
        let outside = Machine::outside();
        drop_forwarded(&of_iptables(), "FORWARD", None);
        // A table of ours is there all the time.
        let bridged = Connected::started(host, &bridged(&[]));
        let before = rules();
        let container = Connected::started(host, &pair());
        let server = container.at().serve("web", Tcp, 80);
        for (far, near) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
            assert_eq!(outside.at().ask(Tcp, &socket(near, 8081)), format!("web sees {far}"));
        }
        drop(server);
        container.remove();
        assert_same("rule", &rules(), &before);
        // Without ports there is nothing to be let in.
        let mut without = pair();
        without["interfaces"][0]["ports"] = json!([]);
        let container = Connected::started(host, &without);
        assert_same("rule", &rules(), &before);
        container.remove();
        bridged.remove();
    });
}

#[test]
fn a_plain_pair_alone_is_mended() {
    on_a_host(|host| {
        let outside = Machine::outside();
        drop_forwarded(&of_iptables(), "FORWARD", None);
        let container = Connected::started(host, &pair());
        let _server = container.at().serve("web", Tcp, 80);
        let whole = rules();
        let nft = |arguments: &[&str]| {
            let status = std::process::Command::new("nft").args(arguments).status().expect("nft");
            assert!(status.success(), "nft {arguments:?}");
        };
        let damage: [(&dyn Fn(), &str); 3] = [
            (
                &|| nft(&["flush", "chain", "ip", "filter", "FORWARD"]),
                "are missing in the chains of iptables",
            ),
            (&|| nft(&["delete", "table", "inet", "pillbox"]), "table inet pillbox is missing"),
            (&|| host.set("net/ipv4/ip_forward", "0"), "the host does not forward IPv4 packets"),
        ];
        for (damage, problem) in damage {
            damage();
            let checked = host.runtime.command().args(["net", "check"]).output().expect("pillbox");
            let said = String::from_utf8_lossy(&checked.stdout).into_owned();
            assert!(said.contains(problem) && checked.status.code() == Some(1), "{said}");
            assert_ne!(host.net(&["gc"]), "");
            assert_eq!(host.net(&["check"]), "");
            assert_same("rule", &rules(), &whole);
            assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8081)), format!("web sees {OUTSIDE_4}"));
        }
        container.remove();
    });
}

#[test]
fn the_ports_of_a_plain_pair_need_a_host_that_forwards() {
    on_a_host(|host| {
        host.set("net/ipv4/ip_forward", "0");
        let container = Connected::new(host, &pair());
        let said = "pillbox: warning: interface eth0: the host forwards IPv4 packets from now on";
        assert_eq!(container.create().error_lines(), [said]);
        assert_eq!(host.setting("net/ipv4/ip_forward"), "1");
        container.delete_force().ok();
    });
}

/// What `iptables -F FORWARD` does.
fn flush_forward() {
    let mut batch = Batch::new();
    for table in of_iptables() {
        batch.flush_chain(&table, "FORWARD").expect("chain");
    }
    Socket::open().and_then(|mut socket| socket.commit(&batch)).expect("nf_tables");
}

#[test]
fn a_flushed_chain_of_iptables_is_put_right_for_all_by_the_next_container() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _outside = outside.at().serve("outside", Tcp, 81);
        drop_forwarded(&of_iptables(), "FORWARD", None);
        let far = json!({"model": {"type": "bridge", "bridge_name": "far0"}, "interfaces": [{}]});
        let far = Connected::started(host, &far);
        let paired = Connected::started(host, &pair());
        let _server = paired.at().serve("web", Tcp, 80);
        let near = Connected::started(host, &bridged(&[]));
        let before = rules();
        let reach = || {
            assert_eq!(far.at().ask(Tcp, &socket(OUTSIDE_4, 81)), format!("outside sees {HOST_4}"));
            assert_eq!(near.at().ask(Tcp, &socket(OUTSIDE_6, 81)), format!("outside sees {HOST_6}"));
            assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8081)), format!("web sees {OUTSIDE_4}"));
        };
        reach();
        flush_forward();
        let lines: Vec<String> = host.net(&["check"]).lines().map(String::from).collect();
        assert!(
            lines.len() == 3 && lines.iter().all(|line| line.contains("are missing in the chains")),
            "{lines:#?}"
        );
        ask_in_vain(&[(far.at(), socket(OUTSIDE_4, 81)), (outside.at(), socket(HOST_4, 8081))]);
        // On the bridge that is there, without a witness of anybody's.
        Connected::started(host, &bridged(&[])).remove();
        reach();
        assert_eq!(host.net(&["check"]), "");
        flush_forward();
        let mended = host.net(&["gc"]);
        assert_eq!(mended.matches("others' chains let its packets pass again").count(), 3, "{mended}");
        reach();
        assert_same("rule", &rules(), &before);
    });
}

#[test]
fn what_others_deny_is_denied() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let others = [Tcp, Udp].map(|protocol| outside.at().serve("outside", protocol, 81));
        drop_forwarded(&of_iptables(), "FORWARD", Some("DOCKER-USER"));
        let container = Connected::started(host, &bridged(&["8080:80", "8080:80/udp"]));
        let servers = [Tcp, Udp].map(|protocol| container.at().serve("web", protocol, 80));
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
        // Whoever comes from outside by IPv4, and whoever goes there by IPv6, in chains that iptables asks first.
        let mut batch = Batch::new();
        let [v4, v6] = of_iptables();
        let from = Rule::new("DOCKER-USER").meta_is(MetaKey::IncomingName, Value::text("out0")).drop();
        let to = Rule::new("DOCKER-USER").meta_is(MetaKey::OutgoingName, Value::text("out0")).drop();
        batch.add_rule(&v4, &from).expect("rule");
        batch.add_rule(&v6, &to).expect("rule");
        Socket::open().and_then(|mut socket| socket.commit(&batch)).expect("nf_tables");
        ask_in_vain(&[(outside.at(), socket(HOST_4, 8080)), (container.at(), socket(OUTSIDE_6, 81))]);
        assert_eq!(host.net(&["check"]), "");
        drop((servers, others));
    });
}

#[test]
fn a_filter_that_drops_all_the_same_is_named() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        drop_forwarded(&[Table::new(Family::Inet, "theirs")], "forward", None);
        let before = rules();
        let container = Connected::new(host, &bridged(&[]));
        let created = container.create();
        let said = "pillbox: warning: link pillbox0: chain inet theirs forward drops what is forwarded: \
                    let it accept packets from and to pillbox0";
        assert_eq!((created.code, created.error_lines()), (0, vec![said]));
        container.delete_force().ok();
        let found = host.net(&["check"]);
        assert!(found.contains("chain inet theirs forward drops what is forwarded"), "{found}");
        assert_eq!(host.net(&["rm", "pillbox0"]), "");
        assert_same("rule", &rules(), &before);
    });
}

#[test]
fn a_network_without_ipv6_lacks_nothing_when_another_one_has_it() {
    on_a_host(|host| {
        let model = json!({"type": "bridge", "bridge_name": "br4", "subnets": ["10.90.0.0/24"]});
        let netconf = json!({"model": model, "interfaces": [{}]});
        let four = Connected::started(host, &netconf);
        let both = Connected::started(host, &bridged(&[]));
        assert_eq!(host.net(&["check"]), "");
        [four, both].into_iter().for_each(Connected::remove);
    });
}
