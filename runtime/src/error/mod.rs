//! The runtime's only error type: step, object, cause, and the status to exit with.
//!
//! May use no other room.

mod kind;
mod warning;

use std::borrow::Cow;
use std::fmt;

use rustix::io::Errno;

pub use kind::Kind;
pub use warning::{Warning, WarningKind};

/// What went wrong, in the words that a user sees: `step: object: cause`.
#[derive(Debug)]
// A single pointer, because it is passed up through every `Result`.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    status: u8,
    kind: Kind,
    errno: Option<Errno>,
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
    pub fn of(kind: Kind, text: String) -> Self {
        Error(Box::new(Inner { text, status: 1, kind, errno: None }))
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

    /// The same error, of this kind unless its own says more than [`Kind::Host`].
    #[cold]
    #[inline(never)]
    pub(crate) fn or_kind(mut self, kind: Kind) -> Self {
        if self.0.kind == Kind::Host {
            self.0.kind = kind;
        }
        self
    }

    /// The same error with the errno that caused it, and of the kind that follows from that unless its own
    /// says more.
    #[cold]
    #[inline(never)]
    pub(crate) fn caused_by(mut self, errno: Errno) -> Self {
        self.0.errno = Some(errno);
        self.or_kind(Kind::of_errno(errno))
    }

    /// The same error, of something on the host that the configuration names: it may be missing.
    pub(crate) fn of_source(self) -> Self {
        match self.0.errno {
            Some(Errno::NOENT | Errno::NOTDIR) => self.or_kind(Kind::SourceMissing),
            _ => self,
        }
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The errno, where a system call failed: as [`std::io::Error::raw_os_error`] has it.
    pub fn os_error(&self) -> Option<i32> {
        self.0.errno.map(Errno::raw_os_error)
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
                let text = format!("{self}; {left}");
                Error(Box::new(Inner { text, ..*self.0 }))
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

impl From<pillbox_json::ParseError> for Error {
    fn from(error: pillbox_json::ParseError) -> Self {
        Error::new(error.to_string())
    }
}

/// Adds the step and its object to a failed system call or step.
pub trait Context<T> {
    /// `what` names the step and its object: `open /etc/passwd`.
    fn context<'w, D: Into<Cow<'w, str>>>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
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
fn errno_after(step: Cow<'_, str>, errno: Errno) -> Error {
    Error::of(Kind::Host, format!("{step}: {}", describe_errno(errno))).caused_by(errno)
}

#[cold]
#[inline(never)]
fn io_error_after(step: Cow<'_, str>, error: std::io::Error) -> Error {
    let worded = Error::of(Kind::Host, format!("{step}: {}", describe_io_error(&error)));
    match error.raw_os_error() {
        Some(code) => worded.caused_by(Errno::from_raw_os_error(code)),
        None => worded,
    }
}

/// [`describe_errno`] for errors of the standard library.
pub fn describe_io_error(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => describe_errno(Errno::from_raw_os_error(code)),
        None => error.to_string(),
    }
}

/// Describes an errno. Callers take some texts of the C library as the program's own fault, and turn them
/// into 126 or 127: those texts come from [`c_library_words`], for the program alone.
pub fn describe_errno(errno: Errno) -> String {
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
pub fn c_library_words(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let mut text = text[..text.rfind('(').unwrap_or(text.len())].trim_end().to_string();
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
    fn a_kind_that_says_more_stays() {
        let refused = |errno: Errno| Err::<(), _>(errno).context(|| "step").expect_err("refused");
        assert_eq!(refused(Errno::PERM).kind(), Kind::NotPermitted);
        assert_eq!(refused(Errno::PERM).or_kind(Kind::Cgroup).kind(), Kind::NotPermitted);
        assert_eq!(refused(Errno::INVAL).or_kind(Kind::Cgroup).kind(), Kind::Cgroup);
        let both = refused(Errno::NOMEM).with_status(7).besides(Err(refused(Errno::PERM)));
        assert_eq!((both.kind(), both.status()), (Kind::Exhausted, 7));
        assert_eq!(both.os_error(), Some(Errno::NOMEM.raw_os_error()));
        assert_eq!(Error::of(Kind::Limit, String::new()).caused_by(Errno::PERM).kind(), Kind::Limit);
    }

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
            let errno = Errno::from_raw_os_error(code);
            let io = std::io::Error::from_raw_os_error(code);
            for text in [describe_errno(errno), io_error_after("step".into(), io).to_string()] {
                let text = text.to_lowercase();
                assert!(!taken.iter().any(|words| text.contains(words)), "{code}: {text}");
            }
        }
    }
}
