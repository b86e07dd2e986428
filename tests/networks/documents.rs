//! What is read and what is shown: netconf.json, `state`, `list`, `explain`.

use std::fs;

use serde_json::{Value, json};

use crate::connected::{Connected, bridged, socket};
use crate::host::on_a_host;
use crate::machine::{HOST_4, Machine, OUTSIDE_4};
use crate::standpoint::{Standpoint, ip};
use crate::traffic::Tcp;
use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Bridge, BridgeOptions};

/// The file of cprates/box, as its repository has it.
const OF_BOX: &str = r#"{
  "loopback_name": "lo",
  "model": {
    "type": "bridge",
    "bridge_name": "docker0"
  },
  "interfaces": [
    {
      "type": "veth",
      "name": "eth1",
      "peer_name": "eth2",
      "ip": "0.0.0.0/0",
      "peer_ip": "172.17.0.6/28",
      "routes": [
        {
          "subnet": "0.0.0.0/0",
          "gateway": "172.17.0.1"
        }
      ]
    }
  ],
  "dns": {
    "nameservers": ["8.8.8.8"],
    "domain": "box",
    "search": ["box", "box.local"]
  }
}"#;

/// Its file without a model.
const OF_BOX_WITHOUT_MODEL: &str = r#"{
  "loopback_name": "lo",
  "interfaces": [
    {
      "type": "veth",
      "name": "eth1",
      "peer_name": "eth2",
      "ip": "10.0.0.1/30",
      "peer_ip": "10.0.0.2/30",
      "routes": [
        {
          "subnet": "0.0.0.0/0",
          "gateway": "10.0.0.1"
        }
      ]
    }
  ],
  "dns": {
    "nameservers": ["10.0.0.1"],
    "domain": "lambda1",
    "search": ["lambda1", "lambda.local"]
  }
}"#;

#[test]
fn the_file_of_box_runs_unchanged() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let _server = outside.at().serve("outside", Tcp, 81);
        let container = Connected::new(host, &json!({}));
        fs::write(container.bundle().join("netconf.json"), OF_BOX).expect("netconf.json");
        container.create_and_start();
        assert_eq!(container.at().addresses("eth2"), ["172.17.0.6/28"]);
        assert_eq!(Standpoint::Host.addresses("docker0"), ["172.17.0.1/28"]);
        assert_eq!(container.at().ask(Tcp, &socket(OUTSIDE_4, 81)), format!("outside sees {HOST_4}"));
        let resolver = container.call(&["exec", &container.id, "/bin/cat", "/etc/resolv.conf"]).ok().stdout;
        assert_eq!(resolver, "nameserver 8.8.8.8\ndomain box\nsearch box box.local\n");
        container.remove();
    });
}

#[test]
fn the_file_of_box_without_a_model_runs_unchanged() {
    on_a_host(|host| {
        let outside = Machine::outside();
        outside.route("10.0.0.0/30", HOST_4);
        let _server = outside.at().serve("outside", Tcp, 81);
        let container = Connected::new(host, &json!({}));
        fs::write(container.bundle().join("netconf.json"), OF_BOX_WITHOUT_MODEL).expect("netconf.json");
        container.create_and_start();
        assert_eq!(container.at().addresses("eth2"), ["10.0.0.2/30"]);
        assert_eq!(Standpoint::Host.addresses("eth1"), ["10.0.0.1/30"]);
        // Nothing is masqueraded where there is no bridge.
        assert_eq!(container.at().ask(Tcp, &socket(OUTSIDE_4, 81)), "outside sees 10.0.0.2");
        let resolver = container.call(&["exec", &container.id, "/bin/cat", "/etc/resolv.conf"]).ok().stdout;
        assert_eq!(resolver, "nameserver 10.0.0.1\ndomain lambda1\nsearch lambda1 lambda.local\n");
        container.remove();
    });
}

