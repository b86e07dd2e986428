//! A configuration on its way to the runtime.

use serde::Serialize;
use serde_json::{Map, Value};

/// A config.json. Its seccomp profile is text from the beginning: nine tenths of it are the same for nearly all containers.
#[derive(Debug)]
pub struct Configuration {
    /// All members but `linux`.
    pub(super) members: Map<String, Value>,
    /// The members of `linux` but `seccomp`.
    pub(super) linux: Map<String, Value>,
    /// The member `seccomp` of `linux`, as JSON.
    pub(super) seccomp: Option<String>,
}

impl Configuration {
    /// The text of the file.
    pub fn text(&self) -> String {
        let Configuration { members, linux, seccomp } = self;
        let mut text = open(members);
        text.push_str("\"linux\":");
        match seccomp {
            None => text.push_str(&json(linux)),
            Some(profile) => {
                text.push_str(&open(linux));
                text.push_str("\"seccomp\":");
                text.push_str(profile);
                text.push('}');
            }
        }
        text.push('}');
        text
    }

    /// The program's part.
    pub fn process(&self) -> &Value {
        &self.members["process"]
    }

    /// All of it for a reader.
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_default()
    }
}

/// As JSON, not by way of a formatter, which would write it piece by piece.
pub(super) fn json(value: &impl Serialize) -> String {
    // Nothing in a configuration is something that JSON has not.
    serde_json::to_string(value).unwrap_or_default()
}

/// An object to which members can be added.
fn open(members: &Map<String, Value>) -> String {
    let mut text = json(members);
    text.pop();
    if !members.is_empty() {
        text.push(',');
    }
    text
}
