//! Recordings of Docker's API: what its clients asked, and what was answered, with placeholders for what is never the same twice.
//!
//! `<7>` is an id, `<7s>` its short form, `<*>` anything, `<number>` any number. Documents that resemble a base have only what is
//! different in them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

/// All of them, in the order in which they were made.
pub struct Recordings {
    pub recordings: Vec<Recording>,
    /// One event of each kind: its type, its action, and what it names.
    pub events: Vec<Value>,
}

/// What one command has asked.
pub struct Recording {
    pub name: String,
    pub exchanges: Vec<Value>,
}

impl Recordings {
    pub fn read(path: &Path) -> Recordings {
        let text = std::fs::read_to_string(path).expect("recordings");
        let mut document: Value = serde_json::from_str(&text).expect("recordings");
        let bases = document["bases"].take();
        let list = |value: &mut Value| match value.take() {
            Value::Array(list) => list,
            other => panic!("{other}: must be a list"),
        };
        let recordings = list(&mut document["recordings"])
            .into_iter()
            .map(|mut recording| Recording {
                name: recording["name"].as_str().expect("a name").to_string(),
                exchanges: list(&mut recording["exchanges"])
                    .into_iter()
                    .map(|exchange| whole(exchange, &bases))
                    .collect(),
            })
            .collect();
        Recordings { recordings, events: list(&mut document["events"]) }
    }
}

/// A document with what its base has.
fn whole(value: Value, bases: &Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(|value| whole(value, bases)).collect(),
        Value::Object(mut members) => {
            let base = members.remove("$like");
            let members = members.into_iter().map(|(name, value)| (name, whole(value, bases))).collect();
            let Some(base) = base else { return Value::Object(members) };
            let mut made = bases[base.as_str().expect("a name")].clone();
            change(made.as_object_mut().expect("a base"), members);
            made
        }
        other => other,
    }
}

fn change(made: &mut Map<String, Value>, members: Map<String, Value>) {
    for (name, value) in members {
        match (made.get_mut(&name), value) {
            (_, Value::Array(gone)) if name == "$without" => {
                for name in gone {
                    made.remove(name.as_str().expect("a name"));
                }
            }
            (Some(Value::Object(made)), Value::Object(members)) => change(made, members),
            (_, value) => {
                made.insert(name, value);
            }
        }
    }
}

