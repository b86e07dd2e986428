//! A document that a client sends, and which of its members cannot be. Pure.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::{Fault, Outcome};

use crate::order::Collect;

/// In documents with more members nobody looks for the one that is wrong: each look reads all of them.
const MEMBERS_MAX: usize = 300;

/// Reads a document.
///
/// # Errors
/// It is none, or one of another form; the member is named.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Outcome<T> {
    let wrong = |what: String| Fault::invalid(format!("invalid JSON: {what}"));
    let document: Value = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    // A list would be taken for the members in their order.
    if !document.is_object() {
        return Err(wrong("it must be an object: {\"NAME\": VALUE, …}".to_string()));
    }
    let document = without_nulls(document);
    T::deserialize(&document).map_err(|error| match wrong_member::<T>(&document) {
        Some(path) => wrong(format!("{path}: {error}")),
        None => wrong(error.to_string()),
    })
}

/// To Go, null is as good as nothing.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(name, value)| (name, without_nulls(value))).collect_map())
        }
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

/// The member without which the rest can be read, as `HostConfig.Memory`.
fn wrong_member<T: DeserializeOwned>(document: &Value) -> Option<String> {
    if count(document) > MEMBERS_MAX {
        return None;
    }
    let mut path: Vec<&str> = Vec::new();
    let mut within = document;
    while let Value::Object(members) = within {
        let wrong = members.iter().find(|(name, _)| {
            let path = [&path[..], &[name.as_str()]].concat();
            T::deserialize(&without(document, &path)).is_ok()
        });
        let Some((name, value)) = wrong else { break };
        path.push(name);
        within = value;
    }
    (!path.is_empty()).then(|| path.join("."))
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.values().map(|member| 1 + count(member)).sum(),
        Value::Array(values) => values.iter().map(|value| 1 + count(value)).sum(),
        _ => 0,
    }
}

fn without(document: &Value, path: &[&str]) -> Value {
    let mut document = document.clone();
    if let Some((last, above)) = path.split_last() {
        let within = above.iter().try_fold(&mut document, |value, name| value.get_mut(*name));
        if let Some(Value::Object(members)) = within {
            members.remove(*last);
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[allow(dead_code)]
    struct Body {
        image: String,
        env: Vec<String>,
        labels: BTreeMap<String, String>,
        host_config: Host,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[allow(dead_code)]
    struct Host {
        binds: Vec<String>,
        #[serde(flatten)]
        limits: Limits,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[allow(dead_code)]
    struct Limits {
        memory: u64,
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |text: &str| parse::<Body>(text.as_bytes()).unwrap_err().message().to_string();
        for (text, member) in [
            (r#"{"Image": "a", "HostConfig": {"Memory": -1}}"#, "HostConfig.Memory: invalid value"),
            (r#"{"HostConfig": {"Binds": [1]}}"#, "HostConfig.Binds: invalid type"),
            (r#"{"Env": "a"}"#, "Env: invalid type"),
            (r#"{"Labels": {"a": "b", "c": 5}}"#, "Labels.c: invalid type"),
            ("[]", "it must be an object"),
        ] {
            let said = said(text);
            assert!(said.starts_with(&format!("invalid JSON: {member}")), "{said}");
        }
        // Two of them, or very many: nobody says which.
        assert!(said(r#"{"Env": "a", "Image": 1}"#).starts_with("invalid JSON: invalid type"));
        let many: Vec<String> = (0..400).map(|number| format!("\"l{number}\": \"\"")).collect();
        let text = format!("{{\"Image\": 1, \"Labels\": {{{}}}}}", many.join(","));
        assert!(said(&text).starts_with("invalid JSON: invalid type"));
        assert!(parse::<Body>(br#"{"Image": null, "HostConfig": {"Binds": null}}"#).is_ok());
    }
}
