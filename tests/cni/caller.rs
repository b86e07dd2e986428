//! pillbox as the caller: containers that `--cni` connects, by pillbox-net and by plugins of the tests' own.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::Container;
use crate::host::{Host, on_a_host};
use crate::inventory::Inventory;
use crate::plugin::{FOLDER, install, network, output, script, wait_for_remains, with};
use crate::standpoint::Standpoint;
use crate::traffic::Tcp;

/// What plugins of the tests' own have got on stdin: `NAME.COMMAND`, the last one.
const GOT: &str = "/run/got";

/// A container whose program does nothing until it is killed.
fn sleeper(host: &Host) -> Container<'_> {
    let mut container = Container::new(&host.runtime);
    container.spec["process"]["args"] = json!(["/bin/sleep", "1000000"]);
    container
}

/// pillbox-net, as an object of a list.
fn own() -> Value {
    with(&network(), json!({"cniVersion": null, "name": null, "capabilities": {"portMappings": true}}))
}

/// Writes a configuration and returns its path.
fn list(host: &Host, version: &str, plugins: &[Value]) -> String {
    install(host);
    let path = format!("{FOLDER}/{version}.conflist");
    let document = json!({"cniVersion": version, "name": "testnet", "plugins": plugins});
    fs::write(&path, document.to_string()).expect("a configuration");
    path
}

/// A plugin that notes what it has got and succeeds with what it was given.
fn noting(name: &str) -> Value {
    fs::create_dir_all(GOT).expect("a folder");
    let result = r#"sed 's/.*"prevResult":\(.*\)}$/\1/'"#;
    let text = format!(
        "cat >{GOT}/{name}.$CNI_COMMAND\necho $CNI_ARGS $CNI_CONTAINERID $CNI_IFNAME >{GOT}/{name}.$CNI_COMMAND.args\n[ $CNI_COMMAND != ADD ] || {result} {GOT}/{name}.ADD"
    );
    script(name, &text);
    json!({"type": name})
}

fn got(name: &str, operation: &str) -> Value {
    let text = fs::read_to_string(format!("{GOT}/{name}.{operation}")).expect("it has been called");
    serde_json::from_str(&text).expect(&text)
}

/// With the folders of plugins.
fn called(mut command: Command) -> Command {
    command.env("CNI_PATH", format!("{FOLDER}:/usr/lib/cni"));
    command
}

fn create(container: &Container<'_>, flags: &[&str]) {
    container.finish(&mut called(container.bundle_command("create", flags))).ok();
    container.start().ok();
}

#[test]
fn a_list_connects_a_container() {
    on_a_host(|host| {
        let before = Inventory::take();
        let list = list(host, "1.1.0", &[own(), noting("behind")]);
        let container = sleeper(host);
        create(&container, &["--cni", &list, "--publish", "8080:80"]);
        let state = container.state();
        assert_eq!(state["network"][0]["network"], "testnet", "{state}");
        assert_eq!(state["network"][0]["addresses"], json!(["10.77.0.2/24", "fd77::2/64"]), "{state}");
        assert_eq!(got("behind", "ADD")["prevResult"]["ips"][0]["address"], "10.77.0.2/24");
        let inside = Standpoint::Of(container.pid());
        let _server = inside.serve("it", Tcp, 80);
        assert!(Standpoint::Host.ask(Tcp, "127.0.0.1:8080").starts_with("it sees "));
        assert!(Standpoint::Host.ask(Tcp, "10.77.0.2:80").starts_with("it sees 10.77.0.1"));
        assert_eq!(container.call(&["net", "check"]).ok().stdout, "");
        assert_eq!(got("behind", "CHECK")["prevResult"]["ips"][0]["address"], "10.77.0.2/24");
        container.delete_force().ok();
        container.assert_gone();
        assert_eq!(got("behind", "DEL")["name"], "testnet");
        wait_for_remains();
        host.net(&["rm", "testnet"]);
        before.is_back();
    });
}

