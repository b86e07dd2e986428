//! What a case expects, and the words for its disappointment.

use std::fmt::Debug;

/// Two things that must be the same.
pub fn equal<A: PartialEq<E> + Debug, E: Debug>(what: &str, actual: A, expected: E) -> Result<(), String> {
    match actual == expected {
        true => Ok(()),
        false => Err(format!("{what}: expected {expected:?}, it is {actual:?}")),
    }
}

/// A text that must be somewhere in another.
pub fn contains(what: &str, text: &str, part: &str) -> Result<(), String> {
    match text.contains(part) {
        true => Ok(()),
        false => Err(format!("{what}: expected {part:?} in {text:?}")),
    }
}

/// Whatever must be true, in words.
pub fn holds(what: &str, condition: bool) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("not so: {what}")) }
}
