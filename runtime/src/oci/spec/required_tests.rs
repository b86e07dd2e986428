//! Every member that the specification's schemas require is reported by name if it is missing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::tests::fixtures_folder;

/// A configuration that has every object with required members.
fn full() -> Value {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let hook = json!([{"path": "/bin/hook"}]);
    let throttle = json!([{"major": 8, "minor": 0, "rate": 1}]);
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {
            "cwd": "/", "args": ["true"], "terminal": true,
            "consoleSize": {"height": 1, "width": 1},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 1},
            "scheduler": {"policy": "SCHED_BATCH"},
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
        },
        "mounts": [{"destination": "/tmp", "uidMappings": map, "gidMappings": map}],
        "hooks": {"prestart": hook, "createRuntime": hook, "createContainer": hook, "startContainer": hook,
            "poststart": hook, "poststop": hook},
        "linux": {
            "uidMappings": map, "gidMappings": map,
            "namespaces": [{"type": "mount"}, {"type": "user"}],
            "devices": [{"type": "p", "path": "/dev/pipe"}],
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
                "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]
            }]},
            "memoryPolicy": {"mode": "MPOL_DEFAULT", "nodes": ""},
            "personality": {"domain": "LINUX"},
            "resources": {
                "devices": [{"allow": true}],
                "pids": {"limit": 1},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
                "blockIO": {
                    "weightDevice": [{"major": 8, "minor": 0, "weight": 10}], "throttleReadBpsDevice": throttle,
                    "throttleWriteBpsDevice": throttle, "throttleReadIOPSDevice": throttle,
                    "throttleWriteIOPSDevice": throttle
                },
                "network": {"priorities": [{"name": "eth0", "priority": 0}]}
            }
        }
    })
}

/// Members that the specification's text requires beyond the schemas.
const OF_THE_TEXT: [&str; 6] = [
    "/process/ioPriority/priority",
    "/linux/memoryPolicy/mode",
    "/linux/personality/domain",
    "/linux/resources/blockIO/throttleReadBpsDevice/0/rate",
    "/linux/resources/blockIO/throttleWriteIOPSDevice/0/rate",
    "/root",
];

/// Members that runc and crun do not require: programs in Go that set no limit write `{}`.
const NOT_MISSED: [&str; 1] = ["/linux/resources/pids/limit"];

struct Walk {
    /// Pointers into the configuration.
    required: BTreeSet<String>,
    /// Pointers into the schemas to places where something is required.
    visited: BTreeSet<String>,
}

fn schema(document: &str) -> Option<Value> {
    let text = std::fs::read(fixtures_folder().join("oci-spec").join(document)).ok()?;
    serde_json::from_slice(&text).ok()
}

impl Walk {
    /// Walks `schema`, found at `place` of `document`, together with the value that it describes.
    fn go(&mut self, document: &str, place: &str, schema: &Value, value: &Value, at: &str) {
        for name in schema["required"].as_array().into_iter().flatten() {
            self.visited.insert(format!("{document}{place}"));
            self.required.insert(format!("{at}/{}", name.as_str().expect("a name")));
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let (file, pointer) = reference.split_once('#').expect("a reference");
            let file = if file.is_empty() { document } else { file };
            if let Some(root) = self::schema(file) {
                self.go(file, pointer, root.pointer(pointer).expect("a definition"), value, at);
            }
        }
        for list in ["allOf", "anyOf", "oneOf"] {
            for (index, part) in schema[list].as_array().into_iter().flatten().enumerate() {
                self.go(document, &format!("{place}/{list}/{index}"), part, value, at);
            }
        }
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get(name) {
                self.go(
                    document,
                    &format!("{place}/properties/{name}"),
                    part,
                    value,
                    &format!("{at}/{name}"),
                );
            }
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            self.go(document, &format!("{place}/items"), &schema["items"], value, &format!("{at}/{index}"));
        }
    }
}

/// All places of a schema where something is required.
fn all_required(document: &str, place: &str, schema: &Value, found: &mut BTreeSet<String>) {
    if schema["required"].is_array() {
        found.insert(format!("{document}{place}"));
    }
    let parts = schema.as_object().into_iter().flatten().map(|(key, part)| (key.clone(), part));
    let items = schema.as_array().into_iter().flatten().enumerate();
    for (key, part) in parts.chain(items.map(|(index, part)| (index.to_string(), part))) {
        all_required(document, &format!("{place}/{key}"), part, found);
    }
}

fn outcome(document: &Value) -> Result<(), String> {
    let text = document.to_string();
    let spec = super::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    crate::validate::validate(spec).map(drop).map_err(|error| error.to_string())
}

#[test]
fn what_is_required_and_missing_is_refused_by_name() {
    let full = full();
    outcome(&full).expect("nothing is missing");
    let mut walk = Walk { required: BTreeSet::new(), visited: BTreeSet::new() };
    let root = schema("config-schema.json").expect("a schema");
    walk.go("config-schema.json", "", &root, &full, "");
    let mut all = BTreeSet::new();
    for document in ["config-schema.json", "config-linux.json", "defs.json", "defs-linux.json"] {
        all_required(document, "", &schema(document).expect("a schema"), &mut all);
    }
    assert_eq!(walk.visited, all, "the configuration above is not full");

    walk.required.extend(OF_THE_TEXT.map(str::to_string));
    for pointer in walk.required {
        let mut document = full.clone();
        let (object, name) = pointer.rsplit_once('/').expect("a pointer");
        let removed = document
            .pointer_mut(object)
            .and_then(Value::as_object_mut)
            .and_then(|object| object.remove(name));
        assert!(removed.is_some(), "{pointer}");
        if NOT_MISSED.contains(&&*pointer) {
            assert_eq!(outcome(&document), Ok(()));
            continue;
        }
        let mut field = String::new();
        for part in pointer.split('/').skip(1) {
            match part.parse::<u32>() {
                Ok(index) => field += &format!("[{index}]"),
                Err(_) if field.is_empty() => field += part,
                Err(_) => field += &format!(".{part}"),
            }
        }
        let error = outcome(&document).expect_err(&pointer);
        assert!(error.starts_with(&format!("{field}: missing")), "{error}");
    }
}
