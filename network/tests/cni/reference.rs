//! The reference plugins, as distributions have them, on a host of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
use pillbox_network::cni::{
    AddResult, Attached, Capabilities, Conflist, FOLDERS, Parameters, Programs, check_together, execute,
};
use pillbox_network::{Error, Kind, Port};

use crate::namespace::{Container, on_a_fresh_host, skip};

/// A container's usual network, with its ports published and its address masqueraded. It has one family, because
/// CHECK of `portmap` 1.1 fails with any, and of the others with two.
const NETWORK: &str = r#"{
    "cniVersion": "1.0.0",
    "name": "refnet",
    "plugins": [
        {
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.77.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}]
            }
        },
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "firewall", "backend": "iptables"},
        {"type": "tuning", "capabilities": {"mac": true}}
    ]
}"#;

/// Runs the body on a fresh host if the plugins are there.
fn with_plugins(test: &str, body: fn()) {
    if !FOLDERS.iter().any(|folder| Path::new(folder).join("bridge").exists()) {
        return skip(test, "needs the reference plugins (Debian: containernetworking-plugins)");
    }
    if !["/usr/sbin/iptables", "/sbin/iptables"].iter().any(|path| Path::new(path).exists()) {
        return skip(test, "needs iptables");
    }
    on_a_fresh_host(test, body);
}

fn programs() -> Programs {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    Programs { environment: vec![path.into()], ..Programs::new(execute) }
}

fn attached(network: &str, namespace: &str, capabilities: Capabilities) -> Attached {
    let parameters = Parameters {
        container_id: "container-1".into(),
        namespace: namespace.into(),
        interface: "eth0".into(),
        args: "IgnoreUnknown=1;FOO=bar".into(),
        capabilities,
    };
    Attached::new(Conflist::parse(network.as_bytes()).unwrap(), parameters).unwrap()
}

fn usual_capabilities() -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.add_ports(&Port::parse("8080:80").unwrap()).unwrap();
    capabilities.add("mac", r#""c2:11:22:33:44:55""#).unwrap();
    capabilities
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All rules that are about the container or its addresses.
fn rules() -> Vec<String> {
    let saved = output("iptables-save", &[]) + &output("ip6tables-save", &[]);
    let is_ours = |line: &&str| ["10.77.0.", "fd77::", "container-1"].iter().any(|part| line.contains(part));
    saved.lines().filter(is_ours).map(str::to_string).collect()
}

/// The addresses that host-local has given away.
fn leases() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/var/lib/cni/networks/refnet") else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("10.") || name.starts_with("fd77")).collect()
}

/// Serves one connection on port 80 in the container, which answers with its client's address.
fn serve(container: &Container) -> std::thread::JoinHandle<()> {
    let listener = container.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap());
    std::thread::spawn(move || {
        let (mut stream, client) = listener.accept().unwrap();
        write!(stream, "hello {}", client.ip()).unwrap();
    })
}

