//! firewalld on the same host, which rejects what comes from links in none of its zones.

use crate::connected::{Connected, bridged, socket};
use crate::firewalld::Firewalld;
use crate::host::{Host, on_a_host};
use crate::inventory::{Inventory, assert_same};
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::rules::rules;
use crate::traffic::{Server, Tcp};

const REJECTED: &str = "network pillbox0: firewalld has its bridge pillbox0 in no zone, and rejects its packets: it has \
                        reloaded (pillbox net gc)\n";

/// A server outside, and what its clients see.
fn outside(machine: &Machine) -> Server {
    machine.at().serve("outside", Tcp, 81)
}

#[track_caller]
fn assert_passes(container: &Connected<'_>, machine: &Machine) {
    for (far, near) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
        assert_eq!(container.at().ask(Tcp, &socket(far, 81)), format!("outside sees {near}"));
        assert_eq!(machine.at().ask(Tcp, &socket(near, 8080)), format!("web sees {far}"));
    }
}

fn trusted(links: &[&str]) -> Vec<(String, String)> {
    links.iter().map(|link| (link.to_string(), "trusted".to_string())).collect()
}

#[test]
fn a_bridge_is_trusted_as_long_as_its_network_is_there() {
    on_a_host(|host| {
        let machine = Machine::outside();
        let _outside = outside(&machine);
        let firewalld = Firewalld::start();
        firewalld.put("out0", "public");
        let (before, zones) = (rules(), firewalld.zones());
        let container = Connected::started(host, &bridged(&["8080:80"]));
        let _server = container.at().serve("web", Tcp, 80);
        assert_passes(&container, &machine);
        assert_eq!(firewalld.zones()[1..], trusted(&["pillbox0"]));
        // The next one does not ask.
        let clients = firewalld.clients();
        Connected::started(host, &bridged(&[])).remove();
        assert_eq!(firewalld.clients(), clients);
        assert_eq!(host.net(&["check"]), "");
        drop(_server);
        container.remove();
        assert_eq!(host.net(&["rm", "pillbox0"]), "");
        assert_eq!(firewalld.zones(), zones);
        assert_same("rule", &rules(), &before);
    });
}

#[test]
fn what_it_has_forgotten_it_is_asked_for_again() {
    on_a_host(|host| {
        let machine = Machine::outside();
        let _outside = outside(&machine);
        let started_before = Connected::started(host, &bridged(&["8080:80"]));
        let far = serde_json::json!({"model": {"type": "bridge", "bridge_name": "far0"}, "interfaces": [{}]});
        let far = Connected::started(host, &far);
        let _server = started_before.at().serve("web", Tcp, 80);
        // It is started when containers run.
        let firewalld = Firewalld::start();
        let cut_off = |host: &Host| {
            assert_eq!(started_before.at().ask(Tcp, &socket(OUTSIDE_4, 81)), "unreachable");
            let found = host.net(&["check"]);
            assert!(found.contains(REJECTED) && found.lines().count() == 2, "{found}");
        };
        cut_off(host);
        let next = Connected::started(host, &bridged(&[]));
        // All bridges, whichever the next container is on.
        assert_passes(&started_before, &machine);
        assert_eq!(far.at().ask(Tcp, &socket(OUTSIDE_4, 81)), format!("outside sees {HOST_4}"));
        assert_eq!(host.net(&["check"]), "");
        next.remove();
        firewalld.reload();
        cut_off(host);
        let mended: String = ["far0", "pillbox0"]
            .map(|network| format!("network {network}: others' chains let its packets pass again\n"))
            .concat();
        assert_eq!(host.net(&["gc"]), mended);
        assert_eq!(host.net(&["gc"]), "");
        assert_passes(&started_before, &machine);
        assert_eq!(firewalld.zones(), trusted(&["far0", "pillbox0"]));
    });
}

