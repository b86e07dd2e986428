//! Writes JSON: state.json, the output of `state`, `list` and `explain`, and log lines.

pub use pillbox_json::write::{Members, pretty};
use serde::Serialize;

use crate::error::{Error, Result};

/// A value as compact JSON.
pub fn to_string<T: Serialize>(value: &T) -> Result<String> {
    pillbox_json::write::to_string(value).map_err(Error::new)
}