#[test]
fn the_file_of_box_runs_on_a_bridge_that_is_there() {
    on_a_host(|host| {
        let outside = Machine::outside();
        outside.route("172.17.0.0/16", HOST_4);
        let _server = outside.at().serve("outside", Tcp, 81);
        // As dockerd makes it.
        let mut netlink = Standpoint::Host.socket();
        let options = BridgeOptions::default();
        let bridge = Bridge { name: "docker0", index: Some(40), address: None, mtu: None, options };
        let own = Address { ip: ip("172.17.0.1"), prefix: 16 };
        netlink
            .request(&[link::add_bridge(&bridge).expect("bridge"), address::add(40, own).expect("address")])
            .expect("bridge");
        let container = Connected::new(host, &json!({}));
        fs::write(container.bundle().join("netconf.json"), OF_BOX).expect("netconf.json");
        container.create_and_start();
        // The bridge is somebody else's, who masquerades or does not.
        assert_eq!(container.at().ask(Tcp, &socket(OUTSIDE_4, 81)), "outside sees 172.17.0.6");
        let left = container.host_ends();
        assert_eq!(left, ["eth1"]);
        assert_eq!(Standpoint::Host.link("eth1").master, Some(40));
        assert_eq!(Standpoint::Host.addresses("docker0"), ["172.17.0.1/16"]);
        container.remove();
        assert_eq!(Standpoint::Host.addresses("docker0"), ["172.17.0.1/16"]);
    });
}

#[test]
fn the_file_beside_config_json_is_taken_unless_another_one_is_named() {
    on_a_host(|host| {
        let container = Connected::new(
            host,
            &json!({"interfaces": [{"peer_name": "beside0", "peer_ip": "10.90.0.2/24"}]}),
        );
        let other = container.folder.join("other.json");
        let named = json!({"interfaces": [{"peer_name": "named0", "peer_ip": "10.90.0.3/24"}]});
        fs::write(&other, named.to_string()).expect("a file");
        for (flags, expected) in
            [(vec![], "beside0"), (vec!["--netconf", other.to_str().expect("a path")], "named0")]
        {
            container.finish(&mut container.bundle_command("create", &flags)).ok();
            assert_eq!(container.network()[0]["interface"], json!(expected));
            container.delete_force().ok();
        }
    });
}

#[test]
fn state_and_list_show_what_the_container_has() {
    on_a_host(|host| {
        let model =
            json!({"type": "bridge", "bridge_name": "br7", "subnets": ["10.90.0.0/24", "fd00:90::/64"]});
        let interfaces = json!([
            {
                "peer_name": "net0", "mac": "02:00:00:00:00:07",
                "ports": ["8080:80", "127.0.0.1:53:53/udp", "[::1]:9000:90/sctp"]
            },
            {"peer_name": "net1", "peer_ip": "10.90.0.77/24"}
        ]);
        let container = Connected::started(host, &json!({"model": model, "interfaces": interfaces}));
        let expected = json!([
            {
                "interface": "net0", "network": "br7", "mac": "02:00:00:00:00:07",
                "addresses": ["10.90.0.2/24", "fd00:90::2/64"],
                "ports": ["8080/tcp -> 80", "127.0.0.1:53/udp -> 53", "[::1]:9000/sctp -> 90"]
            },
            {
                "interface": "net1", "network": "br7", "mac": "02:50:0a:5a:00:4d",
                "addresses": ["10.90.0.77/24"], "ports": []
            }
        ]);
        assert_eq!(container.network(), expected);
        let listed = container.call(&["list", "--format", "json"]).ok().stdout;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(listed[0]["network"], expected);
        for (name, seen) in [("net0", [2, 0, 0, 0, 0, 7]), ("net1", [2, 0x50, 10, 90, 0, 77])] {
            assert_eq!(container.at().link(name).address, Some(seen));
        }
        // Without a network there is nothing to be shown.
        let plain = Connected::started(host, &json!({}));
        assert_eq!(plain.network(), Value::Null);
        [container, plain].into_iter().for_each(Connected::remove);
    });
}

#[test]
fn net_list_shows_networks_with_their_containers_addresses_and_ports() {
    on_a_host(|host| {
        let lines = |text: String| -> Vec<Vec<String>> {
            text.lines().map(|line| line.split_whitespace().map(String::from).collect()).collect()
        };
        let model =
            json!({"type": "bridge", "bridge_name": "br7", "subnets": ["10.90.0.0/24", "fd00:90::/64"]});
        let interface = json!({"ports": ["8080:80", "127.0.0.1:5300:53/udp"]});
        let container = Connected::started(host, &json!({"model": model, "interfaces": [interface]}));
        let id = container.id.as_str();
        let expected: [&[&str]; 5] = [
            &["NETWORK", "KIND", "LINK", "SUBNETS", "CONTAINERS"],
            &["br7", "bridge", "br7", "10.90.0.0/24", "fd00:90::/64", "1"],
            &[],
            &["CONTAINER", "INTERFACE", "NETWORK", "ADDRESSES", "PORTS"],
            &[id, "eth0", "br7", "10.90.0.2/24", "fd00:90::2/64", "8080/tcp->80", "127.0.0.1:5300/udp->53"],
        ];
        assert_eq!(lines(host.net(&["list"])), expected);
        let listed: Value = serde_json::from_str(&host.net(&["list", "--format", "json"])).expect("JSON");
        assert_eq!(listed["networks"][0]["name"], "br7");
        let attached = &listed["attachments"][0];
        assert_eq!((&attached["alive"], &attached["attachment"]["owner"]), (&json!(true), &json!(id)));
        // Killed, and its state folder removed behind pillbox's back.
        container.kill("KILL").ok();
        container.wait_status("stopped");
        fs::remove_dir_all(container.state_folder().join(id)).expect("state folder");
        let gone = lines(host.net(&["list"])).pop().expect("lines");
        assert_eq!(gone[..2], [id, "(gone)"]);
        host.net(&["gc"]);
        assert_eq!(
            lines(host.net(&["list"])),
            [expected[0], &["br7", "bridge", "br7", "10.90.0.0/24", "fd00:90::/64", "0"]]
        );
    });
}