#[test]
fn it_is_connected_to_once_for_all_networks() {
    on_a_host(|host| {
        let firewalld = Firewalld::start();
        let _near = Connected::started(host, &bridged(&[]));
        let far = serde_json::json!({"model": {"type": "bridge", "bridge_name": "far0"}, "interfaces": [{}]});
        let _far = Connected::started(host, &far);
        let clients = firewalld.clients();
        assert_eq!(host.net(&["check"]), "");
        assert_eq!(firewalld.clients(), clients + 1);
        // Each wait for an answer takes seconds.
        firewalld.turn_deaf(true);
        let found = host.net(&["check"]);
        for network in ["far0", "pillbox0"] {
            let unanswered = format!("network {network}: D-Bus: /run/dbus/system_bus_socket: ");
            assert!(found.contains(&unanswered), "{found}");
        }
        assert_eq!(firewalld.clients(), clients + 2);
        firewalld.turn_deaf(false);
    });
}

#[test]
fn a_zone_that_somebody_has_chosen_is_left_alone() {
    on_a_host(|host| {
        let firewalld = Firewalld::start();
        for zone in ["public", "trusted"] {
            firewalld.reload();
            firewalld.put("pillbox0", zone);
            let zones = firewalld.zones();
            Connected::started(host, &bridged(&[])).remove();
            assert_eq!(host.net(&["check"]), "");
            assert_eq!(host.net(&["rm", "pillbox0"]), "");
            assert_eq!(firewalld.zones(), zones);
        }
        // Whoever has taken it out of our zone has decided that.
        firewalld.reload();
        Connected::started(host, &bridged(&[])).remove();
        firewalld.reload();
        firewalld.put("pillbox0", "public");
        assert_eq!(host.net(&["rm", "pillbox0"]), "");
        assert_eq!(firewalld.zones(), [("pillbox0".to_string(), "public".to_string())]);
    });
}

#[test]
fn what_it_refuses_is_said_with_the_remedy() {
    on_a_host(|host| {
        let firewalld = Firewalld::start();
        firewalld.break_down(true);
        let container = Connected::new(host, &bridged(&[]));
        let created = container.create();
        let said = "pillbox: warning: link pillbox0: firewalld: COMMAND_FAILED: no memory: let its packets pass \
                    (firewall-cmd --zone=trusted --add-interface=pillbox0)";
        assert_eq!((created.code, created.error_lines()), (0, vec![said]));
        assert_eq!(host.net(&["check"]), REJECTED);
        firewalld.break_down(false);
        assert_eq!(host.net(&["gc"]), "network pillbox0: others' chains let its packets pass again\n");
        assert_eq!(firewalld.zones(), trusted(&["pillbox0"]));
        container.delete_force().ok();
    });
}

#[test]
fn its_table_without_it_is_named() {
    on_a_host(|host| {
        let before = Inventory::take();
        let firewalld = Firewalld::start();
        firewalld.leave();
        let container = Connected::new(host, &bridged(&[]));
        let created = container.create();
        let said = "link pillbox0: chain inet firewalld filter_FORWARD drops what is forwarded: \
                    let it accept packets from and to pillbox0";
        assert_eq!((created.code, created.error_lines()), (0, vec![&*format!("pillbox: warning: {said}")]));
        assert_eq!(host.net(&["check"]), format!("{said}\n"));
        container.delete_force().ok();
        assert_eq!(host.net(&["rm", "pillbox0"]), "");
        before.wait_for_links();
    });
}

#[test]
fn plain_pairs_are_reached_at_their_ports() {
    on_a_host(|host| {
        let machine = Machine::outside();
        let firewalld = Firewalld::start();
        let interface = serde_json::json!({
            "name": "pair0", "ips": ["10.90.0.1/30"], "peer_ips": ["10.90.0.2/30"],
            "routes": [{"subnet": "0.0.0.0/0", "gateway": "10.90.0.1"}], "ports": ["8080:80"]
        });
        let container = Connected::started(host, &serde_json::json!({"interfaces": [interface]}));
        let _server = container.at().serve("web", Tcp, 80);
        assert_eq!(machine.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
        assert_eq!((firewalld.zones(), firewalld.clients()), (Vec::new(), 0));
        // Only its published ports are open.
        machine.route("10.90.0.0/30", HOST_4);
        let _hidden = container.at().serve("hidden", Tcp, 82);
        assert_eq!(machine.at().ask(Tcp, &socket("10.90.0.2", 82)), "unreachable");
    });
}
