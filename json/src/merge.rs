//! Changes a document without interpreting all of it: parts that are not named stay as they are, byte for
//! byte.

use crate::fault::{self, ParseError};
use crate::reader::{Failed, Reader};

/// Merges one JSON document into another. Members that are objects in both are merged; all others are
/// replaced or added.
///
/// `null` in `over` counts as absent, as everywhere in the specification's documents.
///
/// # Errors
/// One of the two is not JSON. A caller that has parsed both before knows which one.
pub fn merge(document: &str, over: &str) -> Result<String, ParseError> {
    let mut merged = String::with_capacity(document.len() + over.len());
    merge_values(document, over, &mut merged)?;
    Ok(merged)
}

/// The object in `document` without the member `name`; any other value as it is.
///
/// # Errors
/// It is not JSON.
pub fn without(document: &str, name: &str) -> Result<String, ParseError> {
    let Some(members) = members(document)? else { return Ok(document.to_string()) };
    let kept: Vec<_> = members.iter().filter(|member| member.name != name).collect();
    let texts: Vec<_> = kept.iter().map(|member| format!("{}:{}", member.key, member.value)).collect();
    Ok(format!("{{{}}}", texts.join(",")))
}

/// Recursion is limited by the reader's limit on nesting.
fn merge_values(document: &str, over: &str, merged: &mut String) -> Result<(), ParseError> {
    let (Some(mut members), Some(changes)) = (members(document)?, members(over)?) else {
        merged.push_str(over);
        return Ok(());
    };
    for change in changes {
        match members.iter_mut().find(|member| member.name == change.name) {
            Some(member) => member.changes.push(change.value),
            None => members.push(change),
        }
    }
    merged.push('{');
    for (position, Member { key, value, changes, name: _ }) in members.iter().enumerate() {
        if position > 0 {
            merged.push(',');
        }
        merged.push_str(key);
        merged.push(':');
        match changes.as_slice() {
            [] => merged.push_str(value),
            [over] => merge_values(value, over, merged)?,
            // The key is repeated: the last one counts.
            [.., last] => merge_values(value, last, merged)?,
        }
    }
    merged.push('}');
    Ok(())
}

/// A member of an object, as it stands in its document.
struct Member<'d> {
    /// With its escapes resolved.
    name: String,
    /// With its quotation marks.
    key: &'d str,
    value: &'d str,
    /// The values to merge into it.
    changes: Vec<&'d str>,
}

/// The members of the object in `document`, without those that are `null`; `None` for any other value.
fn members(document: &str) -> Result<Option<Vec<Member<'_>>>, ParseError> {
    let mut reader = Reader::new(document);
    if reader.peek() != Some(b'{') {
        return Ok(None);
    }
    let mut read = || {
        let mut members = Vec::new();
        reader.open(b'{', "an object")?;
        let mut is_first = true;
        while reader.next(b'}', is_first)? {
            is_first = false;
            reader.peek();
            let start = reader.at();
            let name = reader.key()?.into_owned();
            let (key, at) = (document[start..reader.at()].trim_end(), reader.at());
            let key = key.strip_suffix(':').unwrap_or(key).trim_end();
            if reader.take_null()? {
                continue;
            }
            reader.skip_value()?;
            members.push(Member { name, key, value: &document[at..reader.at()], changes: Vec::new() });
        }
        reader.finish()?;
        Ok(members)
    };
    let read: Result<_, Failed> = read();
    read.map(Some).map_err(|Failed| fault::describe(document, reader.fault()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(document: &str, over: &str) -> String {
        merge(document, over).unwrap()
    }

    #[test]
    fn what_is_named_changes_and_nothing_else() {
        let document = r#"{"a" : 1.50, "b":{"c": [1, 2],"d":"x\ny"} , "e":{}}"#;
        assert_eq!(merged(document, r#"{"b":{"c":[3]}}"#), r#"{"a":1.50,"b":{"c":[3],"d":"x\ny"},"e":{}}"#);
        assert_eq!(merged(document, r#" { } "#), r#"{"a":1.50,"b":{"c": [1, 2],"d":"x\ny"},"e":{}}"#);
        assert_eq!(
            merged(document, r#"{"f":{"g":null},"a":null,"e":7}"#),
            r#"{"a":1.50,"b":{"c": [1, 2],"d":"x\ny"},"e":7,"f":{"g":null}}"#
        );
    }

    #[test]
    fn objects_are_merged_and_other_values_replaced() {
        assert_eq!(merged("{}", r#"{"a":{"b":1}}"#), r#"{"a":{"b":1}}"#);
        assert_eq!(merged(r#"{"a":{"b":1}}"#, r#"{"a":2}"#), r#"{"a":2}"#);
        assert_eq!(merged(r#"{"a":2}"#, r#"{"a":{"b":1}}"#), r#"{"a":{"b":1}}"#);
        assert_eq!(merged(r#"{"a":null}"#, r#"{"a":{"b":1}}"#), r#"{"a":{"b":1}}"#);
    }

    #[test]
    fn keys_are_compared_without_their_escapes() {
        assert_eq!(merged(r#"{"a\u0062":1}"#, r#"{"ab":2}"#), r#"{"a\u0062":2}"#);
        assert_eq!(merged(r#"{"a":1}"#, r#"{"a":2,"a":3}"#), r#"{"a":3}"#);
    }

    #[test]
    fn a_member_can_be_left_out() {
        assert_eq!(without(r#"{"a":1,"b" :{"a":2},"\u0061":3}"#, "a").unwrap(), r#"{"b":{"a":2}}"#);
        assert_eq!(without("[1]", "a").unwrap(), "[1]");
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for over in ["{", "{\"a\"}", "{\"a\":1,}", "{} x"] {
            assert!(merge("{}", over).is_err(), "{over}");
        }
    }
}
