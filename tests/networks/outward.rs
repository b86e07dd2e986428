//! From a container to the outside.

use serde_json::json;

use crate::connected::{Connected, bridged, socket};
use crate::host::on_a_host;
use crate::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use crate::traffic::{Protocol, Tcp};

#[test]
fn the_outside_sees_the_hosts_address() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let container = Connected::started(host, &bridged(&[]));
        for protocol in Protocol::ALL {
            let _server = outside.at().serve("outside", protocol, 81);
            for (to, seen) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
                let said = container.at().ask(protocol, &socket(to, 81));
                assert_eq!(said, format!("outside sees {seen}"), "{protocol:?}");
            }
        }
        container.remove();
    });
}

#[test]
fn without_masquerading_the_outside_sees_the_containers_address() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let model = json!({
            "type": "bridge", "masquerade": false, "subnets": ["10.90.0.0/24", "fd00:90::/64"]
        });
        let container = Connected::started(host, &json!({"model": model, "interfaces": [{}]}));
        outside.route("10.90.0.0/24", HOST_4);
        outside.route("fd00:90::/64", HOST_6);
        for protocol in Protocol::ALL {
            let _server = outside.at().serve("outside", protocol, 81);
            let _inside = container.at().serve("container", protocol, 80);
            for (to, seen) in [(OUTSIDE_4, "10.90.0.2"), (OUTSIDE_6, "fd00:90::2")] {
                let said = container.at().ask(protocol, &socket(to, 81));
                assert_eq!(said, format!("outside sees {seen}"), "{protocol:?}");
                let said = outside.at().ask(protocol, &socket(seen, 80));
                assert_eq!(said, format!("container sees {to}"), "{protocol:?}");
            }
        }
        container.remove();
    });
}

#[test]
fn a_program_in_the_container_reaches_the_outside() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        let mut container = Connected::new(host, &bridged(&[]));
        for (to, seen) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
            let script = format!("nc {to} 81 </dev/null");
            container.spec()["process"]["args"] = json!(["/bin/sh", "-c", script]);
            assert_eq!(container.run_ok(), format!("outside sees {seen}"));
        }
    });
}

#[test]
fn a_container_in_a_user_namespace_reaches_the_outside() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let mut container = Connected::new(host, &bridged(&["8080:80"]));
        container.container().in_user_namespace();
        // Its root makes files there, to mount on.
        std::os::unix::fs::chown(container.rootfs().join("etc"), Some(100_000), Some(100_000))
            .expect("chown");
        container.create_and_start();
        for protocol in Protocol::ALL {
            let _server = outside.at().serve("outside", protocol, 81);
            let said = container.at().ask(protocol, &socket(OUTSIDE_4, 81));
            assert_eq!(said, format!("outside sees {HOST_4}"), "{protocol:?}");
        }
        let server = container.at().serve("container", Tcp, 80);
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_6, 8080)), format!("container sees {OUTSIDE_6}"));
        drop(server);
        container.remove();
    });
}
