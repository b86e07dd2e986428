//! The runtime's only error type: step, object, cause, and the status to exit with.
//!
//! May use no other room.

use std::borrow::Cow;
use std::fmt;

/// What went wrong, in the words that a user sees: `step: object: cause`.
#[derive(Debug)]
// A single pointer, because it is passed up through every `Result`.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    status: u8,
    kind: Kind,
}

/// What kind of thing went wrong, for callers that handle some kinds differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// There is no such container.
    NotFound,
    /// There already is a container with this id.
    Exists,
    /// The configuration, the id or an option is wrong, or asks for something that is unsupported or missing.
    Invalid,
    /// The container's status does not allow it: it is not running, has ended or is paused.
    Status,
    /// Another call has been working on the container for too long.
    Busy,
    /// The program is missing, or cannot be executed.
    Program,
    /// Init was killed before the program ran.
    Killed,
    /// The container's own memory limit has killed it.
    OutOfMemory,
    /// The kernel or the host refused a step.
    Host,
}

/// The runtime's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with the usual exit status 1.
    #[cold]
    pub fn new(text: impl Into<String>) -> Self {
        Error::with_text(text.into())
    }

    /// The same from format arguments, which is less code at hundreds of places.
    #[cold]
    #[inline(never)]
    pub fn formatted(text: fmt::Arguments<'_>) -> Self {
        Error::of(Kind::Host, fmt::format(text))
    }

    #[cold]
    #[inline(never)]
    fn with_text(text: String) -> Self {
        Error::of(Kind::Host, text)
    }

    /// The same with a kind.
    #[cold]
    #[inline(never)]
    pub(crate) fn of(kind: Kind, text: String) -> Self {
        Error(Box::new(Inner { text, status: 1, kind }))
    }

    /// The same error, but the process exits with `status` (126 and 127 for executables, as shells do).
    pub fn with_status(mut self, status: u8) -> Self {
        self.0.status = status;
        self
    }

    /// The same error, of another kind.
    pub(crate) fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> Kind {
        // These two always mean the program, wherever they come from.
        if matches!(self.0.status, 126 | 127) { Kind::Program } else { self.0.kind }
    }

    /// Puts the step that failed before the error.
    pub fn context(self, step: impl fmt::Display) -> Self {
        self.after(&step)
    }

    #[cold]
    #[inline(never)]
    fn after(mut self, step: &dyn fmt::Display) -> Self {
        self.0.text = format!("{step}: {}", self.0.text);
        self
    }

    /// Appends an error that followed; this one stays the one to report.
    pub(crate) fn besides(self, left: Result<()>) -> Self {
        match left {
            Ok(()) => self,
            Err(left) => {
                let (status, kind) = (self.0.status, self.0.kind);
                Error::of(kind, format!("{self}; {left}")).with_status(status)
            }
        }
    }

    /// The exit status of the process.
    pub fn status(&self) -> u8 {
        self.0.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Error {}

/// Adds the step and its object to a failed system call or step.
pub trait Context<T> {
    /// `what` names the step and its object: `open /etc/passwd`.
    fn context<'w, D: Into<Cow<'w, str>>>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, rustix::io::Errno> {
    fn context<'w, D: Into<Cow<'w, str>>>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|errno| errno_after(what().into(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context<'w, D: Into<Cow<'w, str>>>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| io_error_after(what().into(), error))
    }
}

impl<T> Context<T> for Result<T> {
    fn context<'w, D: Into<Cow<'w, str>>>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error_after(what().into(), error))
    }
}

// Once, instead of at hundreds of places where something can fail.
#[cold]
#[inline(never)]
fn error_after(step: Cow<'_, str>, error: Error) -> Error {
    error.after(&step)
}

#[cold]
#[inline(never)]
fn errno_after(step: Cow<'_, str>, errno: rustix::io::Errno) -> Error {
    Error::of(Kind::Host, format!("{step}: {}", describe_errno(errno)))
}

#[cold]
#[inline(never)]
fn io_error_after(step: Cow<'_, str>, error: std::io::Error) -> Error {
    Error::of(Kind::Host, format!("{step}: {}", describe_io_error(&error)))
}

/// [`describe_errno`] for errors of the standard library.
pub fn describe_io_error(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => describe_errno(rustix::io::Errno::from_raw_os_error(code)),
        None => error.to_string(),
    }
}

/// Describes an errno. Callers take some texts of the C library as the program's own fault, and turn them
/// into 126 or 127: those texts come from [`c_library_words`], for the program alone.
pub fn describe_errno(errno: rustix::io::Errno) -> String {
    use rustix::io::Errno;
    match errno {
        Errno::ACCESS => "access denied".to_string(),
        Errno::PERM => "not permitted".to_string(),
        Errno::NOENT => "no such file or folder".to_string(),
        Errno::ISDIR => "it is a folder".to_string(),
        errno => c_library_words(errno),
    }
}

/// The C library's text for an errno, in lower case and without Rust's `(os error N)`. Only for errors of the
/// executable and the working folder.
pub fn c_library_words(errno: rustix::io::Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let mut text = text.split(" (os error").next().unwrap_or(&text).to_string();
    // "no such file" reads better inside a sentence; texts such as "I/O error" keep their capitals.
    if text.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase)
        && let Some(first) = text.get_mut(..1)
    {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_errno_is_taken_for_the_programs_fault() {
        // Texts that Docker and Podman look for in an error, in any case.
        let taken = [
            "executable file not found",
            "no such file or directory",
            "permission denied",
            "operation not permitted",
            "is a directory",
        ];
        for code in 1..134 {
            let errno = rustix::io::Errno::from_raw_os_error(code);
            let io = std::io::Error::from_raw_os_error(code);
            for text in [describe_errno(errno), io_error_after("step".into(), io).to_string()] {
                let text = text.to_lowercase();
                assert!(!taken.iter().any(|words| text.contains(words)), "{code}: {text}");
            }
        }
    }
}
