//! In lists with other plugins, before them and behind them, called as a runtime calls them.

use std::fs;

use pillbox_network::Error;
use pillbox_network::cni::{AddResult, Attached, Capabilities, Conflist, Parameters, Programs, execute};
use serde_json::{Value, json};

use crate::host::{Host, on_a_host};
use crate::plugin::{Container, FOLDER, NAME, install, network, script, wait_for_remains, with};
use crate::standpoint::Standpoint;
use crate::traffic::Tcp;

/// What plugins of the tests' own have got on stdin: `NAME.COMMAND`.
const GOT: &str = "/run/got";

pub fn programs(host: &Host) -> Programs {
    install(host);
    let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_string();
    let folders = vec![FOLDER.to_string(), "/usr/lib/cni".to_string()];
    Programs { folders, environment: vec![path], ..Programs::new(execute) }
}

pub fn conflist(version: &str, name: &str, plugins: &[Value]) -> Conflist {
    let document = json!({"cniVersion": version, "name": name, "plugins": plugins});
    Conflist::parse(document.to_string().as_bytes()).unwrap()
}

pub fn attached(conflist: &Conflist, container: &Container, capabilities: &[(&str, Value)]) -> Attached {
    let mut given = Capabilities::default();
    capabilities.iter().for_each(|(name, value)| given.add(name, &value.to_string()).unwrap());
    let parameters = Parameters {
        container_id: container.id.clone(),
        namespace: container.machine.namespace(),
        interface: container.interface.to_string(),
        args: container.args.clone(),
        capabilities: given,
    };
    Attached::new(conflist.clone(), parameters).unwrap()
}

/// A plugin that hands on what it has got, with an interface and an address of its own.
fn other(name: &str) {
    fs::create_dir_all(GOT).unwrap();
    let result = format!(
        r#"{{"cniVersion":"1.1.0","interfaces":[{{"name":"{name}","sandbox":"/somewhere"}}],"ips":[{{"address":"192.0.2.77/32","interface":0}}],"routes":[{{"dst":"192.0.2.0/24"}}],"dns":{{"nameservers":["192.0.2.53"]}}}}"#
    );
    let text = format!("cat >{GOT}/{name}.$CNI_COMMAND\n[ $CNI_COMMAND != ADD ] || echo '{result}'");
    script(name, &text);
}

fn got(name: &str, operation: &str) -> Value {
    let text = fs::read_to_string(format!("{GOT}/{name}.{operation}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn own() -> Value {
    with(&network(), json!({"cniVersion": null, "name": null, "capabilities": {"portMappings": true}}))
}

#[test]
fn what_stands_behind_it_gets_its_result() {
    on_a_host(|host| {
        other("behind");
        let list = conflist("1.1.0", "testnet", &[own(), json!({"type": "behind"})]);
        let container = Container::new("c1");
        let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        let mut attached = attached(&list, &container, &[("portMappings", ports)]);
        let _server = container.at().serve("c1", Tcp, 80);
        attached.add(&programs(host)).unwrap();
        assert!(Standpoint::Host.ask(Tcp, "127.0.0.1:8080").starts_with("c1 sees "));
        let result = AddResult::parse(&got("behind", "ADD")["prevResult"].to_string(), list.version).unwrap();
        let addresses: Vec<String> = result.addresses_of("eth0").map(|ip| ip.address.to_string()).collect();
        assert_eq!(addresses, ["10.77.0.2/24", "fd77::2/64"]);
        // It checks its own part of a result that another has made.
        assert!(attached.check(&programs(host)).unwrap());
        attached.delete(&programs(host)).unwrap();
        attached.delete(&programs(host)).unwrap();
        assert!(list.status(&programs(host)).unwrap());
        assert!(list.collect_garbage(&programs(host), &[]).unwrap());
        assert_eq!(got("behind", "GC")["cni.dev/valid-attachments"], json!([]));
    });
}

#[test]
fn what_stands_before_it_stays_in_the_result() {
    on_a_host(|host| {
        other("before");
        let list = conflist("1.1.0", "testnet", &[json!({"type": "before"}), own()]);
        let container = Container::new("c1");
        let mut attached = attached(&list, &container, &[]);
        attached.add(&programs(host)).unwrap();
        let result = attached.result().unwrap().unwrap();
        let names: Vec<&str> = result.interfaces.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((names[0], names[1], names[3]), ("before", "test0", "eth0"));
        let of: Vec<(String, Option<u32>)> =
            result.ips.iter().map(|ip| (ip.address.to_string(), ip.interface)).collect();
        let expected = [("192.0.2.77/32", 0), ("10.77.0.2/24", 3), ("fd77::2/64", 3)];
        assert_eq!(of, expected.map(|(address, place)| (address.to_string(), Some(place))));
        let routes: Vec<String> = result.routes.iter().map(|route| route.dst.to_string()).collect();
        assert_eq!(routes, ["192.0.2.0/24", "0.0.0.0/0", "::/0"]);
        assert_eq!(result.dns.nameservers.0, ["192.0.2.53"]);
        assert!(attached.check(&programs(host)).unwrap());
        attached.delete(&programs(host)).unwrap();
    });
}

#[test]
fn it_undoes_itself_when_what_stands_behind_it_fails() {
    on_a_host(|host| {
        script("fails", r#"[ $CNI_COMMAND = DEL ] || { echo '{"code":200,"msg":"no"}'; exit 1; }"#);
        let list = conflist("1.0.0", "testnet", &[own(), json!({"type": "fails"})]);
        let container = Container::new("c1");
        let error = attached(&list, &container, &[]).add(&programs(host)).unwrap_err();
        assert_eq!(error.to_string(), "CNI network testnet: plugin fails: ADD: no (code 200)");
        wait_for_remains();
        assert_eq!(container.at().links().len(), 1);
    });
}

#[test]
fn its_refusal_reaches_the_caller() {
    on_a_host(|host| {
        let wrong = with(&own(), json!({"vlan": 100}));
        let list = conflist("1.1.0", "testnet", &[wrong]);
        let error: Error = attached(&list, &Container::new("c1"), &[]).add(&programs(host)).unwrap_err();
        let expected = format!(
            "CNI network testnet: plugin {NAME}: ADD: unsupported field: vlan: 100: {NAME} does not do that: the plugin \
             bridge has it (code 2): take the field out of the plugin's configuration"
        );
        assert_eq!(error.to_string(), expected);
        let error = list.status(&programs(host)).unwrap_err().to_string();
        assert!(error.contains("vlan: 100"), "{error}");
    });
}
