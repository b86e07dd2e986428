//! The specification's example from file to requests, and what is wrong with configurations and records.

use serde_json::{Value, json};

use super::capability::Capabilities;
use super::request::{Request, write_request, write_runtime_config};
use super::*;
use crate::error::Kind;
use crate::port::Port;

/// The specification's example of a configuration.
const EXAMPLE: &str = r#"{
    "cniVersion": "1.1.0",
    "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    "name": "dbnet",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "keyA": ["some more", "plugin specific", "configuration"],
            "ipam": {
                "type": "host-local",
                "subnet": "10.1.0.0/16",
                "gateway": "10.1.0.1",
                "routes": [{"dst": "0.0.0.0/0"}]
            },
            "dns": {"nameservers": ["10.1.0.1"]}
        },
        {"type": "tuning", "capabilities": {"mac": true}, "sysctl": {"net.core.somaxconn": "500"}},
        {"type": "portmap", "capabilities": {"portMappings": true}}
    ]
}"#;

/// A list of one plugin with other members beside.
fn list(members: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"net","plugins":[{{"type":"a"}}],{members}}}"#)
}

fn refused(text: &str) -> String {
    Conflist::parse(text.as_bytes()).expect_err(text).to_string()
}

fn parameters() -> Parameters {
    let mut capabilities = Capabilities::default();
    capabilities.add("mac", r#""00:11:22:33:44:66""#).unwrap();
    capabilities.add_ports(&Port::parse("8080:80").unwrap()).unwrap();
    Parameters {
        container_id: "c1".into(),
        namespace: "/proc/self/ns/net".into(),
        interface: INTERFACE.into(),
        args: "argA=foo".into(),
        capabilities,
    }
}

fn example() -> Attached {
    Attached::new(Conflist::parse(EXAMPLE.as_bytes()).unwrap(), parameters()).unwrap()
}

#[test]
fn the_specifications_example_is_read() {
    let conflist = Conflist::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!((conflist.name.as_str(), conflist.version), ("dbnet", Version::V1_1_0));
    let kinds: Vec<&str> = conflist.plugins.iter().map(|plugin| plugin.kind.as_str()).collect();
    assert_eq!(kinds, ["bridge", "tuning", "portmap"]);
    assert!(conflist.wants("mac") && conflist.wants("portMappings") && !conflist.wants("ips"));
    assert_eq!(Conflist::parse(conflist.to_json().as_bytes()).unwrap(), conflist);
}

#[test]
fn requests_are_those_of_the_specifications_example() {
    let attached = example();
    let result = r#"{"ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}]}"#;
    let request = |place: usize, result: Option<&str>| -> Value {
        let plugin = &attached.conflist.plugins[place];
        let runtime_config = write_runtime_config(plugin, &attached.parameters.capabilities);
        let added = [("runtimeConfig", runtime_config.as_deref()), ("prevResult", result)];
        let added: Vec<_> = added.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        serde_json::from_str(&write_request(&attached.conflist, plugin, &added).unwrap()).unwrap()
    };
    let mut bridge: Value = serde_json::from_str::<Value>(EXAMPLE).unwrap()["plugins"][0].take();
    bridge["cniVersion"] = json!("1.1.0");
    bridge["name"] = json!("dbnet");
    assert_eq!(request(0, None), bridge);
    assert_eq!(
        request(1, Some(result)),
        json!({
            "cniVersion": "1.1.0", "name": "dbnet", "type": "tuning",
            "sysctl": {"net.core.somaxconn": "500"},
            "runtimeConfig": {"mac": "00:11:22:33:44:66"},
            "prevResult": {"ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}]},
        })
    );
    assert_eq!(
        request(2, None),
        json!({
            "cniVersion": "1.1.0", "name": "dbnet", "type": "portmap",
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
        })
    );
}

#[test]
fn a_plugins_object_is_passed_on_as_it_stands_but_for_what_is_the_callers() {
    let text = r#"{"cniVersion":"0.4.0","name":"net","plugins":[{
        "type": "a", "name": "other", "cniVersion": "0.1.0", "capabilities": {"ips": false, "mac": null},
        "prevResult": 1, "runtimeConfig": 2, "cni.dev/x": 3, "args": {"cni": {"ips": ["10.0.0.1"]}},
        "number": 1.50e3, "nothing": null, "nested": {"a": [ {} ]}, "\u0075\"": "ü\n"
    }]}"#;
    let conflist = Conflist::parse(text.as_bytes()).unwrap();
    let written = write_request(&conflist, &conflist.plugins[0], &[("prevResult", "{}")]).unwrap();
    assert_eq!(
        written,
        concat!(
            r#"{"cniVersion":"0.4.0","name":"net","type":"a","args":{"cni": {"ips": ["10.0.0.1"]}},"#,
            r#""number":1.50e3,"nothing":null,"nested":{"a": [ {} ]},"u\"":"ü\n","prevResult":{}}"#
        )
    );
    let request: Request<'_> = pillbox_json::parse(written.as_bytes()).unwrap();
    assert_eq!((&*request.kind, request.prev_result.unwrap().0), ("a", "{}"));
}