#[test]
fn explain_shows_what_would_be_done_and_does_nothing() {
    on_a_host(|host| {
        let mut netconf = bridged(&["8080:80", "5300-5301:53-54/udp"]);
        netconf["interfaces"][0]["peer_ip"] = json!("10.90.0.5/24");
        let container = Connected::new(host, &netconf);
        let before = crate::inventory::Inventory::take();
        let text = container.finish(&mut container.explain(&[])).ok().stdout;
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
        for expected in [
            "Connect eth0 by bridge pillbox0, address 10.90.0.5/24",
            "Publish 8080/tcp to port 80 of eth0",
            "Publish 5300/udp to port 53 of eth0",
            "Publish 5301/udp to port 54 of eth0",
            "WriteFile hosts, which the container sees as /etc/hosts",
            "WriteFile resolv.conf, which the container sees as /etc/resolv.conf",
            "WriteFile hostname, which the container sees as /etc/hostname",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {text}");
        }
        before.is_back();
    });
}

#[test]
fn a_host_that_did_not_forward_does_so_and_that_is_said() {
    on_a_host(|host| {
        let settings = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
        let values = || settings.map(|name| host.setting(name));
        settings.iter().for_each(|name| host.set(name, "0"));
        // Not needed for these.
        let pair = json!({"interfaces": [{"ip": "10.90.0.1/30", "peer_ip": "10.90.0.2/30"}]});
        Connected::started(host, &pair).remove();
        let internal =
            json!({"model": {"type": "bridge", "bridge_name": "in0", "internal": true}, "interfaces": [{}]});
        Connected::started(host, &internal).remove();
        assert_eq!(values(), ["0", "0"]);
        let container = Connected::new(host, &bridged(&[]));
        let created = container.create();
        assert_eq!(created.code, 0, "{created:?}");
        let said = ["IPv4", "IPv6"].map(|family| {
            format!("pillbox: warning: network pillbox0: the host forwards {family} packets from now on")
        });
        assert_eq!(created.error_lines(), said);
        assert_eq!(values(), ["1", "1"]);
        container.remove();
        // Once is enough.
        Connected::started(host, &bridged(&[])).remove();
    });
}

#[test]
fn ports_are_published_without_a_file_and_besides_one() {
    on_a_host(|host| {
        let outside = Machine::outside();
        let container = Connected::new(host, &json!({}));
        fs::remove_file(container.bundle().join("netconf.json")).expect("netconf.json");
        let flags = ["--publish", "8080:80", "--publish", "127.0.0.1:8081:81/udp"];
        container.finish(&mut container.bundle_command("create", &flags)).ok();
        container.start().ok();
        let network = container.network();
        assert_eq!(network[0]["network"], json!("pillbox0"));
        assert_eq!(network[0]["ports"], json!(["8080/tcp -> 80", "127.0.0.1:8081/udp -> 81"]));
        let server = container.at().serve("web", Tcp, 80);
        assert_eq!(outside.at().ask(Tcp, &socket(HOST_4, 8080)), format!("web sees {OUTSIDE_4}"));
        drop(server);
        container.remove();
        let container = Connected::new(host, &bridged(&["8082:82"]));
        container.finish(&mut container.bundle_command("create", &flags)).ok();
        let ports = json!(["8082/tcp -> 82", "8080/tcp -> 80", "127.0.0.1:8081/udp -> 81"]);
        assert_eq!(container.network()[0]["ports"], ports);
        container.remove();
    });
}
