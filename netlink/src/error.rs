//! What can go wrong in an exchange with the kernel.

use std::fmt;

use rustix::io::Errno;

/// A failed exchange with the kernel.
// In a box: results are a word, which every function on the way hands on.
#[derive(Debug)]
pub struct Error(Box<Cause>);

/// What has failed.
#[derive(Debug)]
pub enum Cause {
    /// A system call on the socket failed.
    System {
        /// The call.
        call: &'static str,
        /// Its errno.
        errno: Errno,
    },
    /// The kernel refused a message.
    Refused(Refusal),
    /// The kernel sent no answer to a message: it was lost for lack of buffer space, or a dump kept changing.
    Unanswered(String),
    /// A reply whose lengths don't fit; the text says which part.
    Malformed(&'static str),
    /// An argument that no kernel would accept; nothing was sent.
    Invalid(String),
}

impl Error {
    /// What has failed.
    pub fn cause(&self) -> &Cause {
        &self.0
    }

    /// The kernel's refusal of a message, if that is what has failed.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self.cause() {
            Cause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The errno of that.
    pub fn refused(&self) -> Option<Errno> {
        self.refusal().map(|refusal| refusal.errno)
    }

    /// Whether a system call on the socket failed with that errno.
    pub(crate) fn is_of_system(&self, wanted: Errno) -> bool {
        matches!(self.cause(), Cause::System { errno, .. } if *errno == wanted)
    }

    #[cold]
    pub(crate) fn unanswered(what: impl Into<String>) -> Self {
        Cause::Unanswered(what.into()).into()
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn malformed(part: &'static str) -> Self {
        Cause::Malformed(part).into()
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn invalid(text: fmt::Arguments<'_>) -> Self {
        Cause::Invalid(fmt::format(text)).into()
    }
}

impl From<Cause> for Error {
    #[cold]
    #[inline(never)]
    fn from(cause: Cause) -> Self {
        Error(Box::new(cause))
    }
}

/// The result of all functions here.
pub type Result<T> = std::result::Result<T, Error>;

/// One message that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its index in the batch, from 0.
    pub message: usize,
    /// What the message was to do: `set link eth0 up`.
    pub what: String,
    /// The kernel's errno.
    pub errno: Errno,
    /// The kernel's own text (`NLMSGERR_ATTR_MSG`), if there is one.
    pub text: Option<String>,
    /// The part of the message that the kernel means (`NLMSGERR_ATTR_OFFS`), where it says so.
    pub field: Option<Field>,
}

/// The part of a request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it stands, from the outermost attribute inwards: `hook.priority`, `expressions[2] (lookup)`.
    pub path: String,
    /// Which one it is, from 0, where it lies in a list: of a rule's expressions, or of the elements that
    /// were given to one call.
    pub item: Option<usize>,
    /// What that one is called, where the items of the list have names: the expression `lookup`.
    pub label: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause() {
            Cause::System { call, errno } => write!(f, "netlink: {call}: {}", describe(*errno)),
            Cause::Refused(refusal) => refusal.fmt(f),
            Cause::Unanswered(what) => write!(f, "{what}: the kernel did not answer over netlink"),
            Cause::Malformed(part) => write!(f, "netlink reply: {part}"),
            Cause::Invalid(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.what)?;
        if let Some(field) = &self.field {
            write!(f, "{}: ", field.path)?;
        }
        f.write_str(&describe(self.errno))?;
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The text for an errno, without Rust's `(os error N)`. Two differ from the C library's, which callers of a
/// container runtime take as a fault of the container's program.
fn describe(errno: Errno) -> String {
    match errno {
        Errno::ACCESS => return "access denied".to_string(),
        Errno::PERM => return "not permitted".to_string(),
        _ => {}
    }
    let text = std::io::Error::from(errno).to_string();
    text[..text.rfind('(').unwrap_or(text.len())].trim_end().to_string()
}
