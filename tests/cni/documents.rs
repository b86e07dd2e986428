//! What it reads and prints, in all versions of the protocol.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::host::on_a_host;
use crate::plugin::{
    Container, FOLDER, NAME, VERSIONS, add, call, check, command, delete, install, network, run, with,
};

#[test]
fn it_says_which_versions_it_speaks() {
    on_a_host(|host| {
        for version in ["0.1.0", "1.0.0", "9.9.9"] {
            let said = call(host, "VERSION", None, &json!({"cniVersion": version})).ok();
            assert_eq!(said, json!({"cniVersion": version, "supportedVersions": VERSIONS}));
        }
        // Some callers send nothing.
        let said = run(&mut command(host, "VERSION", None), "").ok();
        assert_eq!(said, json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}));
    });
}

#[test]
fn the_name_counts_whatever_the_file_is() {
    on_a_host(|host| {
        install(host);
        let (linked, copied) = (format!("{FOLDER}/hard/{NAME}"), format!("{FOLDER}/copy/{NAME}"));
        fs::create_dir_all(format!("{FOLDER}/hard")).unwrap();
        fs::create_dir_all(format!("{FOLDER}/copy")).unwrap();
        fs::copy(&host.runtime.path, &copied).unwrap();
        fs::hard_link(&copied, &linked).unwrap();
        for path in [linked, copied] {
            let answer = run(Command::new(&path).env("CNI_COMMAND", "VERSION"), "{}");
            assert_eq!(answer.ok()["supportedVersions"], json!(VERSIONS), "{path}");
        }
        // By its own name it is the command, whatever the environment says.
        let output = host.runtime.command().arg("--version").env("CNI_COMMAND", "VERSION").output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("pillbox version "), "{output:?}");
        // Arguments mean nothing to a plugin.
        let answer = run(Command::new(install(host)).arg("list").env_clear(), "");
        assert_eq!(answer.refused().0, 4);
    });
}

#[test]
fn results_have_what_their_version_has() {
    on_a_host(|host| {
        for version in VERSIONS {
            let container = Container::new("c1");
            let routes = json!([{"dst": "0.0.0.0/0", "mtu": 1300}, {"dst": "::/0"}]);
            let mut network = with(&network(), json!({"cniVersion": version, "mtu": 1400}));
            network["ipam"]["routes"] = routes;
            let result = add(host, &container, &network);
            assert_eq!(result["cniVersion"], version);
            let interfaces = result["interfaces"].as_array().unwrap();
            let names: Vec<&str> = interfaces.iter().filter_map(|one| one["name"].as_str()).collect();
            assert!(names[0] == "test0" && names[1].starts_with("veth") && names[2] == "eth0", "{names:?}");
            assert_eq!(interfaces[2]["sandbox"], json!(container.machine.namespace()));
            assert_eq!((&interfaces[0]["sandbox"], &interfaces[1]["sandbox"]), (&Value::Null, &Value::Null));
            let is_newest = version == "1.1.0";
            assert_eq!(interfaces[2]["mtu"], if is_newest { json!(1400) } else { Value::Null });
            assert_eq!(result["routes"][0]["mtu"], if is_newest { json!(1300) } else { Value::Null });
            let ips = result["ips"].as_array().unwrap();
            assert_eq!((&ips[0]["gateway"], &ips[1]["gateway"]), (&json!("10.77.0.1"), &json!("fd77::1")));
            assert_eq!((&ips[0]["interface"], &ips[1]["interface"]), (&json!(2), &json!(2)));
            let families = [ips[0]["version"].clone(), ips[1]["version"].clone()];
            let is_old = version.starts_with("0.");
            assert_eq!(families, if is_old { [json!("4"), json!("6")] } else { [Value::Null, Value::Null] });
            let checked = check(host, &container, &network, &result);
            if version < "0.4.0" {
                let (code, text) = checked.refused();
                assert_eq!(
                    (code, text.as_str()),
                    (1, &*format!("cniVersion: \"{version}\" has no CHECK: it is there since 0.4.0"))
                );
            } else {
                assert_eq!(checked.ok(), Value::Null);
            }
            delete(host, &container, &network);
        }
    });
}

#[test]
fn what_it_says_of_addresses_is_so() {
    on_a_host(|host| {
        let container = Container::new("c1");
        let result = add(host, &container, &network());
        let mac = |name: &str| {
            let interfaces = result["interfaces"].as_array().unwrap();
            interfaces.iter().find(|one| one["name"] == name).unwrap()["mac"].as_str().unwrap().to_string()
        };
        let text = |mac: Option<[u8; 6]>| mac.unwrap().map(|byte| format!("{byte:02x}")).join(":");
        let host_end = result["interfaces"][1]["name"].as_str().unwrap();
        assert_eq!(container.at().addresses("eth0"), ["10.77.0.2/24", "fd77::2/64"]);
        assert_eq!(text(container.at().link("eth0").address), mac("eth0"));
        for name in ["test0", host_end] {
            let link = crate::standpoint::Standpoint::Host.link(name);
            assert_eq!(text(link.address), mac(name), "{name}");
        }
        delete(host, &container, &network());
    });
}
