//! Errors: one line each, with what callers tell apart.

use std::fmt;

use rustix::io::Errno;

/// Why something could not be exchanged with a bus. It is one pointer, because results of all functions have room for it.
#[derive(Debug)]
pub struct Error(Box<Fault>);

#[derive(Debug)]
struct Fault {
    text: String,
    errno: Option<Errno>,
    is_timeout: bool,
}

/// The result of all functions here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    #[cold]
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Self {
        Error(Box::new(Fault { text: fmt::format(text), errno: None, is_timeout: false }))
    }

    /// A system call that failed: `step` names what was being done.
    #[cold]
    pub(crate) fn failed(step: fmt::Arguments<'_>, errno: Errno) -> Self {
        let mut error = Error::new(step);
        error.0.errno = Some(errno);
        error
    }

    #[cold]
    pub(crate) fn timeout(text: fmt::Arguments<'_>) -> Self {
        let mut error = Error::new(text);
        error.0.is_timeout = true;
        error
    }

    /// What was being done and, unless a system call has failed, why it could not be.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The errno of the system call that failed, if one has.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// Whether there was no answer in time.
    pub fn is_timeout(&self) -> bool {
        self.0.is_timeout
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)?;
        self.0.errno.map_or(Ok(()), |errno| write!(f, ": {errno}"))
    }
}

impl std::error::Error for Error {}

/// Why a method call failed.
#[derive(Debug)]
pub enum CallError {
    /// The method's own error: its name and its text.
    Method(String, String),
    /// Sending the call or receiving the reply failed.
    Transport(Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        CallError::Transport(error)
    }
}

impl CallError {
    /// The error of one of the bus's own methods.
    #[cold]
    pub(crate) fn of_bus(self, member: &str) -> Error {
        match self {
            CallError::Method(name, text) => Error::new(format_args!("D-Bus: {member}: {text} ({name})")),
            CallError::Transport(error) => error,
        }
    }
}
