//! The configurations that `spec` writes, in substance the same as runc's.

use rustix::process::{Gid, Uid};

/// The text to replace by the host's id, once in each map.
const HOST_ID: &str = "\"hostID\": 0";

/// A container with a shell on a terminal, for root.
pub fn default_spec() -> &'static str {
    include_str!("default.json")
}

/// The same for an ordinary user, who becomes root inside; without what such a user can't have: a network of
/// its own, a new sysfs, other groups, and limits.
pub fn rootless_spec(uid: Uid, gid: Gid) -> String {
    let mut parts = include_str!("rootless.json").splitn(3, HOST_ID);
    let mut next = || parts.next().unwrap_or_default();
    format!("{}\"hostID\": {uid}{}\"hostID\": {gid}{}", next(), next(), next())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::spec::parse;
    use crate::validate::validate;

    #[test]
    fn both_are_valid() {
        for document in [default_spec(), &rootless_spec(Uid::from_raw(1000), Gid::from_raw(1001))] {
            let valid = validate(parse(document.as_bytes()).expect("parses")).expect("is valid");
            assert_eq!(valid.warnings, [""; 0]);
            assert_eq!(valid.hostname.as_deref(), Some("pillbox"));
            assert!(valid.process.terminal && valid.process.no_new_privileges && valid.root.readonly);
            assert!(document.ends_with("}\n"));
        }
    }

    /// The rootless document is the default one, changed as runc's `--rootless` changes it.
    #[test]
    fn rootless_differs_in_what_needs_privileges() {
        let mut expected: Value = serde_json::from_str(default_spec()).expect("is JSON");
        let linux = expected["linux"].as_object_mut().expect("is there");
        linux.remove("resources");
        linux.insert("uidMappings".into(), json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        linux.insert("gidMappings".into(), json!([{"containerID": 0, "hostID": 1001, "size": 1}]));
        let namespaces = linux["namespaces"].as_array_mut().expect("is a list");
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "user"}));
        for mount in expected["mounts"].as_array_mut().expect("is a list") {
            if mount["destination"] == "/sys" {
                *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
            }
            if let Some(Value::Array(options)) = mount.get_mut("options") {
                options.retain(|option| option != "gid=5");
            }
        }
        let rootless: Value =
            serde_json::from_str(&rootless_spec(Uid::from_raw(1000), Gid::from_raw(1001))).expect("is JSON");
        assert_eq!(rootless, expected);
    }
}
