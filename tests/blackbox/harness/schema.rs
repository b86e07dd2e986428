//! Validates against the specification's JSON schemas, as far as they are used here: an unknown keyword is a
//! failure.

use std::cmp::Ordering;

use serde_json::{Map, Value};

const DOCUMENTS: [(&str, &str); 7] = [
    ("config-schema.json", include_str!("../../fixtures/oci-spec/config-schema.json")),
    ("config-linux.json", include_str!("../../fixtures/oci-spec/config-linux.json")),
    ("features-schema.json", include_str!("../../fixtures/oci-spec/features-schema.json")),
    ("features-linux.json", include_str!("../../fixtures/oci-spec/features-linux.json")),
    ("state-schema.json", include_str!("../../fixtures/oci-spec/state-schema.json")),
    ("defs.json", include_str!("../../fixtures/oci-spec/defs.json")),
    ("defs-linux.json", include_str!("../../fixtures/oci-spec/defs-linux.json")),
];

/// Asserts that `value` matches the schema in `document`.
#[track_caller]
pub fn assert_matches(document: &str, value: &Value) {
    let faults = faults(document, value);
    assert!(faults.is_empty(), "{document}: {faults:#?}: {value}");
}

/// How `value` deviates from the schema in `document`.
pub fn faults(document: &str, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, &load(document), value, "", &mut faults);
    faults
}

fn load(document: &str) -> Value {
    let (_, text) = DOCUMENTS.iter().find(|(name, _)| *name == document).expect("schema");
    serde_json::from_str(text).expect("schema")
}

fn check(document: &str, schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().into_iter().flatten() {
        let holds = match keyword.as_str() {
            "description" | "$schema" | "required" => true,
            "$ref" => {
                let reference = rule.as_str().expect("reference");
                let (file, pointer) = reference.split_once('#').expect("reference");
                let file = if file.is_empty() { document } else { file };
                // A runtime for Linux does not use the parts for other systems, and their schemas are not
                // here.
                let is_here = DOCUMENTS.iter().any(|(name, _)| *name == file);
                if is_here || !file.starts_with("config-") {
                    let root = load(file);
                    check(file, root.pointer(pointer).expect("definition"), value, path, faults);
                }
                true
            }
            "type" => has_type(rule.as_str().expect("type"), value),
            "enum" => rule.as_array().expect("enum").contains(value),
            // Compared as integers if possible: as floats, the largest numbers could not be distinguished.
            "minimum" => compare(value, rule).is_none_or(Ordering::is_ge),
            "maximum" => compare(value, rule).is_none_or(Ordering::is_le),
            "minItems" => {
                value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().expect("minItems"))
            }
            "allOf" => {
                for rule in rule.as_array().expect("allOf") {
                    check(document, rule, value, path, faults);
                }
                true
            }
            "anyOf" => rule.as_array().expect("anyOf").iter().any(|rule| {
                let mut faults = Vec::new();
                check(document, rule, value, path, &mut faults);
                faults.is_empty()
            }),
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if schema["properties"].get(name).is_none() {
                        check(document, rule, member, &format!("{path}.{name}"), faults);
                    }
                }
                true
            }
            "pattern" => matches(rule.as_str().expect("pattern"), value.as_str().unwrap_or_default()),
            "properties" => {
                for (name, rule) in rule.as_object().expect("properties") {
                    if let Some(member) = value.get(name) {
                        check(document, rule, member, &format!("{path}.{name}"), faults);
                    }
                }
                true
            }
            "patternProperties" => {
                // The only pattern in use matches every key.
                for (name, member) in value.as_object().unwrap_or(&Map::new()) {
                    for rule in rule.as_object().expect("patternProperties").values() {
                        check(document, rule, member, &format!("{path}.{name}"), faults);
                    }
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{path}[{index}]"), faults);
                }
                true
            }
            unknown => panic!("{document}: {unknown}: this keyword is not known here"),
        };
        if !holds {
            faults.push(format!("{path}: {value} against {keyword} {rule}"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().expect("name")).is_none() {
            faults.push(format!("{path}: {name} is missing"));
        }
    }
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        unknown => panic!("type {unknown}: not known here"),
    }
}

fn compare(value: &Value, rule: &Value) -> Option<Ordering> {
    let integer = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    match (integer(value), integer(rule)) {
        (Some(value), Some(rule)) => Some(value.cmp(&rule)),
        _ => value.as_f64()?.partial_cmp(&rule.as_f64()?),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let is_name = |prefix: &str, more: &[u8]| {
        let rest = text.strip_prefix(prefix).unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || more.contains(&byte))
    };
    match pattern {
        "^CAP_[A-Z_]+$" => is_name("CAP_", b"_"),
        "^RLIMIT_[A-Z]+$" => is_name("RLIMIT_", b""),
        "^[cbup]$" => matches!(text, "c" | "b" | "u" | "p"),
        "^[0-9, -]*$" => text.bytes().all(|byte| byte.is_ascii_digit() || b", -".contains(&byte)),
        "^MB:[^\\n]*$" => text.starts_with("MB:") && !text.contains('\n'),
        "^[1-9][0-9]*[KMG]B$" => {
            let number = text.strip_suffix("B").and_then(|text| text.strip_suffix(['K', 'M', 'G']));
            number.is_some_and(|number| {
                !number.starts_with('0')
                    && !number.is_empty()
                    && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        }
        unknown => panic!("pattern {unknown}: not known here"),
    }
}
