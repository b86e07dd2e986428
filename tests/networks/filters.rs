//! Packet filters of others on the same host: what is forwarded passes, and nothing of theirs is changed for good.

use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Family, Hook, Policy, Rule, Socket, Table, Verdict, priority,
};
use serde_json::json;

use crate::connected::{Connected, bridged, socket};
use crate::host::on_a_host;
use crate::inventory::{Inventory, assert_same};
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::rules::rules;
use crate::traffic::{Protocol, Tcp};

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
