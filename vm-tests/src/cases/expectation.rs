//! What a case expects, and the error text if it does not get it.

use std::fmt::Debug;

/// Two values must be equal.
pub fn equal<A: PartialEq<E> + Debug, E: Debug>(what: &str, actual: A, expected: E) -> Result<(), String> {
    match actual == expected {
        true => Ok(()),
        false => Err(format!("{what}: expected {expected:?}, it is {actual:?}")),
    }
}

/// A text must contain another one.
pub fn contains(what: &str, text: &str, part: &str) -> Result<(), String> {
    match text.contains(part) {
        true => Ok(()),
        false => Err(format!("{what}: expected {part:?} in {text:?}")),
    }
}

/// A condition, described in words, must hold.
pub fn holds(what: &str, condition: bool) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("not so: {what}")) }
}