#[test]
fn the_newest_version_of_a_list_counts() {
    for (versions, expected) in [
        (r#""cniVersion":"0.4.0""#, "0.4.0"),
        (r#""cniVersion":"0.4.0","cniVersions":["0.3.1"]"#, "0.4.0"),
        (r#""cniVersion":"2.0.0","cniVersions":["0.2.0","1.0.0","1.1.0","1.2.0"]"#, "1.1.0"),
        (r#""cniVersions":["0.3.0"]"#, "0.3.0"),
    ] {
        let text = format!(r#"{{{versions},"name":"n","plugins":[{{"type":"a"}}]}}"#);
        assert_eq!(Conflist::parse(text.as_bytes()).unwrap().version.name(), expected, "{text}");
    }
}

#[test]
fn a_single_plugin_is_a_list_of_one() {
    let text = r#" {"cniVersion":"0.3.1","name":"lo","type":"loopback","x":1}
    "#;
    let conflist = Conflist::parse(text.as_bytes()).unwrap();
    assert_eq!((conflist.name.as_str(), conflist.plugins.len()), ("lo", 1));
    assert_eq!(conflist.plugins[0].text, text.trim());
    let request = write_request(&conflist, &conflist.plugins[0], &[]).unwrap();
    assert_eq!(request, r#"{"cniVersion":"0.3.1","name":"lo","type":"loopback","x":1}"#);
}

#[test]
fn switches_may_be_strings() {
    let conflist = Conflist::parse(list(r#""disableCheck":"True","disableGC":true"#).as_bytes()).unwrap();
    assert!(conflist.disable_check && conflist.disable_gc);
    let conflist = Conflist::parse(list(r#""disableCheck":"false""#).as_bytes()).unwrap();
    assert!(!conflist.disable_check && !conflist.disable_gc);
    let error = refused(&list(r#""disableGC":"yes""#));
    assert_eq!(error, r#"disableGC: "yes" is not true or false"#);
}

#[test]
fn wrong_configurations_are_refused_with_what_would_be_right() {
    for (wrong, expected) in [
        ("", "is empty, not JSON"),
        ("{", "line 1, column 2"),
        ("[]", "[] is not an object"),
        (
            r#"{"name":"n","plugins":[{"type":"a"}]}"#,
            r#"cniVersion: "", cniVersions: []: must be 0.3.0, 0.3.1"#,
        ),
        (
            r#"{"cniVersion":"0.2.0","name":"n","type":"a"}"#,
            r#"cniVersion: "0.2.0", cniVersions: []: must be 0.3.0"#,
        ),
        (
            r#"{"cniVersion":"2.0.0","cniVersions":["x"],"name":"n"}"#,
            r#"cniVersion: "2.0.0", cniVersions: [x]: must be 0.3.0"#,
        ),
        (r#"{"cniVersion":1,"name":"n"}"#, "cniVersion: 1 is not a string"),
        (r#"{"cniVersion":"1.0.0","plugins":[{"type":"a"}]}"#, r#"network name "": CNI allows letters"#),
        (r#"{"cniVersion":"1.0.0","name":"../x","type":"a"}"#, r#"network name "../x": CNI allows"#),
        (r#"{"cniVersion":"1.0.0","name":"n"}"#, "plugins: lists none"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[]}"#, "plugins: lists none"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":{}}"#, "plugins: {} is not a list"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[{}]}"#, "plugins[0]: type: missing"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[7]}"#, "plugins[0]: 7 is not an object"),
        (
            r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"../sh"}]}"#,
            r#"plugins[1]: type: "../sh" is not the name of a program's file"#,
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a","x":1,"x":2}]}"#,
            "plugins[0]: x: is there twice",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a","capabilities":{"mac":1}}]}"#,
            "plugins[0]: capabilities.mac: 1 is not true or false",
        ),
    ] {
        let error = refused(wrong);
        assert!(error.starts_with(expected), "{wrong}: {error}");
    }
}

#[test]
fn what_is_kept_of_an_attachment_reads_back() {
    let mut attached = example();
    let text = attached.to_json();
    assert_eq!(Attached::from_json(text.as_bytes()).unwrap(), attached);
    assert_eq!(attached.result().unwrap(), None);
    let result = AddResult::parse(r#"{"ips":[{"address":"10.1.0.5/16"}]}"#, Version::V1_1_0).unwrap();
    attached.result = Some(result.write(Version::V1_1_0));
    attached.parameters.args = "A=\"\\ü".into();
    let text = attached.to_json();
    let again = Attached::from_json(text.as_bytes()).unwrap();
    assert_eq!((&again, again.result().unwrap().unwrap().ips), (&attached, result.ips));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["conflist"]["plugins"][0]["keyA"][0], "some more");
    assert_eq!(value["capabilityArgs"]["portMappings"][0]["hostPort"], 8080);
    for (wrong, expected) in [
        ("{}".to_string(), "CNI attachment: conflist: missing"),
        (text.replace("eth0", "e/h0"), r#"CNI attachment: interface name: "e/h0""#),
        (text.replace("dbnet", "-"), "CNI attachment: conflist: network name "),
        (text.replace(r#""tuning""#, "7"), "CNI attachment: conflist: plugins[1]: type: 7 is not a string"),
    ] {
        let error = Attached::from_json(wrong.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn parameters_that_cannot_be_are_refused() {
    let conflist = || Conflist::parse(EXAMPLE.as_bytes()).unwrap();
    let refused = |change: &dyn Fn(&mut Parameters)| {
        let mut parameters = parameters();
        change(&mut parameters);
        Attached::new(conflist(), parameters).unwrap_err()
    };
    for (error, expected) in [
        (refused(&|given| given.container_id = "a+b".into()), r#"CNI network dbnet: container id "a+b": "#),
        (
            refused(&|given| given.interface = "a b".into()),
            r#"CNI network dbnet: interface name: "a b" cannot be"#,
        ),
        (refused(&|given| given.args = "x".into()), r#"CNI network dbnet: CNI_ARGS "x": "#),
        (
            refused(&|given| given.capabilities.add("ips", "[]").unwrap()),
            r#"CNI network dbnet: capability argument "ips": no plugin of the network wants it"#,
        ),
    ] {
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let error = refused(&|given| given.namespace = "/proc/self/ns/nothing".into()).to_string();
    assert_eq!(error, "network namespace: stat of /proc/self/ns/nothing: no such file or folder");
}

#[test]
fn each_attachment_of_a_container_needs_its_own_interface() {
    let one = example();
    let mut other = example();
    other.conflist.name = "other".into();
    other.parameters.interface = "eth1".into();
    check_together(&[one.clone(), other.clone()]).unwrap();
    other.parameters.interface = "eth0".into();
    let error = check_together(&[one, other]).unwrap_err().to_string();
    assert_eq!(error, r#"interface name "eth0": is for CNI network dbnet and for other: each needs its own"#);
}

#[test]
fn a_namespace_that_has_become_another_is_not_passed_on() {
    let mut attached = example();
    assert_eq!(attached.present_namespace().unwrap(), "/proc/self/ns/net");
    attached.namespace.inode += 1;
    assert_eq!(attached.present_namespace().unwrap(), "");
    attached.namespace.path = "/proc/0/ns/net".into();
    assert_eq!(attached.present_namespace().unwrap(), "");
    // It says nothing about the namespace that nobody may look there.
    attached.namespace.path = format!("/{}", "x".repeat(5000));
    assert!(attached.present_namespace().is_err());
}

#[test]
fn folders_in_cni_path_are_absolute() {
    let folders = parse_path("/opt/cni/bin::/usr/lib/cni").unwrap();
    assert_eq!(folders, ["/opt/cni/bin", "/usr/lib/cni"]);
    assert_eq!(parse_path("/a:b").unwrap_err().to_string(), "CNI_PATH: b is not absolute");
    assert_eq!(parse_path(":").unwrap_err().to_string(), "CNI_PATH: names no folder");
}
