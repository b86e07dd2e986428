//! The parameters of a request, and the filters in one of them. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fault::{Fault, Outcome};
use crate::command::PruneFilter;

/// What stands behind `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// `name=value&…`, with escapes.
    ///
    /// # Errors
    /// An escape is none.
    pub fn parse(text: &str) -> Outcome<Query> {
        let part = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let plain = |text: &str| unescape(&text.replace('+', " "));
            let wrong = || Fault::invalid(format!("parameter {part}: a wrong escape"));
            Ok((plain(name).ok_or_else(wrong)?, plain(value).ok_or_else(wrong)?))
        };
        text.split('&').filter(|part| !part.is_empty()).map(part).collect::<Outcome<_>>().map(Query)
    }

    /// A parameter; empty ones count as none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// All parameters of that name.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Docker: whatever is not one of its words for no is a yes.
    pub fn is_set(&self, name: &str) -> bool {
        self.is_on(name, false)
    }

    /// The same, where it is so unless something is said.
    pub fn is_on(&self, name: &str, usual: bool) -> bool {
        self.text(name).map_or(usual, |text| {
            !["0", "no", "false", "none"].iter().any(|word| text.trim().eq_ignore_ascii_case(word))
        })
    }

    /// A number, if there is one.
    ///
    /// # Errors
    /// It is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Outcome<Option<T>> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Fault::invalid(format!("parameter {name}: {text:?} is no number of that kind")))
        };
        self.text(name).map(parse).transpose()
    }

    /// The filters; `known` are the names that there are.
    ///
    /// # Errors
    /// One is not known; it is no JSON of that form.
    pub fn filters(&self, known: &[&str]) -> Outcome<Filters> {
        let filters = Filters::parse(self.text("filters").unwrap_or_default())?;
        match filters.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Fault::invalid(format!("invalid filter '{name}'"))),
            None => Ok(filters),
        }
    }
}

/// Without its escapes; `None` if one is none.
pub fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push((digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// `{"label": {"a=b": true}}`, or as older clients say it, `{"label": ["a=b"]}`. Of one name any may hold, of several names each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads them; an empty text has none.
    ///
    /// # Errors
    /// It is no JSON of that form.
    pub fn parse(text: &str) -> Outcome<Filters> {
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let wrong = || Fault::invalid("invalid filter");
        let Ok(Value::Object(members)) = serde_json::from_str(text) else { return Err(wrong()) };
        let mut filters = BTreeMap::new();
        for (name, values) in members {
            let values = match values {
                Value::Object(values) => values
                    .into_iter()
                    .filter(|(_, value)| *value != Value::Bool(false))
                    .map(|(key, _)| key)
                    .collect(),
                Value::Array(values) => {
                    let text = |value: Value| value.as_str().map(str::to_string).ok_or_else(wrong);
                    values.into_iter().map(text).collect::<Outcome<_>>()?
                }
                _ => return Err(wrong()),
            };
            filters.insert(name, values);
        }
        Ok(Filters(filters))
    }

    /// What is to be removed, by `until` and labels.
    ///
    /// # Errors
    /// `until` tells no moment.
    pub fn prune_filter(&self) -> Outcome<PruneFilter> {
        let of = |name: &'static str| self.values(name).map(|value| (name.to_string(), value.to_string()));
        let pairs = ["until", "label", "label!"].into_iter().flat_map(of);
        Ok(PruneFilter::of(pairs.collect::<Vec<_>>())?)
    }

    /// The values of one name.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Whether one of that name holds, if there is any.
    pub fn any(&self, name: &str, holds: impl FnMut(&str) -> bool) -> bool {
        !self.has(name) || self.values(name).any(holds)
    }

    /// Whether each one of that name holds.
    pub fn all(&self, name: &str, holds: impl FnMut(&str) -> bool) -> bool {
        self.values(name).all(holds)
    }

    /// A filter that is yes or no, if it is there.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&self, name: &str) -> Outcome<Option<bool>> {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" => Ok(true),
            "0" | "false" | "f" => Ok(false),
            _ => Err(Fault::invalid(format!("invalid filter '{name}=[{text}]'"))),
        };
        self.values(name).next().map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let query = Query::parse("all=1&name=a%26b&empty=&t=false&x+y=1+2").unwrap();
        assert!(
            query.is_set("all")
                && !query.is_set("t")
                && !query.is_set("nothing")
                && query.is_on("nothing", true)
        );
        assert_eq!(
            (query.text("name"), query.text("empty"), query.text("x y")),
            (Some("a&b"), None, Some("1 2"))
        );
        assert_eq!(query.number::<u32>("all").unwrap(), Some(1));
        assert!(query.number::<u32>("name").is_err() && Query::parse("a=%f").is_err());
    }

    #[test]
    fn filters_have_two_forms() {
        let of = |text: &str| Filters::parse(text).unwrap();
        for text in [r#"{"label":{"a=b":true,"c":true}}"#, r#"{"label":["a=b","c"]}"#] {
            assert_eq!(of(text).values("label").collect::<Vec<_>>(), ["a=b", "c"]);
        }
        assert!(of("").any("label", |_| false) && !of("").has("label"));
        for wrong in ["x", "[]", r#"{"a":1}"#, r#"{"a":[1]}"#] {
            assert_eq!(Filters::parse(wrong).unwrap_err().status(), 400, "{wrong}");
        }
        let query = Query::parse("filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D").unwrap();
        assert_eq!(query.filters(&["label"]).unwrap_err().message(), "invalid filter 'nosuch'");
        assert_eq!(of(r#"{"dangling":["true"]}"#).flag("dangling").unwrap(), Some(true));
        assert!(of(r#"{"dangling":["x"]}"#).flag("dangling").is_err());
    }
}
