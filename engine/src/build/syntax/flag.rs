//! Flags between an instruction's name and its arguments: `--chown=web:web`.

use crate::error::{Error, Result};

/// The flags of an instruction, in order, each taken once it is known.
#[derive(Debug)]
pub struct Flags {
    instruction: &'static str,
    flags: Vec<(String, Option<String>)>,
}

/// Splits them from what follows.
///
/// # Errors
/// A quote has no end.
pub fn split<'t>(instruction: &'static str, text: &'t str, escape: char) -> Result<(Flags, &'t str)> {
    let (mut flags, mut rest) = (Vec::new(), text.trim_start());
    while rest.starts_with("--") {
        let (word, after) = word(rest, escape).map_err(|error| error.context(instruction))?;
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        let flag = word.trim_start_matches('-');
        flags.push(match flag.split_once('=') {
            Some((name, value)) => (name.to_string(), Some(value.to_string())),
            None => (flag.to_string(), None),
        });
    }
    Ok((Flags { instruction, flags }, rest))
}

/// The first word, without its quotes, and what follows it.
fn word(text: &str, escape: char) -> Result<(String, &str)> {
    let (mut word, mut quote) = (String::new(), None);
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match quote {
            Some(end) if letter == end => quote = None,
            _ if letter == escape && quote != Some('\'') => word.extend(letters.next().map(|(_, next)| next)),
            Some(_) => word.push(letter),
            None if letter.is_whitespace() => return Ok((word, &text[at..])),
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            None => word.push(letter),
        }
    }
    match quote {
        Some(end) => Err(Error::invalid(format!("{word}: a {end} is missing"))),
        None => Ok((word, "")),
    }
}

impl Flags {
    /// Takes a flag that has a value.
    ///
    /// # Errors
    /// It stands twice, or has none.
    pub fn value(&mut self, name: &str) -> Result<Option<String>> {
        let mut values = self.values(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(self.wrong(name, "it stands twice")),
        }
    }

    /// Takes a flag that may stand several times.
    ///
    /// # Errors
    /// It has no value.
    pub fn values(&mut self, name: &str) -> Result<Vec<String>> {
        let (found, rest) = std::mem::take(&mut self.flags).into_iter().partition(|(known, _)| known == name);
        self.flags = rest;
        let found: Vec<(String, Option<String>)> = found;
        found
            .into_iter()
            .map(|(_, value)| value.ok_or_else(|| self.wrong(name, "a value is missing")))
            .collect()
    }

    /// Takes a switch: `--link`, `--link=false`.
    ///
    /// # Errors
    /// It has another value.
    pub fn switch(&mut self, name: &str) -> Result<bool> {
        let Some(at) = self.flags.iter().position(|(known, _)| known == name) else { return Ok(false) };
        match self.flags.remove(at).1.as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(self.wrong(name, &format!("{other}: must be true or false"))),
        }
    }

    /// All are known.
    ///
    /// # Errors
    /// One is not.
    pub fn finish(self) -> Result<()> {
        match self.flags.first() {
            None => Ok(()),
            Some((name, _)) => Err(self.wrong(name, "there is no such flag")),
        }
    }

    fn wrong(&self, name: &str, what: &str) -> Error {
        Error::invalid(format!("{} --{name}: {what}", self.instruction))
    }
}
