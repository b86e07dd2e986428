//! Errors: one line each, with what callers tell apart.

use std::fmt;

use pillbox_netlink::Refusal;
use rustix::io::Errno;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for cannot be: a name, an address, a configuration.
    Invalid,
    /// Somebody else has the address or the name.
    Taken,
    /// Somebody else has the port.
    PortTaken,
    /// There is no such network, interface or record.
    Missing,
    /// The caller has not the rights.
    NotPermitted,
    /// Another command holds the lock.
    Busy,
    /// A part of the kernel that is needed for it is missing: the error says what helps.
    Unsupported,
    /// The kernel or a file system refused something.
    Host,
}

/// An error: a text of one line that names what it is about, and a kind.
// In a box: results are a word, which every function on the way hands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    text: String,
    kind: Kind,
    errno: Option<Errno>,
}

/// The result of all functions here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of that kind.
    #[cold]
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Error::with_errno(kind, text.into(), None)
    }

    /// An error of that kind that a system call has led to, or not.
    #[cold]
    #[inline(never)]
    pub fn with_errno(kind: Kind, text: String, errno: Option<Errno>) -> Self {
        Error(Box::new(Inner { text, kind, errno }))
    }

    /// The same from format arguments, which is less code at the many places.
    #[cold]
    #[inline(never)]
    pub fn of(kind: Kind, text: fmt::Arguments<'_>) -> Self {
        Error::with_errno(kind, fmt::format(text), None)
    }

    /// What was asked for cannot be.
    #[cold]
    #[inline(never)]
    pub fn invalid(text: fmt::Arguments<'_>) -> Self {
        Error::of(Kind::Invalid, text)
    }

    /// A system call that failed: `step` names what was being done, and to what.
    #[cold]
    #[inline(never)]
    pub fn failed(step: fmt::Arguments<'_>, errno: Errno) -> Self {
        Error::with_errno(kind_of(errno), format!("{step}: {}", describe(errno)), Some(errno))
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The errno, where a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// Whether the machine only lacked something at that moment: what was asked for may be had later.
    pub fn is_passing(&self) -> bool {
        use Errno as E;
        let passing = [E::AGAIN, E::DQUOT, E::INTR, E::MFILE, E::NFILE, E::NOBUFS, E::NOMEM, E::NOSPC];
        self.0.errno.is_some_and(|errno| passing.contains(&errno))
    }

    /// Puts what was being done before the text.
    #[cold]
    #[inline(never)]
    pub fn after(mut self, step: &str) -> Self {
        self.0.text = format!("{step}: {}", self.0.text);
        self
    }

    /// Appends an error that followed; this one stays the one to report.
    #[cold]
    #[inline(never)]
    pub fn besides(mut self, left: Result<()>) -> Self {
        if let Err(left) = left {
            self.0.text = format!("{}; {left}", self.0.text);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Error {}

impl From<pillbox_netlink::Error> for Error {
    #[cold]
    fn from(error: pillbox_netlink::Error) -> Self {
        use pillbox_netlink::Cause::{Invalid, Malformed, Refused, System, Unanswered};
        let (kind, errno) = match error.cause() {
            Invalid(_) => (Kind::Invalid, None),
            System { errno, .. } | Refused(Refusal { errno, .. }) => (kind_of(*errno), Some(*errno)),
            Unanswered(_) | Malformed(_) => (Kind::Host, None),
        };
        Error::with_errno(kind, error.to_string(), errno)
    }
}

/// Adds what was being done, and to what, to a system call that failed.
pub(crate) trait Context<T> {
    /// `step` names both: `open /run/pillbox`.
    fn context(self, step: fmt::Arguments<'_>) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn context(self, step: fmt::Arguments<'_>) -> Result<T> {
        self.map_err(|errno| Error::failed(step, errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, step: fmt::Arguments<'_>) -> Result<T> {
        self.map_err(|error| io_failed(step, &error))
    }
}

#[cold]
#[inline(never)]
fn io_failed(step: fmt::Arguments<'_>, error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(code) => Error::failed(step, Errno::from_raw_os_error(code)),
        None => Error::of(Kind::Host, format_args!("{step}: {error}")),
    }
}

fn kind_of(errno: Errno) -> Kind {
    match errno {
        Errno::PERM | Errno::ACCESS => Kind::NotPermitted,
        Errno::EXIST | Errno::ADDRINUSE => Kind::Taken,
        _ => Kind::Host,
    }
}

/// The text for an errno without Rust's `(os error N)`. Three differ from the C library's, which callers of a
/// container runtime take as a fault of the container's program.
pub(crate) fn describe(errno: Errno) -> String {
    match errno {
        Errno::ACCESS => return "access denied".to_string(),
        Errno::PERM => return "not permitted".to_string(),
        Errno::NOENT => return "no such file or folder".to_string(),
        _ => {}
    }
    let text = std::io::Error::from(errno).to_string();
    text[..text.rfind('(').unwrap_or(text.len())].trim_end().to_string()
}
