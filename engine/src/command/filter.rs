//! `--filter NAME=VALUE`: of one name any may hold, of several names each.

use std::collections::BTreeMap;

use super::Arguments;
use crate::error::{Error, Result};

/// The filters of a command line.
#[derive(Debug)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads `--filter`; `known` are the names that the command takes.
    ///
    /// # Errors
    /// One is not known.
    pub fn parse(arguments: &Arguments, known: &[&str]) -> Result<Filters> {
        let parse = |text: String| match text.split_once('=') {
            Some((name, value)) if known.contains(&name) => Ok((name.to_string(), value.to_string())),
            _ => Err(Error::invalid(format!("--filter {text}: must be {}=…", known.join("=…, ")))),
        };
        Ok(Filters(arguments.texts("filter")?.into_iter().map(parse).collect::<Result<_>>()?))
    }

    /// None: everything is meant.
    pub fn none() -> Filters {
        Filters(Vec::new())
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether one of that name holds, if there is any.
    pub fn any(&self, name: &str, holds: impl Fn(&str) -> bool) -> bool {
        !self.has(name) || self.values(name).any(holds)
    }

    /// Whether each one of that name holds.
    pub fn all(&self, name: &str, holds: impl Fn(&str) -> bool) -> bool {
        self.values(name).all(holds)
    }
}

/// Whether there is such a label: `NAME`, or `NAME=VALUE`.
pub fn is_labelled(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|known| known == value),
        None => labels.contains_key(wanted),
    }
}
