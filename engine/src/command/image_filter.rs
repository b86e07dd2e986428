//! `--filter` of commands about images.

use crate::error::{Error, Result};
use crate::layer::matches_part;
use crate::reference::Reference;
use crate::store::{ImageRecord, Store};
use crate::time::Moment;

/// What an image has to be.
#[derive(Debug, Default)]
pub struct Filter {
    is_dangling: Option<bool>,
    labels: Vec<(String, Option<String>)>,
    patterns: Vec<String>,
    before: Option<Moment>,
    since: Option<Moment>,
}

impl Filter {
    /// Reads filters, and the operand of `images`, which is a pattern.
    ///
    /// # Errors
    /// A filter is unknown, or its value is wrong.
    pub fn parse(store: &Store, filters: &[String], operand: Option<&str>) -> Result<Filter> {
        let mut filter =
            Filter { patterns: operand.map(str::to_string).into_iter().collect(), ..Filter::default() };
        for text in filters {
            let wrong = |what: &str| Error::invalid(format!("--filter {text}: {what}"));
            let (name, value) = text.split_once('=').ok_or_else(|| wrong("must be NAME=VALUE"))?;
            let moment = || -> Result<Option<Moment>> { Ok(store.find_image(value)?.moment()) };
            match name {
                "dangling" => {
                    let value = value.parse().map_err(|_| wrong("must be true or false"))?;
                    filter.is_dangling = Some(value);
                }
                "label" => {
                    let (name, value) =
                        value.split_once('=').map_or((value, None), |(name, value)| (name, Some(value)));
                    filter.labels.push((name.to_string(), value.map(str::to_string)));
                }
                "reference" => filter.patterns.push(value.to_string()),
                "before" => filter.before = moment()?,
                "since" => filter.since = moment()?,
                _ => return Err(wrong("there are dangling, label, reference, before and since")),
            }
        }
        Ok(filter)
    }

    /// Whether an image is so.
    ///
    /// # Errors
    /// Its configuration, which has the labels, cannot be read.
    pub fn accepts(&self, store: &Store, record: &ImageRecord) -> Result<bool> {
        // Lists have hundreds: only what is asked for is looked at.
        let is_named = |name: &Reference| self.patterns.iter().any(|pattern| matches(pattern, name));
        let is_it = self.is_dangling.is_none_or(|wanted| wanted == record.reference().is_none())
            && self.before.is_none_or(|limit| record.moment() < Some(limit))
            && self.since.is_none_or(|limit| record.moment() > Some(limit))
            && (self.patterns.is_empty() || record.reference().as_ref().is_some_and(is_named));
        if !is_it || self.labels.is_empty() {
            return Ok(is_it);
        }
        let labels = store.load(record)?.config.config.labels;
        Ok(self.labels.iter().all(|(name, value)| {
            labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        }))
    }
}

/// `alpine`, `alpine:3*`, `quay.io/*/name`: with or without the tag, as people write names or in full.
fn matches(pattern: &str, name: &Reference) -> bool {
    let tag = name.tag.as_deref().unwrap_or_default();
    let repositories = [name.repository.familiar(), name.repository.to_string()];
    repositories
        .iter()
        .any(|repository| glob(pattern, repository) || glob(pattern, &format!("{repository}:{tag}")))
}

/// `*` is anything but a slash, `?` one letter of it.
fn glob(pattern: &str, text: &str) -> bool {
    let (patterns, parts) = (pattern.split('/'), text.split('/'));
    patterns.clone().count() == parts.clone().count()
        && patterns.zip(parts).all(|(pattern, part)| matches_part(pattern.as_bytes(), part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_with_stars() {
        let is = |pattern: &str, name: &str| matches(pattern, &Reference::parse(name).unwrap());
        assert!(is("alpine", "alpine:3") && is("alpine:3*", "alpine:3.20") && !is("alpine:4*", "alpine:3"));
        assert!(is("docker.io/library/alpine", "alpine") && is("*/name", "org/name") && !is("*", "org/name"));
        assert!(!is(&("*a".repeat(50) + "b"), &"a".repeat(200)));
        assert!(is("quay.io/*/name:?", "quay.io/org/name:1") && !is("quay.io/name", "quay.io/org/name"));
    }
}
