//! What can go wrong between us and the kernel.

use std::fmt;

use rustix::io::Errno;

/// A failed exchange with the kernel.
#[derive(Debug)]
pub enum Error {
    /// A system call on the socket failed.
    System {
        /// The call.
        call: &'static str,
        /// Its error number.
        errno: Errno,
    },
    /// The kernel refused a message.
    Refused(Refusal),
    /// The kernel sent no answer to a message (it was lost for want of buffer space, or a dump kept changing).
    Unanswered(String),
    /// A reply whose lengths don't fit; the text says which part.
    Malformed(&'static str),
    /// An argument that no kernel would take; nothing was sent.
    Invalid(String),
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// One message that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which message of the batch, from 0.
    pub message: usize,
    /// What the message was to do, in words: `set link eth0 up`.
    pub what: String,
    /// The kernel's error number.
    pub errno: Errno,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), where it has any.
    pub text: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System { call, errno } => write!(f, "netlink: {call}: {}", describe(*errno)),
            Error::Refused(refusal) => refusal.fmt(f),
            Error::Unanswered(what) => write!(f, "{what}: the kernel did not answer over netlink"),
            Error::Malformed(part) => write!(f, "netlink reply: {part}"),
            Error::Invalid(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, describe(self.errno))?;
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The kernel's words for an errno, without Rust's `(os error N)`; but for those that callers of a container runtime take
/// for the fault of the container's program.
fn describe(errno: Errno) -> String {
    match errno {
        Errno::ACCESS => return "access denied".to_string(),
        Errno::PERM => return "not permitted".to_string(),
        _ => {}
    }
    let text = std::io::Error::from(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_string(),
        None => text,
    }
}
