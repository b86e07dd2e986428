//! The file `version`: a number, and the names of features that a reader has to know.

use std::io::ErrorKind;
use std::path::Path;

use super::write_whole;
use crate::error::{Context, Error, Result};
use crate::file;

/// The number that is written. Older ones are read in place.
const NUMBER: u32 = 1;

/// The features that this version knows. A store that uses another one is refused by its name.
const FEATURES: &[&str] = &[];

/// Writes the version of a new store, and refuses one that is too new.
pub fn check(data: &Path) -> Result<()> {
    let path = data.join("version");
    match file::read_text(&path) {
        Ok(text) => accept(&text).context(|| path.display().to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_whole(&path, format!("{NUMBER}\n").as_bytes())
        }
        Err(error) => Err(error).context(|| path.display().to_string()),
    }
}

fn accept(text: &str) -> Result<()> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse::<u32>().ok());
    match number {
        Some(1..=NUMBER) => {}
        Some(number) => {
            return Err(Error::invalid(format!(
                "a store of version {number}, and this box knows {NUMBER}: use a later box"
            )));
        }
        None => return Err(Error::corrupt(format!("{text:?}: must begin with a number"))),
    }
    match words.find(|word| !FEATURES.contains(word)) {
        Some(feature) => {
            Err(Error::invalid(format!("the store uses {feature:?}, which this box does not know")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_refused_by_name() {
        assert!(accept("1\n").is_ok());
        assert!(accept("2\n").unwrap_err().to_string().contains("version 2"));
        assert!(accept("1\ncomposefs\n").unwrap_err().to_string().contains("\"composefs\""));
        assert!(accept("").is_err() && accept("0").is_err() && accept("one").is_err());
    }
}
