//! The keys by which a user lets go of a program's terminal.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A sequence of keys, as a terminal sends them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// ctrl-p, ctrl-q.
    fn default() -> Self {
        DetachKeys(vec![0x10, 0x11])
    }
}

impl DetachKeys {
    /// Reads Docker's form, `ctrl-p,ctrl-q` or `a,b`. An empty text means the usual keys.
    ///
    /// # Errors
    /// A key is none; it is named.
    pub fn parse(text: &str) -> Result<DetachKeys> {
        if text.is_empty() {
            return Ok(DetachKeys::default());
        }
        let wrong = |key: &str| {
            Error::invalid(format!(
                "--detach-keys {text}: {key:?} is no key: it must be a character, DEL, or ctrl- with a letter or one of @ [ \\ ] ^ _, and a comma between two"
            ))
        };
        let key = |key: &str| match (key.as_bytes(), key.to_ascii_lowercase().strip_prefix("ctrl-")) {
            (&[byte], _) if byte.is_ascii_graphic() => Ok(byte),
            (b"DEL", _) => Ok(0x7f),
            // What control does to a character of ASCII's fourth column.
            (_, Some(letter)) => match letter.as_bytes() {
                &[byte] if b"@[\\]^_".contains(&byte) || byte.is_ascii_lowercase() => Ok(byte & 0x1f),
                _ => Err(wrong(key)),
            },
            _ => Err(wrong(key)),
        };
        text.split(',').map(key).collect::<Result<_>>().map(DetachKeys)
    }
}

/// A keyboard on which these keys are waited for.
#[derive(Debug)]
pub struct Keyboard {
    keys: DetachKeys,
    /// How many of the keys were typed last, one after the other; they wait for the next ones.
    held: usize,
}

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// What is for the program.
    pub text: Vec<u8>,
    /// Whether the user lets go of it after that.
    pub lets_go: bool,
}

impl Keyboard {
    /// One on which nothing was typed yet.
    pub fn new(keys: DetachKeys) -> Keyboard {
        Keyboard { keys, held: 0 }
    }

    /// Takes what was typed. What comes behind the keys is for nobody.
    pub fn take(&mut self, bytes: &[u8]) -> Typed {
        let DetachKeys(keys) = &self.keys;
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            let mut typed = keys[..self.held].to_vec();
            typed.push(byte);
            // The longest end of what was typed that the keys begin with.
            let begun = (0..typed.len()).find(|&start| keys.starts_with(&typed[start..]));
            let begun = begun.unwrap_or(typed.len());
            text.extend_from_slice(&typed[..begun]);
            self.held = typed.len() - begun;
            if self.held == keys.len() {
                self.held = 0;
                return Typed { text, lets_go: true };
            }
        }
        Typed { text, lets_go: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dockers() {
        let of = |text| DetachKeys::parse(text).map(|DetachKeys(keys)| keys).ok();
        assert_eq!(of("ctrl-p,ctrl-q"), Some(vec![16, 17]));
        assert_eq!(of(""), Some(vec![16, 17]));
        assert_eq!(
            of("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,DEL,x"),
            Some(vec![0, 27, 28, 29, 30, 31, 127, b'x'])
        );
        for wrong in ["ctrl-", "ctrl-1", "ab", "a,", ",", "ctrl-é", "meta-x"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_that_is_typed_is_lost() {
        let mut keyboard = Keyboard::new(DetachKeys(b"aab".to_vec()));
        let mut take = |text: &str| {
            let Typed { text, lets_go } = keyboard.take(text.as_bytes());
            (String::from_utf8(text).unwrap(), lets_go)
        };
        assert_eq!(take("xa"), ("x".into(), false));
        assert_eq!(take("c"), ("ac".into(), false));
        // The keys may begin once more within themselves.
        assert_eq!(take("aaa"), ("a".into(), false));
        assert_eq!(take("bz"), (String::new(), true));
        assert_eq!(take("exit aab"), ("exit ".into(), true));
    }
}