fn ask(host: &str) -> String {
    let address: SocketAddr = host.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn check_result(result: &AddResult, container: &Container) {
    let addresses: Vec<String> = result.addresses_of("eth0").map(|found| found.address.to_string()).collect();
    assert_eq!(addresses, ["10.77.0.2/24"]);
    let eth0 = result.interfaces.iter().find(|interface| interface.name == "eth0").unwrap();
    assert_eq!(eth0.mac.as_deref(), Some("c2:11:22:33:44:55"));
    assert_eq!(eth0.sandbox.as_deref(), Some(container.path().as_str()));
    let (found, mac) = container.run(|| {
        let mut socket = Socket::open().unwrap();
        let eth0 = link::get(&mut socket, "eth0").unwrap();
        let assigned = address::list(&mut socket).unwrap();
        let own = assigned.iter().filter(|found| found.index == eth0.index && found.is_permanent_global());
        (own.map(|found| found.address.ip.to_string()).collect::<Vec<_>>(), eth0.address)
    });
    assert_eq!(found, ["10.77.0.2"]);
    assert_eq!(mac, Some([0xc2, 0x11, 0x22, 0x33, 0x44, 0x55]));
}

#[test]
fn the_usual_chain_connects_a_container_and_leaves_nothing() {
    with_plugins("reference::the_usual_chain_connects_a_container_and_leaves_nothing", || {
        let container = Container::new();
        let mut attached = attached(NETWORK, &container.path(), usual_capabilities());
        attached.add(&programs()).unwrap();
        let result = attached.result().unwrap().unwrap();
        check_result(&result, &container);
        assert!(!rules().is_empty());
        assert_eq!(leases().len(), 1);
        let server = serve(&container);
        assert_eq!(ask("10.77.0.1:8080"), "hello 10.77.0.1");
        server.join().unwrap();
        let attached = Attached::from_json(attached.to_json().as_bytes()).unwrap();
        for _ in 0..2 {
            attached.delete(&programs()).unwrap();
            assert_eq!((rules(), leases()), (vec![], vec![]));
        }
        container.run(|| {
            let gone = link::get(&mut Socket::open().unwrap(), "eth0");
            assert!(gone.is_err(), "{gone:?}");
        });
    });
}

#[test]
fn the_loopback_is_set_up() {
    with_plugins("reference::the_loopback_is_set_up", || {
        let container = Container::new();
        let network = r#"{"cniVersion":"0.4.0","name":"lo","type":"loopback"}"#;
        let parameters = Parameters {
            container_id: "container-1".into(),
            namespace: container.path(),
            interface: "lo".into(),
            ..Parameters::default()
        };
        let mut attached = Attached::new(Conflist::parse(network.as_bytes()).unwrap(), parameters).unwrap();
        let is_up =
            || container.run(|| link::get(&mut Socket::open().unwrap(), LOOPBACK_INDEX).unwrap().is_up());
        assert!(!is_up());
        attached.add(&programs()).unwrap();
        let result = attached.result().unwrap().unwrap();
        assert!(is_up());
        let addresses: Vec<String> =
            result.addresses_of("lo").map(|found| found.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1/8", "::1/128"]);
        assert!(attached.check(&programs()).unwrap());
        attached.delete(&programs()).unwrap();
        assert!(!is_up());
    });
}

#[test]
fn delete_after_the_containers_end_leaves_no_lease() {
    with_plugins("reference::delete_after_the_containers_end_leaves_no_lease", || {
        let container = Container::new();
        let both = r#"[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]"#;
        let both = NETWORK.replace(r#"[{"subnet": "10.77.0.0/24"}]"#, both);
        let mut attached = attached(&both, &container.path(), usual_capabilities());
        attached.add(&programs()).unwrap();
        let result = attached.result().unwrap().unwrap();
        let addresses: Vec<String> =
            result.addresses_of("eth0").map(|found| found.address.to_string()).collect();
        assert_eq!(addresses, ["10.77.0.2/24", "fd77::2/64"]);
        assert_eq!(leases().len(), 2);
        drop(container);
        attached.delete(&programs()).unwrap();
        assert_eq!(leases(), [""; 0]);
        // Nothing leads to the address any more, though `bridge` may have left its masquerading.
        let rules = rules();
        assert!(!rules.iter().any(|rule| rule.contains("DNAT") || rule.contains("FORWARD")), "{rules:?}");
    });
}

#[test]
fn a_pinned_namespace_lets_delete_do_everything() {
    with_plugins("reference::a_pinned_namespace_lets_delete_do_everything", || {
        let container = Container::new();
        let pin = "/run/pin";
        std::fs::write(pin, "").unwrap();
        output("mount", &["--bind", &container.path(), pin]);
        let mut attached = attached(NETWORK, pin, usual_capabilities());
        attached.add(&programs()).unwrap();
        drop(container);
        attached.delete(&programs()).unwrap();
        assert_eq!((rules(), leases()), (vec![], vec![]));
        output("umount", &[pin]);
        attached.delete(&programs()).unwrap();
    });
}

/// The error of an ADD that leaves nothing.
fn refusal(network: &str) -> Error {
    let container = Container::new();
    let mut attached = attached(network, &container.path(), usual_capabilities());
    let error = attached.add(&programs()).unwrap_err();
    assert_eq!((rules(), leases()), (vec![], vec![]));
    container.run(|| assert!(link::get(&mut Socket::open().unwrap(), "eth0").is_err()));
    error
}

#[test]
fn their_refusals_are_shown() {
    with_plugins("reference::their_refusals_are_shown", || {
        let error = refusal(&NETWORK.replace("10.77.0.0/24", "10.77.0.0/32")).to_string();
        assert!(error.starts_with("CNI network refnet: plugin bridge: ADD: "), "{error}");
        assert!(error.contains("too small"), "{error}");
        // Their versions end before the newest one, which is why they are asked.
        let versions = programs().versions("bridge").unwrap();
        if !versions.iter().any(|version| version == "1.1.0") {
            let error = refusal(&NETWORK.replace("1.0.0", "1.1.0"));
            assert_eq!(error.kind(), Kind::Invalid);
            let expected = format!("(code 1): the plugin speaks {}: name one of them", versions.join(", "));
            assert!(error.to_string().contains(&expected), "{error}");
        }
    });
}

#[test]
fn what_came_before_a_refusal_is_undone() {
    with_plugins("reference::what_came_before_a_refusal_is_undone", || {
        let wrong = r#""type": "tuning", "sysctl": {"net.core.nowhere": "1"}"#;
        let error = refusal(&NETWORK.replace(r#""type": "tuning""#, wrong)).to_string();
        assert!(error.starts_with("CNI network refnet: plugin tuning: ADD: "), "{error}");
    });
}

#[test]
fn check_finds_what_is_gone() {
    with_plugins("reference::check_finds_what_is_gone", || {
        let container = Container::new();
        let mut network: serde_json::Value = serde_json::from_str(NETWORK).unwrap();
        network["plugins"].as_array_mut().unwrap().remove(1);
        let mut attached = attached(&network.to_string(), &container.path(), Capabilities::default());
        attached.add(&programs()).unwrap();
        assert!(attached.check(&programs()).unwrap());
        container.run(|| {
            let mut socket = Socket::open().unwrap();
            let eth0 = link::get(&mut socket, "eth0").unwrap().index;
            let own = Address { ip: Ipv4Addr::new(10, 77, 0, 2).into(), prefix: 24 };
            socket.request(&[address::delete(eth0, own).unwrap()]).unwrap();
        });
        let error = attached.check(&programs()).unwrap_err().to_string();
        assert!(error.starts_with("CNI network refnet: plugin bridge: CHECK: "), "{error}");
        attached.delete(&programs()).unwrap();
    });
}

#[test]
fn attachments_of_one_container_stand_side_by_side() {
    with_plugins("reference::attachments_of_one_container_stand_side_by_side", || {
        let container = Container::new();
        let other = NETWORK.replace("refnet", "other").replace("cni0", "cni1").replace("10.77.0", "10.78.0");
        let add = |network: &str, interface: &str| {
            let parameters = Parameters {
                container_id: "container-1".into(),
                namespace: container.path(),
                interface: interface.into(),
                ..Parameters::default()
            };
            // One default route is enough.
            let network = network.replace(r#"{"dst": "0.0.0.0/0"}"#, "");
            let mut attached =
                Attached::new(Conflist::parse(network.as_bytes()).unwrap(), parameters).unwrap();
            attached.add(&programs()).unwrap();
            let result = attached.result().unwrap().unwrap();
            let address = result.addresses_of(interface).next().unwrap().address.to_string();
            (attached, address)
        };
        let ((one, address), (other, other_address)) = (add(NETWORK, "eth0"), add(&other, "eth1"));
        assert_eq!((address.as_str(), other_address.as_str()), ("10.77.0.2/24", "10.78.0.2/24"));
        check_together(&[one.clone(), other.clone()]).unwrap();
        one.delete(&programs()).unwrap();
        assert_eq!(leases(), [""; 0]);
        container.run(|| {
            let mut socket = Socket::open().unwrap();
            assert!(
                link::get(&mut socket, "eth0").is_err() && link::get(&mut socket, "eth1").unwrap().is_up()
            );
        });
        other.delete(&programs()).unwrap();
        assert_eq!(rules(), [""; 0]);
    });
}