/// Capability arguments go to the plugins that list them, and so do the others' arguments.
#[test]
fn what_the_flags_say_reaches_the_plugins() {
    on_a_host(|host| {
        let wants =
            |name: &str, capabilities: Value| with(&noting(name), json!({"capabilities": capabilities}));
        let all = wants("all", json!({"bandwidth": true, "ips": true, "mac": true, "dns": true}));
        let some = wants("some", json!({"mac": true, "portMappings": true, "ips": false}));
        let list = list(host, "1.1.0", &[own(), all, some]);
        let container = sleeper(host);
        let given = json!({
            "bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 2_000_000}, "ips": ["10.77.0.9/24"],
            "mac": "02:11:22:33:44:55", "dns": {"searches": ["example"], "servers": ["192.0.2.53"]}
        });
        let mut flags = ["--publish=8080:80", "--cni-args=IgnoreUnknown=1", "--cni-args=K8S_POD_NAME=web"]
            .map(String::from)
            .to_vec();
        flags.push(format!("--cni={list}"));
        let arguments = given.as_object().expect("an object").iter();
        flags.extend(arguments.map(|(name, value)| format!("--cni-capability={name}={value}")));
        create(&container, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        for operation in ["ADD", "DEL"] {
            if operation == "DEL" {
                container.delete_force().ok();
            }
            assert_eq!(got("all", operation)["runtimeConfig"], given, "{operation}");
            let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
            let expected = json!({"mac": "02:11:22:33:44:55", "portMappings": ports});
            assert_eq!(got("some", operation)["runtimeConfig"], expected, "{operation}");
            let told = fs::read_to_string(format!("{GOT}/all.{operation}.args")).expect("it has been called");
            assert_eq!(told, format!("IgnoreUnknown=1;K8S_POD_NAME=web {} eth0\n", container.id));
        }
        let wrong = format!("--cni-capability=mac={}", json!(["02:11:22:33:44:55"]));
        let list = format!("--cni={list}");
        let refused = container.finish(&mut called(container.bundle_command("create", &[&list, &wrong])));
        refused.fails_with("capability argument \"mac\"");
        container.assert_gone();
    });
}

#[test]
fn a_network_is_found_by_its_name() {
    on_a_host(|host| {
        // An /etc of the test's own.
        output(
            "sh",
            &[
                "-ec",
                "mkdir -p /run/etc /run/work; mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc",
            ],
        );
        let folder = "/etc/cni/net.d";
        fs::create_dir_all(folder).expect("a folder");
        fs::write(format!("{folder}/00-broken.conflist"), "{").expect("a file");
        let path = list(host, "1.0.0", &[own()]);
        fs::copy(path, format!("{folder}/10-own.conflist")).expect("a configuration");
        let container = sleeper(host);
        create(&container, &["--cni-network", "testnet"]);
        assert_eq!(container.state()["network"][0]["addresses"], json!(["10.77.0.2/24", "fd77::2/64"]));
        container.delete_force().ok();
        let absent =
            container.finish(&mut called(container.bundle_command("create", &["--cni-network", "absent"])));
        // With what is wrong with files that could have been meant.
        absent.fails_with("00-broken.conflist");
        container.assert_gone();
    });
}

#[test]
fn what_check_finds_is_said() {
    on_a_host(|host| {
        script(
            "picky",
            r#"case $CNI_COMMAND in ADD) echo '{"cniVersion":"1.0.0"}';; CHECK) echo '{"code":123,"msg":"it is gone"}'; exit 1;; esac"#,
        );
        let list = list(host, "1.0.0", &[json!({"type": "picky"})]);
        let container = sleeper(host);
        create(&container, &["--cni", &list]);
        let checked = container.call(&["net", "check"]);
        let said = format!(
            "container {}: CNI network testnet: plugin picky: CHECK: it is gone (code 123)\n",
            container.id
        );
        assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (1, said.as_str(), ""));
        container.delete_force().ok();
    });
}

#[test]
fn plugins_learn_which_containers_there_are() {
    on_a_host(|host| {
        let list = list(host, "1.1.0", &[own(), noting("behind")]);
        let (first, second) = (sleeper(host), sleeper(host));
        create(&first, &["--cni", &list]);
        // Two containers below one root folder.
        let state = first.state_folder();
        let mut command = second.runtime.command();
        second.write_spec();
        command.arg("--root").arg(&state).args(["create", "--cni", &list, "--bundle"]).arg(second.bundle());
        second.finish(called(command).arg(&second.id)).ok();
        let collect =
            || first.finish(called(first.command(&["net", "gc"])).args(["--cni", &list])).ok().stdout;
        assert_eq!(collect(), "");
        let valid = || {
            let valid = got("behind", "GC")["cni.dev/valid-attachments"].clone();
            let ids = valid.as_array().expect("an array").iter().map(|one| one["containerID"].clone());
            let mut ids: Vec<String> = ids.map(|id| id.as_str().expect("an id").to_string()).collect();
            ids.sort();
            ids
        };
        let mut both = vec![first.id.clone(), second.id.clone()];
        both.sort();
        assert_eq!(valid(), both);
        assert_eq!(first.call(&["net", "check"]).ok().stdout, "", "neither has been taken away");
        first.call(&["delete", "--force", &second.id]).ok();
        // Otherwise gc may delete them, and says so.
        wait_for_remains();
        assert_eq!(collect(), "");
        assert_eq!(valid(), std::slice::from_ref(&first.id));
        first.delete_force().ok();
        wait_for_remains();
        assert_eq!(collect(), "");
        assert_eq!(valid(), Vec::<String>::new());
    });
}

#[test]
fn a_list_without_gc_is_named() {
    on_a_host(|host| {
        let list = list(host, "1.0.0", &[own()]);
        let container = sleeper(host);
        let collected = container.call(&["net", "gc", "--cni", &list]).ok().stdout;
        assert_eq!(
            collected,
            "network testnet: its plugins have not been called: GC is forbidden there (disableGC), or its cniVersion \
             is before 1.1.0\n"
        );
        let refused = container.call(&["net", "check", "--cni", &list]);
        refused.fails_with("net check: --cni: is for net gc alone");
    });
}

#[test]
fn a_plugin_that_fails_leaves_nothing() {
    on_a_host(|host| {
        script(
            "fails",
            r#"[ $CNI_COMMAND = DEL ] || { echo '{"code":200,"msg":"no","details":"none left"}'; exit 1; }"#,
        );
        let list = list(host, "1.0.0", &[own(), json!({"type": "fails"})]);
        let container = sleeper(host);
        let created = container.finish(&mut called(container.bundle_command("create", &["--cni", &list])));
        created.fails_with("CNI network testnet: plugin fails: ADD: no: none left (code 200)");
        container.assert_gone();
        wait_for_remains();
        assert!(Standpoint::Host.links().iter().all(|link| link.kind.as_deref() != Some("veth")));
        let missing = self::list(host, "1.0.0", &[json!({"type": "absent"})]);
        let created = container.finish(&mut called(container.bundle_command("create", &["--cni", &missing])));
        created.fails_with("plugin absent");
        container.assert_gone();
        let created =
            container.finish(&mut container.bundle_command("create", &["--cni", "/nowhere.conflist"]));
        created.fails_with("/nowhere.conflist");
        container.assert_gone();
    });
}
