//! What others have taken away, what killed commands have left, and what goes on meanwhile.

use std::fs;
use std::path::Path;

use pillbox_netlink::link;
use pillbox_netlink::nft::{Batch, Family, Socket, Table, table};
use serde_json::json;

use crate::connected::{Connected, bridged, socket};
use crate::harness::wait_for;
use crate::host::on_a_host;
use crate::inventory::{Inventory, STORE, assert_same};
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4};
use crate::rules::rules;
use crate::standpoint::Standpoint;
use crate::traffic::{Tcp, Udp};

/// What `nft flush ruleset` does.
fn flush() {
    let mut socket = Socket::open().expect("nf_tables");
    let mut batch = Batch::new();
    for table in table::list(&mut socket).expect("tables") {
        batch.delete_table(&table.value).expect("batch");
    }
    socket.commit(&batch).expect("nf_tables");
    assert_eq!(rules(), [] as [&str; 0]);
}

#[test]
fn a_flushed_ruleset_is_put_back_by_the_next_container() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _outside = outside.at().serve("outside", Tcp, 81);
        let container = Connected::started(host, &bridged(&["8080:80", "127.0.0.1:8081:80"]));
        let far = json!({"model": {"type": "bridge", "bridge_name": "far0"}, "interfaces": [{}]});
        let far = Connected::started(host, &far);
        let server = container.at().serve("web", Tcp, 80);
        let before = rules();
        for next in [bridged(&[]), bridged(&["8082:80"])] {
            flush();
            assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), "refused");
            let next = Connected::started(host, &next);
            assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
            assert_eq!(far.at().ask(Tcp, &socket(OUTSIDE_4, 81)), format!("outside sees {HOST_4}"));
            next.remove();
            assert_same("rule", &rules(), &before);
        }
        drop(server);
        // Nor does a flush keep anybody from being deleted.
        flush();
        [container, far].into_iter().for_each(Connected::remove);
        assert_eq!(host.net(&["gc"]), "nf_tables: table inet pillbox is there again\n");
    });
}

#[test]
fn a_bridge_that_somebody_has_deleted_is_made_again() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let container = Connected::started(host, &bridged(&["8080:80"]));
        let server = container.at().serve("web", Tcp, 80);
        let addresses = Standpoint::Host.addresses("pillbox0");
        let before = Inventory::take();
        Standpoint::Host.socket().request(&[link::delete("pillbox0").expect("delete")]).expect("delete");
        let next = Connected::started(host, &bridged(&["8081:80"]));
        assert_eq!(Standpoint::Host.addresses("pillbox0"), addresses);
        let next_server = next.at().serve("next", Tcp, 80);
        for to in [HOST_4, HOST_6, "127.0.0.1", "::1"] {
            let said = Standpoint::Host.ask(Tcp, &socket(to, 8081));
            assert!(said.starts_with("next sees "), "{to}: {said}");
        }
        // The one that was there before is connected again.
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
        drop((server, next_server));
        next.remove();
        before.is_back();
        container.remove();
    });
}

#[test]
fn a_client_that_keeps_sending_reaches_whoever_has_the_port() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let to = socket(HOST_4, 8080);
        // One socket, and with it one connection for the kernel, which forgets it only after a while.
        let client = outside.at().run(|| std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket"));
        client.connect(&to).expect("connect");
        client.set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("a time limit");
        let ask = || {
            let mut buffer = [0; 100];
            let sent = client.send(b"who?");
            let received = sent.and_then(|_| client.recv(&mut buffer));
            received.ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned())
        };
        // For several ports the kernel is asked in another way than for one.
        let (one, several): (&[&str], &[&str]) = (&["8080:80/udp"], &["8080:80/udp", "8090-8099:90-99/udp"]);
        for (name, ports) in [("first", one), ("second", one), ("third", several), ("fourth", several)] {
            let container = Connected::started(host, &bridged(ports));
            let server = container.at().serve(name, Udp, 80);
            let said = wait_for(name, ask);
            assert_eq!(said, format!("{name} sees {OUTSIDE_4}"));
            // The program may go on a while, as the network namespace of a pod does.
            container.delete_force().ok();
            let heard = server.heard().len();
            assert_eq!(ask(), None);
            assert_eq!(server.heard().len(), heard);
            drop(server);
        }
    });
}

