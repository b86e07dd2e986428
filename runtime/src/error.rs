//! The runtime's one error type: step, object, cause, and the status that a caller gets.

use std::fmt;

/// What went wrong, in the words a user sees: `step: object: cause`.
#[derive(Debug)]
pub struct Error {
    text: String,
    status: u8,
}

/// The runtime's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with the ordinary exit status 1.
    pub fn new(text: impl Into<String>) -> Self {
        Error { text: text.into(), status: 1 }
    }

    /// The same error, but the process exits with `status` (126 and 127 for executables, as shells do).
    pub fn with_status(self, status: u8) -> Self {
        Error { status, ..self }
    }

    /// Puts what was being done before what went wrong.
    pub fn context(self, step: impl fmt::Display) -> Self {
        Error { text: format!("{step}: {}", self.text), ..self }
    }

    /// The status that the process exits with.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// Adds step and object to a failed system call or a failed step.
pub trait Context<T> {
    /// `what` names the step and its object: `open /etc/passwd`.
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, rustix::io::Errno> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|errno| Error::new(format!("{}: {}", what(), describe_errno(errno))))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(code) => Error::new(format!(
                "{}: {}",
                what(),
                describe_errno(rustix::io::Errno::from_raw_os_error(code))
            )),
            None => Error::new(format!("{}: {error}", what())),
        })
    }
}

impl<T> Context<T> for Result<T> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.context(what()))
    }
}

/// The kernel's words for an errno, lower case, without Rust's `(os error N)`.
pub fn describe_errno(errno: rustix::io::Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        // "No such file" reads better inside a sentence; "I/O error" and the like keep their capitals.
        Some(first) if characters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_string(),
    }
}
