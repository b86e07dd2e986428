//! The engine's error: one line with step, object, cause and remedy, and the status that box exits with.

use std::fmt;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// What was asked for cannot be.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// There is one already, or it is in use.
    Conflict,
    /// A container is on that network already, or is to leave one that it is not on.
    Connection,
    /// Somebody else has a port that is to be published.
    PortTaken,
    /// The kernel does not find a file that a container is to have.
    FileMissing,
    /// Data is not what its digest or its format says.
    Corrupt,
    /// Nobody reads what is written.
    Closed,
    /// A program in a container has failed; the error's status is its.
    Program,
    /// The machine refused.
    Host,
}

/// What went wrong, in the words that a user sees.
#[derive(Debug)]
// A single pointer, because it is passed up through every `Result`.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    kind: Kind,
    status: u8,
}

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;

/// The status of box itself when it fails before a container's program runs, as Docker's.
pub const STATUS: u8 = 125;

impl Error {
    /// An error with box's own status, 125.
    #[cold]
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error::of(kind, text.into())
    }

    // Once for all kinds of text.
    #[cold]
    #[inline(never)]
    fn of(kind: Kind, text: String) -> Error {
        Error(Box::new(Inner { text, kind, status: STATUS }))
    }

    /// Something that cannot be.
    #[cold]
    pub fn invalid(text: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, text)
    }

    /// Something that is not there.
    #[cold]
    pub fn not_found(text: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, text)
    }

    /// Something that is not what it says.
    #[cold]
    pub fn corrupt(text: impl Into<String>) -> Error {
        Error::new(Kind::Corrupt, text)
    }

    /// Something that is there already, or in use.
    #[cold]
    pub fn conflict(text: impl Into<String>) -> Error {
        Error::new(Kind::Conflict, text)
    }

    /// The same error, with which box exits with `status`.
    pub fn with_status(mut self, status: u8) -> Error {
        self.0.status = status;
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The exit status of box.
    pub fn status(&self) -> u8 {
        self.0.status
    }

    /// Puts the step that failed before the error.
    pub fn context(self, step: impl fmt::Display) -> Error {
        self.after(&step)
    }

    // Once for all kinds of steps.
    #[cold]
    #[inline(never)]
    fn after(mut self, step: &dyn fmt::Display) -> Error {
        self.0.text = format!("{step}: {}", self.0.text);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    #[cold]
    #[inline(never)]
    fn from(error: std::io::Error) -> Error {
        use std::io::ErrorKind;
        // What a reader of this crate found wrong, as it was worded there.
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => {
                let kind = match error.kind() {
                    ErrorKind::NotFound => Kind::NotFound,
                    ErrorKind::AlreadyExists => Kind::Conflict,
                    ErrorKind::BrokenPipe => Kind::Closed,
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Kind::Corrupt,
                    _ => Kind::Host,
                };
                Error::new(kind, words(&error))
            }
        }
    }
}

impl From<Errno> for Error {
    #[cold]
    #[inline(never)]
    fn from(errno: Errno) -> Error {
        std::io::Error::from(errno).into()
    }
}

impl From<pillbox::Error> for Error {
    #[cold]
    #[inline(never)]
    fn from(error: pillbox::Error) -> Error {
        use pillbox::Kind as Of;
        let (kind, status) = match error.kind() {
            Of::ProgramMissing | Of::InterpreterMissing => (Kind::Invalid, 127),
            Of::NotExecutable => (Kind::Invalid, 126),
            Of::Invalid => (Kind::Invalid, STATUS),
            Of::NotFound => (Kind::NotFound, STATUS),
            Of::PortTaken => (Kind::PortTaken, STATUS),
            Of::Exists | Of::Status | Of::Busy => (Kind::Conflict, STATUS),
            _ if error.os_error() == Some(Errno::NOENT.raw_os_error()) => (Kind::FileMissing, STATUS),
            _ => (Kind::Host, STATUS),
        };
        Error::new(kind, error.to_string()).with_status(status)
    }
}

/// The system's words, without Rust's number behind them.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// What was done to something; `None` if another command has removed it in the same moment.
///
/// # Errors
/// Everything else that failed.
pub fn unless_gone<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

/// Adds the step and its object to what failed.
pub trait Context<T> {
    /// Puts what `step` says before the error.
    fn context<S: fmt::Display>(self, step: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<S: fmt::Display>(self, step: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().context(step()))
    }
}
