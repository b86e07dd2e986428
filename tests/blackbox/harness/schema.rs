//! The specification's JSON schemas, as far as they are used here: a keyword that is not known is a failure.

use serde_json::{Map, Value};

const DOCUMENTS: [(&str, &str); 5] = [
    ("features-schema.json", include_str!("../../fixtures/oci-spec/features-schema.json")),
    ("features-linux.json", include_str!("../../fixtures/oci-spec/features-linux.json")),
    ("state-schema.json", include_str!("../../fixtures/oci-spec/state-schema.json")),
    ("defs.json", include_str!("../../fixtures/oci-spec/defs.json")),
    ("defs-linux.json", include_str!("../../fixtures/oci-spec/defs-linux.json")),
];

/// Asserts that `value` is what the schema in `document` describes.
#[track_caller]
pub fn assert_matches(document: &str, value: &Value) {
    let mut faults = Vec::new();
    check(document, &load(document), value, "", &mut faults);
    assert!(faults.is_empty(), "{document}: {faults:#?}: {value}");
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
                let root = load(file);
                check(file, root.pointer(pointer).expect("definition"), value, path, faults);
                true
            }
            "type" => has_type(rule.as_str().expect("type"), value),
            "enum" => rule.as_array().expect("enum").contains(value),
            "minimum" => value.as_f64() >= rule.as_f64(),
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
                // The only one there is says: any key.
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
        unknown => panic!("type {unknown}: not known here"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^CAP_[A-Z_]+$" => {
            let rest = text.strip_prefix("CAP_").unwrap_or_default();
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        }
        unknown => panic!("pattern {unknown}: not known here"),
    }
}
