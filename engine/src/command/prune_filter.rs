//! `--filter` of commands that remove what is not needed any more.

use std::collections::BTreeMap;

use super::filter::{Filters, is_labelled};
use super::{Arguments, Flag};
use crate::error::Result;
use crate::time::Moment;

pub const FILTER: Flag = Flag {
    long: "filter",
    short: None,
    value: Some("NAME=VALUE"),
    help: "until=24h (made before that), label=… or label!=…",
};

/// What is meant; by default everything.
#[derive(Debug, Default)]
pub struct PruneFilter {
    until: Option<Moment>,
    filters: Filters,
}

impl PruneFilter {
    /// Reads the flags, before anybody is asked.
    ///
    /// # Errors
    /// A filter is not known, or a value cannot be.
    pub fn parse(arguments: &Arguments) -> Result<PruneFilter> {
        let filters = Filters::parse(arguments, &["until", "label", "label!"])?;
        Ok(PruneFilter { until: filters.moment("until")?, filters })
    }

    /// The same of names and values that come in another way.
    ///
    /// # Errors
    /// A value cannot be.
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Result<PruneFilter> {
        let filters = Filters::of(pairs);
        Ok(PruneFilter { until: filters.moment("until")?, filters })
    }

    /// Whether everything is meant.
    pub fn is_empty(&self) -> bool {
        self.until.is_none() && self.filters.is_empty()
    }

    /// Whether something with these labels, which was made then, is meant.
    pub fn accepts(&self, created: Moment, labels: &BTreeMap<String, String>) -> bool {
        self.until.is_none_or(|until| created <= until)
            && self.filters.all("label", |value| is_labelled(labels, value))
            && self.filters.all("label!", |value| !is_labelled(labels, value))
    }
}
