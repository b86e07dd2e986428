//! Writes JSON.

use serde::Serialize;

/// A value as compact JSON.
///
/// # Errors
/// The value cannot be JSON, such as an object whose keys are numbers; the text says what.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, String> {
    // serde-json-core writes into a given buffer and reports if it is too small.
    let mut buffer = vec![0; 4096];
    loop {
        match serde_json_core::ser::to_slice(value, &mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return String::from_utf8(buffer).map_err(|_| "write JSON: not UTF-8".to_string());
            }
            Err(serde_json_core::ser::Error::BufferFull) => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(format!("write JSON: {error}")),
        }
    }
}

/// Turns compact JSON into readable JSON: one line for each member, two spaces per level.
pub fn pretty(compact: &str) -> String {
    let mut text = String::with_capacity(compact.len() * 2);
    let mut depth = 0usize;
    let mut characters = compact.chars().peekable();
    let mut in_string = false;
    let break_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => {
                text.push(character);
                text.extend(characters.next());
                continue;
            }
            '"' => in_string = !in_string,
            '{' | '[' if !in_string => {
                text.push(character);
                let close = if character == '{' { '}' } else { ']' };
                if characters.peek() == Some(&close) {
                    text.extend(characters.next());
                } else {
                    depth += 1;
                    break_line(&mut text, depth);
                }
                continue;
            }
            '}' | ']' if !in_string => {
                depth = depth.saturating_sub(1);
                break_line(&mut text, depth);
            }
            ',' if !in_string => {
                text.push(',');
                break_line(&mut text, depth);
                continue;
            }
            ':' if !in_string => {
                text.push_str(": ");
                continue;
            }
            _ => {}
        }
        text.push(character);
    }
    text
}

/// A JSON object with arbitrary keys, in the given order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(pub Vec<(String, String)>);

impl Serialize for Members {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let members =
            Members(vec![("a\"b\\\n".into(), "ü\u{1}\t".into()), ("long".into(), "x".repeat(9000))]);
        let compact = to_string(&members).unwrap();
        for text in [compact.clone(), pretty(&compact)] {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["a\"b\\\n"], "ü\u{1}\t");
            assert_eq!(value["long"].as_str().unwrap().len(), 9000);
        }
    }

    #[test]
    fn pretty_is_for_people() {
        assert_eq!(
            pretty(r#"{"a":[1,"x,y:{"],"b":{},"c":[]}"#),
            "{\n  \"a\": [\n    1,\n    \"x,y:{\"\n  ],\n  \"b\": {},\n  \"c\": []\n}"
        );
    }
}
