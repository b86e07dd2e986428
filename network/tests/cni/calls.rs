//! Which plugins are called in which order, and with what.

use std::fs;
use std::path::Path;

use pillbox_network::cni::{Attached, Capabilities, Conflist, Parameters, ValidAttachment};
use pillbox_network::{Kind, Port};
use serde_json::{Value, json};

use crate::namespace::{Container, skip};
use crate::script::{ADD, Folder, attached, conflist, result};

/// The specification's example, with its plugins.
fn example(folder: &Folder) -> Conflist {
    for name in ["bridge", "tuning", "portmap"] {
        folder.chained(name);
    }
    let text = r#"{
        "cniVersion": "1.1.0", "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"], "name": "dbnet",
        "plugins": [
            {"type": "bridge", "bridge": "cni0", "keyA": ["some more"], "ipam": {"type": "host-local"}},
            {"type": "tuning", "capabilities": {"mac": true}, "sysctl": {"net.core.somaxconn": "500"}},
            {"type": "portmap", "capabilities": {"portMappings": true}}
        ]
    }"#;
    let path = folder.path().join("dbnet.conflist");
    fs::write(&path, text).unwrap();
    Conflist::read(path.to_str().unwrap()).unwrap()
}

fn parameters(namespace: &str) -> Parameters {
    let mut capabilities = Capabilities::default();
    capabilities.add("mac", r#""00:11:22:33:44:66""#).unwrap();
    capabilities.add_ports(&Port::parse("8080:80").unwrap()).unwrap();
    Parameters {
        container_id: "c1".into(),
        namespace: namespace.into(),
        interface: "eth0".into(),
        args: "argA=foo".into(),
        capabilities,
    }
}

/// The result as the next plugin gets it.
fn told(name: &str) -> Value {
    let mut result: Value = serde_json::from_str(&result(name)).unwrap();
    result["cniVersion"] = json!("1.1.0");
    result["routes"] = json!([]);
    result
}

#[test]
fn the_specifications_example_is_called_as_it_says() {
    let folder = Folder::new("example");
    let namespace = "/proc/self/ns/net";
    let mut programs = folder.programs();
    programs.environment.push("HOME=/root".into());
    programs.environment.push("CNI_IFNAME=stray".into());
    programs.environment.push("CNI_OTHER=stray".into());
    let mut attached = Attached::new(example(&folder), parameters(namespace)).unwrap();
    attached.add(&programs).unwrap();
    let result = attached.result().unwrap().unwrap();
    assert_eq!(result.interfaces[0].name, "portmap");
    assert!(attached.check(&programs).unwrap());
    attached.delete(&programs).unwrap();
    assert_eq!(
        folder.calls(),
        "ADD bridge, ADD tuning, ADD portmap, CHECK bridge, CHECK tuning, CHECK portmap, \
         DEL portmap, DEL tuning, DEL bridge"
    );
    let mut bridge = json!({
        "cniVersion": "1.1.0", "name": "dbnet", "type": "bridge", "bridge": "cni0", "keyA": ["some more"],
        "ipam": {"type": "host-local"},
    });
    let mut portmap = json!({
        "cniVersion": "1.1.0", "name": "dbnet", "type": "portmap",
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
        "prevResult": told("tuning"),
    });
    assert_eq!(folder.stdin("bridge", "ADD"), bridge);
    assert_eq!(folder.stdin("portmap", "ADD"), portmap);
    let tuning = folder.stdin("tuning", "ADD");
    assert_eq!(tuning["prevResult"], told("bridge"));
    assert_eq!(tuning["runtimeConfig"], json!({"mac": "00:11:22:33:44:66"}));
    assert_eq!(tuning.get("capabilities"), None);
    // CHECK and DEL are told the last result.
    for members in [&mut bridge, &mut portmap] {
        members["prevResult"] = told("portmap");
    }
    for operation in ["CHECK", "DEL"] {
        assert_eq!(folder.stdin("bridge", operation), bridge);
        assert_eq!(folder.stdin("portmap", operation), portmap);
    }
    for operation in ["ADD", "CHECK", "DEL"] {
        assert_eq!(
            folder.environment("tuning", operation),
            [
                "CNI_ARGS=argA=foo".to_string(),
                format!("CNI_COMMAND={operation}"),
                "CNI_CONTAINERID=c1".to_string(),
                "CNI_IFNAME=eth0".to_string(),
                format!("CNI_NETNS={namespace}"),
                format!("CNI_PATH={}/bin", folder.path().display()),
                "HOME=/root".to_string(),
                "PATH=/usr/bin:/bin".to_string(),
            ]
        );
    }
}

#[test]
fn a_record_is_all_that_check_and_delete_need() {
    if !rustix::process::geteuid().is_root() {
        return skip("a_record_is_all_that_check_and_delete_need", "needs root for a network namespace");
    }
    let folder = Folder::new("record");
    let programs = folder.programs();
    let container = Container::new();
    let mut attached = Attached::new(example(&folder), parameters(&container.path())).unwrap();
    let before = attached.to_json();
    attached.add(&programs).unwrap();
    let record = attached.to_json();
    fs::remove_file(folder.path().join("dbnet.conflist")).unwrap();
    let again = Attached::from_json(record.as_bytes()).unwrap();
    assert_eq!(again, attached);
    assert!(again.check(&programs).unwrap());
    let error = attached.add(&programs).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Taken, "CNI network dbnet: is attached already")
    );
    let path = container.path();
    drop(container);
    let error = again.check(&programs).unwrap_err().to_string();
    assert_eq!(error, format!("CNI network dbnet: the network namespace {path} is gone"));
    again.delete(&programs).unwrap();
    assert!(folder.environment("bridge", "DEL").contains(&"CNI_NETNS=".to_string()));
    assert_eq!(folder.stdin("bridge", "DEL")["prevResult"], told("portmap"));
    // What was written down before ADD is enough for DEL, too.
    let early = Attached::from_json(before.as_bytes()).unwrap();
    early.delete(&programs).unwrap();
    assert_eq!(folder.stdin("bridge", "DEL").get("prevResult"), None);
    let error = early.check(&programs).unwrap_err().to_string();
    assert_eq!(error, "CNI network dbnet: CHECK needs the result of ADD, and there is none");
}

