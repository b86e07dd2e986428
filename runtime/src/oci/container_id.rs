//! Container ids. They become names of folders, cgroups and units, so that their characters are restricted.

use std::fmt;
use std::ops::Deref;

use crate::error::{Error, Kind, Result};

/// The greatest length of an id in bytes.
const LENGTH_LIMIT: usize = 1024;

/// An id that is safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks an id as callers give it.
    ///
    /// # Errors
    /// It is empty, longer than 1024 bytes, begins with a dot, or has other characters than letters, digits
    /// and `_+.-`.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        validate_id(&id).map_err(|error| error.with_kind(Kind::Invalid))?;
        Ok(ContainerId(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ContainerId {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks that an id consists of letters, digits and `_+.-`, and does not begin with a dot.
///
/// # Errors
/// It is empty, longer than 1024 bytes, begins with a dot or has other characters.
pub fn validate_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::new("container ID \"\": invalid: empty"));
    }
    if id.len() > LENGTH_LIMIT {
        return Err(Error::formatted(format_args!(
            "container ID: invalid: has {} bytes, more than the limit of {LENGTH_LIMIT}",
            id.len()
        )));
    }
    // Excludes `.`, `..`, and pillbox's own files beside the containers' folders (`.seed`).
    if id.starts_with('.') {
        return Err(Error::formatted(format_args!("container ID {id:?}: invalid: begins with a dot")));
    }
    match id.chars().find(|&c| !(c.is_ascii_alphanumeric() || "_+.-".contains(c))) {
        None => Ok(()),
        Some(wrong) => Err(Error::formatted(format_args!(
            "container ID {id:?}: invalid character {wrong:?}: only letters, digits and _ + . - are allowed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_right() {
        for id in ["a", "A-b_c+d.e", "a..", "0", "-x", &"x".repeat(1024)] {
            assert_eq!(&*ContainerId::new(id).expect(id), id);
        }
    }

    #[test]
    fn ids_that_are_wrong() {
        for (id, message) in [
            ("", "container ID \"\": invalid: empty"),
            (".", "container ID \".\": invalid: begins with a dot"),
            ("..", "container ID \"..\": invalid: begins with a dot"),
            (".seed", "container ID \".seed\": invalid: begins with a dot"),
            (
                "a/b",
                "container ID \"a/b\": invalid character '/': only letters, digits and _ + . - are allowed",
            ),
            ("ä", "container ID \"ä\": invalid character 'ä': only letters, digits and _ + . - are allowed"),
            (
                "a\0",
                "container ID \"a\\0\": invalid character '\\0': only letters, digits and _ + . - are allowed",
            ),
        ] {
            assert_eq!(validate_id(id).expect_err(id).to_string(), message);
        }
        let message = "container ID: invalid: has 1025 bytes, more than the limit of 1024";
        assert_eq!(validate_id(&"x".repeat(1025)).expect_err("too long").to_string(), message);
    }
}