#[test]
fn a_container_is_made_again_as_soon_as_it_is_deleted() {
    on_a_host(|host| {
        let _outside = Machine::outside();
        let over = json!({
            "model": {"type": "macvlan", "parent": "out0"}, "interfaces": [{"peer_ip": "192.0.2.50/24"}]
        });
        let fixed = json!({
            "model": {"type": "bridge", "bridge_name": "br7"}, "interfaces": [{"peer_ip": "10.90.0.5/24"}]
        });
        let named = json!({
            "model": {"type": "bridge", "bridge_name": "br7"},
            "interfaces": [{"name": "mine0"}, {"name": "mine1", "peer_ip": "10.90.0.6/24"}]
        });
        let pair =
            json!({"interfaces": [{"name": "mine0", "ip": "10.91.0.1/30", "peer_ip": "10.91.0.2/30"}]});
        for netconf in [bridged(&["8080:80", "8080:80/udp", "80"]), fixed, over, named, pair] {
            let container = Connected::new(host, &netconf);
            for _ in 0..20 {
                container.create().ok();
                container.delete_force().ok();
            }
        }
    });
}

#[test]
fn what_is_wrong_is_found_and_mended() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let container = Connected::started(host, &bridged(&["8080:80", "127.0.0.1:8081:80"]));
        let server = container.at().serve("web", Tcp, 80);
        let before = Inventory::take();
        let delete_bridge = || {
            let delete = link::delete("pillbox0").expect("delete");
            Standpoint::Host.socket().request(&[delete]).expect("delete");
        };
        let empty_map = || {
            let mut batch = Batch::new();
            batch.flush_set(&Table::new(Family::Inet, "pillbox"), "ports4").expect("batch");
            Socket::open().and_then(|mut socket| socket.commit(&batch)).expect("nf_tables");
        };
        let unpublished = format!("container {}: port 8080/tcp is not published any more\n", container.id);
        let stop_forwarding = || host.set("net/ipv4/ip_forward", "0");
        let harms: [(&dyn Fn(), &str, &str); 4] = [
            (
                &flush,
                "nf_tables: table inet pillbox is missing: somebody has flushed it\n",
                "nf_tables: table inet pillbox is there again\n",
            ),
            (
                &delete_bridge,
                "network pillbox0: its bridge pillbox0 is missing\n",
                "network pillbox0: its bridge pillbox0 is there again\n",
            ),
            (&empty_map, &unpublished, ""),
            (
                &stop_forwarding,
                "network pillbox0: the host does not forward IPv4 packets\n",
                "network pillbox0: the host forwards IPv4 packets from now on\n",
            ),
        ];
        for (harm, found, mended) in harms {
            harm();
            assert_eq!(host.net(&["check"]), found);
            assert_eq!(host.net(&["gc"]), mended, "{found}");
            assert_eq!(host.net(&["check"]), "");
            before.is_back();
            assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
        }
        drop(server);
        container.remove();
    });
}

#[test]
fn what_a_container_had_that_nobody_deletes_any_more_is_free_again() {
    on_a_host(|host| {
        Connected::started(host, &bridged(&[])).remove();
        let before = Inventory::take();
        let container = Connected::started(host, &bridged(&["8080:80", "8080:80/udp"]));
        let ends = container.host_ends();
        container.kill("KILL").ok();
        container.wait_status("stopped");
        fs::remove_dir_all(container.state_folder().join(&container.id)).expect("state folder");
        let found =
            format!("container {}: it is gone, and its addresses and ports are still taken\n", container.id);
        assert_eq!(host.net(&["check"]), found);
        let mended = format!("container {}: its addresses and ports are free\n", container.id);
        assert_eq!(host.net(&["gc"]), mended);
        wait_for("links that go", || {
            let links = Standpoint::Host.links();
            links.iter().all(|link| !ends.contains(&link.name)).then_some(())
        });
        before.is_back();
    });
}

