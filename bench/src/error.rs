//! The benchmark's error: a text that names the step, its object and the cause.

use std::fmt::Display;

/// An error for a person to read.
pub type Error = Box<dyn std::error::Error>;

/// The benchmark's result.
pub type Result<T> = std::result::Result<T, Error>;

/// An error with this text.
pub fn error(text: impl Into<String>) -> Error {
    text.into().into()
}

/// Puts the step and its object before the cause.
pub trait Context<T> {
    /// `what` names both: `mount /proc`.
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|cause| error(format!("{}: {cause}", what())))
    }
}