/// What stands for what: placeholders, and the values that they have here.
#[derive(Clone, Default)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_string(), value.to_string());
    }

    /// A text with the values that are known.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled += text,
                Piece::Value(name) => match self.known(name) {
                    Some(value) => filled += &value,
                    None => filled += &format!("<{name}>"),
                },
            }
        }
        filled
    }

    /// A text that is sent. Whatever has no value yet is the client's own, and gets one.
    pub fn fill_own(&mut self, text: &str) -> String {
        for piece in pieces(text) {
            if let Piece::Value(name) = piece
                && self.known(name).is_none()
            {
                let name = name.trim_end_matches('s');
                let digest = format!("{:0>64}", format!("{name}c{name}d{name}e{name}f"));
                self.set(name, &digest.chars().rev().collect::<String>());
            }
        }
        self.fill(text)
    }

    fn known(&self, name: &str) -> Option<String> {
        let short = || Some(self.0.get(name.strip_suffix('s')?)?[..12].to_string());
        self.0.get(name).cloned().or_else(short)
    }

    /// Whether a text is what was recorded. Ids that were not known are from now on.
    pub fn agree(&mut self, recorded: &str, own: &str) -> bool {
        self.agree_from(&pieces(recorded), own)
    }

    fn agree_from(&mut self, recorded: &[Piece<'_>], own: &str) -> bool {
        let Some((first, rest)) = recorded.split_first() else { return own.is_empty() };
        match first {
            Piece::Text(text) => own.strip_prefix(text).is_some_and(|own| self.agree_from(rest, own)),
            Piece::Value("*") => {
                let ends = own.char_indices().map(|(index, _)| index).chain([own.len()]);
                ends.rev().any(|end| self.agree_from(rest, &own[end..]))
            }
            Piece::Value(name) => match self.known(name) {
                Some(value) => own.strip_prefix(&value).is_some_and(|own| self.agree_from(rest, own)),
                None => self.learn(name, rest, own),
            },
        }
    }

    fn learn(&mut self, name: &str, rest: &[Piece<'_>], own: &str) -> bool {
        let length = if name.ends_with('s') { 12 } else { 64 };
        let is_id = own.len() >= length && own.as_bytes()[..length].iter().all(u8::is_ascii_hexdigit);
        let agrees = is_id && self.agree_from(rest, &own[length..]);
        if agrees {
            self.set(name, &own[..length]);
        }
        agrees
    }
}

enum Piece<'t> {
    Text(&'t str),
    Value(&'t str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut begin) = (Vec::new(), 0);
    for (start, _) in text.match_indices('<') {
        let Some(length) = text[start + 1..].find('>') else { break };
        let name = &text[start + 1..start + 1 + length];
        let is_id = name.trim_end_matches('s').bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty();
        if is_id || ["*", "registry", "room", "now", "hour ago"].contains(&name) {
            pieces.push(Piece::Text(&text[begin..start]));
            pieces.push(Piece::Value(name));
            begin = start + length + 2;
        }
    }
    pieces.push(Piece::Text(&text[begin..]));
    pieces
}

/// Where a document is not what was recorded: the place in it, and what is there.
pub fn differences(
    place: &str,
    recorded: &Value,
    own: &Value,
    values: &mut Values,
    found: &mut Vec<(String, String)>,
) {
    match (recorded, own) {
        (Value::String(recorded), Value::Number(_)) if recorded == "<number>" => {}
        (Value::String(recorded), _) if recorded == "<any>" => {}
        // Whoever can read nothing can read what is empty.
        (Value::Null, Value::Array(own)) if own.is_empty() => {}
        (Value::Null, Value::Object(own)) if own.is_empty() => {}
        (Value::String(recorded), Value::String(own)) if values.agree(recorded, own) => {}
        (Value::Object(recorded), Value::Object(own)) => {
            let recorded: BTreeMap<String, &Value> =
                recorded.iter().map(|(name, value)| (values.fill(name), value)).collect();
            for (name, value) in &recorded {
                match own.get(name) {
                    Some(own) => differences(&format!("{place}.{name}"), value, own, values, found),
                    None => found.push((format!("{place}.{name}"), format!("missing: {value}"))),
                }
            }
            for (name, value) in own.iter().filter(|(name, _)| !recorded.contains_key(*name)) {
                found.push((format!("{place}.{name}"), format!("only here: {value}")));
            }
        }
        (Value::Array(recorded), Value::Array(own))
            if recorded.len() == own.len() && recorded.iter().all(Value::is_object) =>
        {
            members_in_any_order(place, recorded, own, values, found);
        }
        (Value::Array(recorded), Value::Array(own)) if recorded.len() == own.len() => {
            for (recorded, own) in recorded.iter().zip(own) {
                differences(place, recorded, own, values, found);
            }
        }
        (recorded, own) if recorded == own => {}
        (recorded, own) => {
            let recorded =
                recorded.as_str().map_or(recorded.to_string(), |text| format!("{:?}", values.fill(text)));
            found.push((place.to_string(), format!("{own} instead of {recorded}")));
        }
    }
}

/// Each document of a list with the one that resembles it most.
fn members_in_any_order(
    place: &str,
    recorded: &[Value],
    own: &[Value],
    values: &mut Values,
    found: &mut Vec<(String, String)>,
) {
    let mut rest: Vec<&Value> = own.iter().collect();
    for recorded in recorded {
        let try_one = |own: &Value| {
            let (mut values, mut found) = (values.clone(), Vec::new());
            differences(place, recorded, own, &mut values, &mut found);
            (found, values)
        };
        let tried = rest.iter().map(|own| try_one(own)).enumerate();
        let Some((index, (nearest, learnt))) = tried.min_by_key(|(_, (found, _))| found.len()) else {
            return;
        };
        rest.remove(index);
        found.extend(nearest);
        *values = learnt;
    }
}