#[test]
fn a_container_that_cannot_be_looked_at_is_named() {
    on_a_host(|host| {
        let container = Connected::started(host, &bridged(&["8080:80"]));
        let folder = Path::new(STORE).join("attachments");
        let record = fs::read_dir(&folder).expect("records").flatten().next().expect("a record").path();
        let text = fs::read_to_string(&record).expect("a record");
        // A name that no folder can have.
        let name = "x".repeat(300);
        let path = container.state_folder().join(&container.id).display().to_string();
        fs::write(&record, text.replace(&path, &format!("/run/{name}"))).expect("a record");
        let key = record.file_name().expect("a name").to_string_lossy().into_owned();
        let said = format!("attachment {key}: stat of /run/{name}: ");
        let mend = || container.finish(host.runtime.command().args(["net", "gc"]));
        let mended = mend();
        let lines = mended.error_lines();
        assert!(mended.code == 1 && lines.len() == 1, "{mended:?}");
        assert!(lines[0].starts_with(&format!("pillbox: {said}")), "{mended:?}");
        let checked = container.finish(host.runtime.command().args(["net", "check"]));
        assert!(checked.code == 1 && checked.stdout.starts_with(&said), "{checked:?}");
        fs::write(&record, text).expect("a record");
        assert_eq!(mend().code, 0);
        container.remove();
    });
}

#[test]
fn a_network_that_was_not_made_completely_is_finished_or_gone() {
    on_a_host(|host| {
        let nothing = Inventory::take();
        let record = Path::new(STORE).join("networks/pillbox0");
        let harm = || {
            let text = fs::read_to_string(&record).expect("a record");
            assert!(text.contains(r#""ready":true"#), "{text}");
            fs::write(&record, text.replace(r#""ready":true"#, r#""ready":false"#)).expect("a record");
            assert_eq!(host.net(&["check"]), "network pillbox0: it was not made completely\n");
        };
        let outside = Machine::outside();
        let container = Connected::started(host, &bridged(&["8080:80"]));
        let server = container.at().serve("web", Tcp, 80);
        let before = Inventory::take();
        for bridge_is_lost in [false, true] {
            harm();
            flush();
            if bridge_is_lost {
                Standpoint::Host
                    .socket()
                    .request(&[link::delete("pillbox0").expect("delete")])
                    .expect("delete");
            }
            assert_eq!(host.net(&["gc"]), "network pillbox0: it was not made completely, and is now\n");
            before.is_back();
            assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
        }
        drop(server);
        container.remove();
        drop(outside);
        harm();
        assert_eq!(host.net(&["gc"]), "network pillbox0: it was not made completely, and is gone\n");
        nothing.is_back();
    });
}

#[test]
fn a_network_is_removed_when_nobody_needs_it() {
    on_a_host(|host| {
        let before = Inventory::take();
        let far = json!({"model": {"type": "bridge", "bridge_name": "far0"}, "interfaces": [{}]});
        let containers = [Connected::started(host, &bridged(&["8080:80"])), Connected::started(host, &far)];
        let mut rm = host.runtime.command();
        let refused = containers[0].finish(rm.args(["net", "rm", "pillbox0"]));
        let id = &containers[0].id;
        let why = format!("pillbox: network pillbox0: container {id} is connected to it: delete it first\n");
        assert_eq!((refused.code, refused.stderr), (1, why));
        containers.into_iter().for_each(Connected::remove);
        // Whether its bridge is there or somebody has deleted it.
        Standpoint::Host.socket().request(&[link::delete("far0").expect("delete")]).expect("delete");
        assert_eq!(host.net(&["rm", "pillbox0"]), "");
        assert_eq!(host.net(&["rm", "far0"]), "");
        before.is_back();
    });
}

#[test]
fn a_link_that_somebody_else_has_made_meanwhile_stays() {
    on_a_host(|host| {
        let interface = json!({"name": "mine0", "peer_name": "net0"});
        let netconf = json!({"model": {"type": "bridge"}, "interfaces": [interface]});
        let container = Connected::started(host, &netconf);
        container.kill("KILL").ok();
        wait_for("mine0 to go", || {
            Standpoint::Host.links().iter().all(|link| link.name != "mine0").then_some(())
        });
        let machine = Machine::new();
        machine.connect("mine0", &[]);
        let theirs = Standpoint::Host.link("mine0").address;
        container.delete_force().ok();
        assert_eq!(Standpoint::Host.link("mine0").address, theirs);
    });
}
