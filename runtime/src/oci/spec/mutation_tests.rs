//! Thousands of broken documents, compared with serde_json.

use serde_json::{Value, json};

use super::tests::{Reflect, fixtures};

/// xorshift64: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("fits")
    }
}

fn mutate(document: &mut Vec<u8>, random: &mut Random) {
    const SPICE: &[&[u8]] = &[
        b"null",
        b"true",
        b"-0",
        b"1e5",
        b"0.5",
        b"18446744073709551616",
        b"-9223372036854775808",
        b"\"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\\uDFFF",
        b"\x00",
        b"\xff",
        "ü".as_bytes(),
        b"{\"a\":[{}]}",
        b" ",
        b"//",
        b"'",
        b"NaN",
        b"\x7f",
    ];
    let at = random.below(document.len() + 1);
    match random.below(5) {
        0 => document.truncate(at),
        1 if at < document.len() => document[at] ^= 1 << random.below(8),
        2 if at < document.len() => drop(document.remove(at)),
        3 => {
            let end = (at + random.below(40)).min(document.len());
            let piece = document[at..end].to_vec();
            let to = random.below(document.len() + 1);
            document.splice(to..to, piece);
        }
        _ => drop(document.splice(at..at, SPICE[random.below(SPICE.len())].iter().copied())),
    }
}

/// A document that is accepted has the content that serde_json reads. One that is refused is malformed for
/// serde_json too, or has a wrong type at the place that the error names, or a missing or repeated member.
#[test]
fn mutated_documents_agree_with_serde_json() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut read, mut valid, mut malformed, mut mistyped, mut incomplete) = (0, 0, 0, 0, 0);
    for (name, original) in fixtures(".json").into_iter().filter(|(name, _)| !name.ends_with("process.json"))
    {
        // Most seccomp names are alike: with fewer of them, mutations hit the rest more often.
        let mut compact: Value = serde_json::from_slice(&original).expect("serde_json reads it");
        if let Some(Value::Array(rules)) = compact.pointer_mut("/linux/seccomp/syscalls") {
            rules.truncate(3);
            rules.iter_mut().for_each(|rule| rule["names"] = json!(["read", "write"]));
        }
        let compact = compact.to_string().into_bytes();
        for _ in 0..400 {
            let mut document = compact.clone();
            for _ in 0..=random.below(3) {
                mutate(&mut document, &mut random);
            }
            let is_json = str::from_utf8(&document).is_ok()
                && serde_json::from_slice::<serde::de::IgnoredAny>(&document).is_ok();
            let shown = String::from_utf8_lossy(&document);
            match super::parse(&document).map_err(|error| error.to_string()) {
                Ok(spec) => {
                    assert!(is_json, "{name}: accepted {shown}");
                    read += 1;
                    let reflected = spec.reflect();
                    // Valid or not: validation must end.
                    valid += usize::from(crate::validate::validate(spec).is_ok());
                    // serde_json refuses lone surrogates; and mutated keys may be unknown or repeated.
                    if let Ok(expected) = serde_json::from_slice::<Value>(&document) {
                        assert_no_contradiction(&expected, &reflected, &shown);
                    }
                }
                Err(error) if error.contains(" is not a") || error.contains(" is not true or false") => {
                    mistyped += 1;
                    let path = error.split(": ").next().unwrap_or_default();
                    assert!(!path.is_empty(), "{error}");
                }
                Err(error) if error.ends_with(": missing") || error.ends_with(": is there twice") => {
                    incomplete += 1;
                    let path = error.split(": ").next().unwrap_or_default();
                    let name = path.rsplit('.').next().unwrap_or_default();
                    assert!(!name.is_empty() && !path.ends_with(']'), "{error}");
                }
                Err(error) => {
                    malformed += 1;
                    assert!(!is_json, "{name}: {error}: {shown}");
                }
            }
        }
    }
    let enough = read > 1000 && valid > 1000 && malformed > 1000 && mistyped > 50 && incomplete > 50;
    assert!(enough, "{read} {valid} {malformed} {mistyped} {incomplete}");
}

fn assert_no_contradiction(document: &Value, parsed: &Value, shown: &str) {
    match (document, parsed) {
        (Value::Object(document), Value::Object(parsed)) => {
            for (key, value) in parsed {
                if let Some(expected) = document.get(key).filter(|expected| !expected.is_null()) {
                    assert_no_contradiction(expected, value, shown);
                }
            }
        }
        (Value::Array(document), Value::Array(parsed)) => {
            assert_eq!(document.len(), parsed.len(), "{shown}");
            document.iter().zip(parsed).for_each(|(d, p)| assert_no_contradiction(d, p, shown));
        }
        // serde_json reads -0 as a float.
        (Value::Number(document), _) if document.as_f64() == Some(0.0) => {
            assert_eq!(*parsed, json!(0), "{shown}")
        }
        _ => assert_eq!(document, parsed, "{shown}"),
    }
}
