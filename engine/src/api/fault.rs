//! What a client is told when something goes wrong: a status and a sentence, as Docker has them.

use crate::error::{Error, Kind};

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
// A single pointer, because it is passed up through every `Outcome`.
pub struct Fault(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    status: u16,
    message: String,
    form: Form,
}

/// How a sentence is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a member of a document.
    Document,
    /// As a line, to clients that are older than documents.
    Line,
}

/// What is written down of a client that did not wait for its answer. It never sees this.
const GONE: u16 = 499;

/// What a handler gives.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// A status with a sentence.
    #[cold]
    pub fn new(status: u16, message: impl Into<String>) -> Fault {
        Fault::of(status, message.into())
    }

    // Once for all kinds of sentences.
    #[cold]
    #[inline(never)]
    fn of(status: u16, message: String) -> Fault {
        Fault(Box::new(Inner { status, message, form: Form::Document }))
    }

    /// The same, sent in another form.
    pub fn with_form(mut self, form: Form) -> Fault {
        self.0.form = form;
        self
    }

    /// How it is sent.
    pub fn form(&self) -> Form {
        self.0.form
    }

    /// Of HTTP.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// For people, and for clients that look for Docker's words.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What was asked for cannot be.
    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::new(400, message)
    }

    /// There is no such thing.
    pub fn missing(message: impl Into<String>) -> Fault {
        Fault::new(404, message)
    }

    /// It is there already, or in use.
    pub fn conflict(message: impl Into<String>) -> Fault {
        Fault::new(409, message)
    }

    /// No path of the API's.
    pub fn no_page() -> Fault {
        Fault::missing("page not found")
    }

    /// Nobody is there any more to be told.
    pub fn is_of_gone_client(&self) -> bool {
        self.status() == GONE
    }

    /// Puts what was done before the sentence.
    pub fn context(self, step: impl std::fmt::Display) -> Fault {
        self.after(&step)
    }

    // Once for all kinds of steps.
    #[cold]
    #[inline(never)]
    fn after(mut self, step: &dyn std::fmt::Display) -> Fault {
        self.0.message = format!("{step}: {}", self.0.message);
        self
    }
}

impl From<Error> for Fault {
    #[cold]
    #[inline(never)]
    fn from(error: Error) -> Fault {
        let status = match error.kind() {
            Kind::Invalid => 400,
            Kind::NotFound => 404,
            Kind::Conflict | Kind::Connection => 409,
            Kind::Closed => GONE,
            Kind::PortTaken | Kind::FileMissing | Kind::Corrupt | Kind::Program | Kind::Host => 500,
        };
        Fault::new(status, error.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Error::from(error).into()
    }
}

impl From<pillbox::Error> for Fault {
    fn from(error: pillbox::Error) -> Fault {
        Error::from(error).into()
    }
}
