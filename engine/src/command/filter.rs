//! `--filter NAME=VALUE`: of one name any may hold, of several names each.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use super::Arguments;
use super::moment::parse_moment;
use crate::error::{Error, Result};
use crate::layer::matches_part;
use crate::time::Moment;

/// The filters of a command line.
#[derive(Debug, Default)]
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

    /// Those that are known to be names of filters.
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Filters {
        Filters(pairs.into_iter().collect())
    }

    /// Refuses a value that none can be, or a misspelt one would silently mean nothing.
    ///
    /// # Errors
    /// A value of the filter `name` is not right; `right` says what would be.
    pub fn check(&self, name: &str, right: &str, is_right: impl Fn(&str) -> bool) -> Result<()> {
        match self.values(name).find(|value| !is_right(value)) {
            Some(value) => Err(Error::invalid(format!("--filter {name}={value}: must be {right}"))),
            None => Ok(()),
        }
    }

    /// The same, where the values are words.
    ///
    /// # Errors
    /// As for [`Filters::check`].
    pub fn check_words(&self, name: &str, words: &[&str]) -> Result<()> {
        self.check(name, &format!("one of {}", words.join(", ")), |value| words.contains(&value))
    }

    /// The earliest moment that a filter of that name tells.
    ///
    /// # Errors
    /// One tells none.
    pub fn moment(&self, name: &str) -> Result<Option<Moment>> {
        let flag = format!("--filter {name}=");
        let moments = self.values(name).map(|value| parse_moment(&flag, value));
        moments.collect::<Result<Vec<_>>>().map(|moments| moments.into_iter().min())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The values of one name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
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
pub fn is_labelled<T: Borrow<str> + Ord>(labels: &BTreeMap<T, T>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|known| known.borrow() == value),
        None => labels.contains_key(wanted),
    }
}

/// Whether a name is one that `--filter name=` means, as Docker's regular expressions do: a part of it; `^` and `$`, or a `/`
/// before it, say where it begins and ends, `.*` stands for anything, `|` between two for either.
pub fn is_named(name: &str, wanted: &str) -> bool {
    wanted.split('|').any(|wanted| {
        let is_beginning = wanted.starts_with(['^', '/']);
        let middle = wanted.trim_start_matches('^').trim_start_matches('/');
        let (middle, is_end) = middle.strip_suffix('$').map_or((middle, false), |middle| (middle, true));
        let middle = middle.replace(".*", "*");
        let pattern = match (is_beginning, is_end) {
            (true, true) => middle,
            (true, false) => format!("{middle}*"),
            (false, true) => format!("*{middle}"),
            (false, false) => format!("*{middle}*"),
        };
        matches_part(pattern.as_bytes(), name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_names_and_more() {
        for wanted in
            ["web", "eb-1", "^web", "^/web-1$", "/web", "1$", "^web.*1$", "db|web", "^web-[0-9]$", "", "^"]
        {
            assert!(is_named("web-1", wanted), "{wanted}");
        }
        for wanted in ["^eb", "web$", "^web$", "/1", "db|other", "^w.*2$", "^web-[2-9]$"] {
            assert!(!is_named("web-1", wanted), "{wanted}");
        }
    }
}