#[test]
fn an_add_that_fails_is_undone_by_all_plugins() {
    let folder = Folder::new("undone");
    folder.chained("a");
    folder.plugin("b", &format!(r#"{ADD} echo '{{"code":7,"msg":"no","details":"never"}}'; exit 1"#));
    folder.plugin("c", r#"echo '{"code":5,"msg":"disk"}'; exit 1"#);
    let mut attached = attached(conflist("1.0.0", &["a", "b", "c"]));
    let error = attached.add(&folder.programs()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (
            Kind::Invalid,
            "CNI network net: plugin b: ADD: no: never (code 7); CNI network net: plugin c: DEL: disk (code 5)"
        )
    );
    assert_eq!(folder.calls(), "ADD a, ADD b, DEL c, DEL b, DEL a");
    // They are told what there is so far.
    assert_eq!(folder.stdin("a", "DEL")["prevResult"]["interfaces"][0]["name"], "a");
    // DEL has failed, so that this must be tried again.
    assert!(attached.result().unwrap().is_some());
    folder.plugin("c", "");
    attached.delete(&folder.programs()).unwrap();
}

#[test]
fn an_add_that_is_undone_can_be_tried_again() {
    let folder = Folder::new("again");
    folder.chained("a");
    folder.plugin("b", &format!("{ADD} exit 3"));
    let mut attached = attached(conflist("1.0.0", &["a", "b"]));
    let error = attached.add(&folder.programs()).unwrap_err().to_string();
    assert_eq!(error, "CNI network net: plugin b: ADD: failed with exit code 3 and printed nothing");
    assert_eq!(attached.result().unwrap(), None);
    folder.chained("b");
    attached.add(&folder.programs()).unwrap();
}

#[test]
fn nothing_is_called_if_a_program_is_missing() {
    let folder = Folder::new("missing");
    folder.chained("a");
    let mut attached = attached(conflist("1.0.0", &["a", "calico"]));
    let mut programs = folder.programs();
    programs.folders.push("/nowhere".into());
    let error = attached.add(&programs).unwrap_err();
    assert_eq!(error.kind(), Kind::Missing);
    let bin = folder.path().join("bin");
    assert_eq!(
        error.to_string(),
        format!(
            "CNI network net: plugin calico: ADD: no program calico in {}, /nowhere: install it (Debian's package \
             containernetworking-plugins has the usual ones), or name its folder in CNI_PATH",
            bin.display()
        )
    );
    assert_eq!(folder.calls(), "");
    fs::write(bin.join("calico"), "").unwrap();
    let error = attached.add(&programs).unwrap_err().to_string();
    assert!(error.contains(&format!("; {}/calico is not executable: ", bin.display())), "{error}");
}

#[test]
fn the_first_folder_counts() {
    let (first, second) = (Folder::new("first"), Folder::new("second"));
    second.chained("a");
    let mut programs = first.programs();
    programs.folders.extend(second.programs().folders);
    attached(conflist("1.0.0", &["a"])).add(&programs).unwrap();
    first.chained("a");
    attached(conflist("1.0.0", &["a"])).add(&programs).unwrap();
    assert_eq!((first.calls(), second.calls()), ("ADD a".to_string(), "ADD a".to_string()));
}

#[test]
fn delete_stops_at_an_error_unless_it_is_forced() {
    let folder = Folder::new("forced");
    for name in ["a", "b", "c"] {
        folder.chained(name);
    }
    let mut attached = attached(conflist("1.0.0", &["a", "b", "c"]));
    attached.add(&folder.programs()).unwrap();
    folder.plugin("b", "echo gone wrong >&2; exit 1");
    let error = attached.delete(&folder.programs()).unwrap_err().to_string();
    let expected =
        "CNI network net: plugin b: DEL: failed with exit code 1 and printed nothing; stderr: gone wrong";
    assert_eq!(error, expected);
    assert_eq!(folder.calls(), "ADD a, ADD b, ADD c, DEL c, DEL b");
    let error = attached.delete_forced(&folder.programs()).unwrap_err().to_string();
    assert_eq!(error, expected);
    assert_eq!(folder.calls(), "ADD a, ADD b, ADD c, DEL c, DEL b, DEL c, DEL b, DEL a");
}

#[test]
fn older_versions_have_fewer_calls() {
    let folder = Folder::new("older");
    folder.chained("a");
    let programs = folder.programs();
    let network = conflist("0.3.1", &["a"]);
    assert!(!network.collect_garbage(&programs, &[]).unwrap());
    assert!(!network.status(&programs).unwrap());
    let mut attached = attached(network);
    attached.add(&programs).unwrap();
    let result = attached.result().unwrap().unwrap();
    assert_eq!(result.cni_version, "0.3.1");
    assert!(!attached.check(&programs).unwrap());
    attached.delete(&programs).unwrap();
    assert_eq!(folder.calls(), "ADD a, DEL a");
    assert_eq!(folder.stdin("a", "DEL"), json!({"cniVersion": "0.3.1", "name": "net", "type": "a"}));
}

#[test]
fn a_result_of_another_version_is_passed_on_in_the_networks() {
    let folder = Folder::new("converted");
    folder
        .plugin("a", &format!(r#"{ADD} echo '{{"cniVersion":"1.0.0","ips":[{{"address":"fd00::5/64"}}]}}'"#));
    folder.chained("b");
    attached(conflist("0.4.0", &["a", "b"])).add(&folder.programs()).unwrap();
    let told = &folder.stdin("b", "ADD")["prevResult"];
    assert_eq!(told["cniVersion"], "0.4.0");
    assert_eq!(told["ips"], json!([{"version": "6", "address": "fd00::5/64"}]));
}

#[test]
fn what_the_configuration_forbids_is_not_called() {
    let folder = Folder::new("forbidden");
    folder.chained("a");
    let text = r#"{"cniVersion":"1.1.0","name":"net","disableCheck":true,"disableGC":true,"plugins":[{"type":"a"}]}"#;
    let network = Conflist::parse(text.as_bytes()).unwrap();
    assert!(!network.collect_garbage(&folder.programs(), &[]).unwrap());
    let mut attached = attached(network);
    attached.add(&folder.programs()).unwrap();
    // It is not forgotten on the way through a record.
    let attached = Attached::from_json(attached.to_json().as_bytes()).unwrap();
    assert!(!attached.check(&folder.programs()).unwrap());
    assert_eq!(folder.calls(), "ADD a");
}

#[test]
fn garbage_collection_tells_all_plugins_what_is_valid() {
    let folder = Folder::new("garbage");
    folder.plugin("a", r#"echo '{"code":100,"msg":"a fails"}'; exit 1"#);
    folder.plugin("b", "exit 2");
    folder.plugin("c", "");
    let valid = [ValidAttachment { container_id: "c1".into(), ifname: "eth0".into() }];
    let network = conflist("1.1.0", &["a", "b", "c"]);
    let error = network.collect_garbage(&folder.programs(), &valid).unwrap_err().to_string();
    assert_eq!(
        error,
        "CNI network net: plugin a: GC: a fails (code 100); \
         CNI network net: plugin b: GC: failed with exit code 2 and printed nothing"
    );
    assert_eq!(folder.calls(), "GC a, GC b, GC c");
    let valid = json!([{"containerID": "c1", "ifname": "eth0"}]);
    assert_eq!(
        folder.stdin("c", "GC"),
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "c",
            "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid,
        })
    );
    let variables: Vec<String> = folder.environment("c", "GC");
    assert_eq!(variables.len(), 3, "{variables:?}");
    assert!(conflist("1.1.0", &["c"]).collect_garbage(&folder.programs(), &[]).unwrap());
    assert_eq!(folder.stdin("c", "GC")["cni.dev/valid-attachments"], json!([]));
}

#[test]
fn status_is_asked_of_one_after_the_other() {
    let folder = Folder::new("status");
    folder.plugin("a", "");
    folder.plugin("b", r#"echo '{"code":50,"msg":"the daemon is away"}'; exit 1"#);
    folder.plugin("c", "");
    assert!(conflist("1.1.0", &["a", "c"]).status(&folder.programs()).unwrap());
    let error = conflist("1.1.0", &["a", "b", "c"]).status(&folder.programs()).unwrap_err().to_string();
    assert_eq!(
        error,
        "CNI network net: plugin b: STATUS: the daemon is away (code 50): the plugin is not ready: start what it needs"
    );
    assert_eq!(folder.calls(), "STATUS a, STATUS c, STATUS a, STATUS b");
}

#[test]
fn plugins_say_their_versions() {
    let folder = Folder::new("versions");
    folder.plugin("a", r#"echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0"]}'"#);
    assert_eq!(folder.programs().versions("a").unwrap(), ["0.4.0", "1.0.0"]);
    assert_eq!(folder.stdin("a", "VERSION"), json!({"cniVersion": "1.1.0"}));
    assert!(Path::new(&folder.path().join("got/a.VERSION.env")).exists());
    folder.plugin("a", "echo hello");
    let error = folder.programs().versions("a").unwrap_err().to_string();
    assert_eq!(
        error,
        "CNI plugin a: VERSION: printed \"hello\" instead of its versions: line 1, column 1: expected a value, found 'h'"
    );
}
