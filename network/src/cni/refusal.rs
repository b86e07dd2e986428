//! How a plugin says that it has not done what it was asked for (SPEC.md, section 5, "Error").

use std::fmt;

use pillbox_json::object;

use super::writer::Writer;
use crate::error::Kind;

object! {
    /// The document that a plugin prints when it fails.
    #[derive(Eq)]
    Refusal {
        "cniVersion" => cni_version: String,
        /// From 100 on it is the plugin's own.
        "code" required => code: u32,
        /// What it is, in short.
        "msg" => msg: String,
        /// What it is, at length.
        "details" => details: String,
    }
}

impl Refusal {
    /// The version is not one of the plugin's.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field that the plugin does not support; the message has its key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container does not exist; nothing of it needs to be taken away.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// A variable of the environment is missing or wrong; the message has its name.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Something could not be read or written.
    pub const IO: u32 = 5;
    /// A document is not what it should be.
    pub const DECODE: u32 = 6;
    /// The configuration is wrong.
    pub const INVALID_CONFIGURATION: u32 = 7;
    /// What is in the way will pass.
    pub const TRY_AGAIN: u32 = 11;
    /// Of STATUS: no ADD is possible.
    pub const UNAVAILABLE: u32 = 50;
    /// Of STATUS: no ADD is possible, and containers of the network may be cut off.
    pub const LIMITED: u32 = 51;

    /// Writes it.
    pub fn write(&self) -> String {
        let Refusal { cni_version, code, msg, details } = self;
        let mut writer = Writer::new();
        writer.text("cniVersion", cni_version);
        writer.number("code", (*code).into());
        writer.text("msg", msg);
        writer.text("details", details);
        writer.finish()
    }

    /// The kind of error that it is for the caller.
    pub fn kind(&self) -> Kind {
        match self.code {
            Refusal::INCOMPATIBLE_VERSION | Refusal::UNSUPPORTED_FIELD | Refusal::INVALID_CONFIGURATION => {
                Kind::Invalid
            }
            Refusal::TRY_AGAIN => Kind::Busy,
            _ => Kind::Host,
        }
    }

    /// What helps, where the code tells.
    pub fn remedy(&self) -> Option<&'static str> {
        match self.code {
            Refusal::UNSUPPORTED_FIELD => Some("take the field out of the plugin's configuration"),
            Refusal::TRY_AGAIN => Some("try again later"),
            Refusal::UNAVAILABLE => Some("the plugin is not ready: start what it needs"),
            Refusal::LIMITED => {
                Some("the plugin is not ready, and its containers may be cut off: start what it needs")
            }
            _ => None,
        }
    }
}

/// In one line: `Invalid Configuration: Network 192.168.0.0/31 too small to allocate from. (code 7)`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { cni_version: _, code, msg, details } = self;
        let colon = if msg.is_empty() || details.is_empty() { "" } else { ": " };
        write!(f, "{} (code {code})", one_line(&format!("{msg}{colon}{details}")))
    }
}

/// How many characters of what a plugin says an error has.
const SHOWN: usize = 1000;

/// A plugin's words as part of a line, and not too many of them.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|character: char| character.is_whitespace() || character.is_control()) {
        if !line.is_empty() && !word.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(SHOWN) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        pillbox_json::parse::<Refusal>(text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn a_refusal_is_one_line() {
        assert_eq!(
            shown(
                r#"{"cniVersion":"1.1.0","code":7,"msg":"Invalid Configuration",
                    "details":"Network 192.168.0.0/31 too small to allocate from."}"#
            ),
            "Invalid Configuration: Network 192.168.0.0/31 too small to allocate from. (code 7)"
        );
        assert_eq!(shown(r#"{"code":100,"msg":"two\n\n  lines\u001b[31m"}"#), "two lines [31m (code 100)");
        assert_eq!(shown(r#"{"code":999,"details":"only these"}"#), "only these (code 999)");
        let long = shown(&format!(r#"{{"code":5,"msg":"{}"}}"#, "ü".repeat(2000)));
        assert_eq!(long.chars().count(), SHOWN + "… (code 5)".chars().count());
    }

    #[test]
    fn a_refusal_has_a_code() {
        for wrong in [r#"{"msg":"x"}"#, r#"{"code":"7"}"#, r#"{"code":-1}"#, "[]", "7", ""] {
            assert!(pillbox_json::parse::<Refusal>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_is_written_as_the_specification_has_it() {
        let refusal = Refusal { cni_version: "1.1.0".into(), code: 11, msg: "a".into(), details: "b".into() };
        assert_eq!(refusal.write(), r#"{"cniVersion":"1.1.0","code":11,"msg":"a","details":"b"}"#);
        assert_eq!((refusal.kind(), refusal.remedy()), (Kind::Busy, Some("try again later")));
    }
}
