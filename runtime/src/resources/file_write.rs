//! What is written to one file of a cgroup, and the errors of what cannot be.

use std::borrow::Cow;
use std::fmt::Display;

use crate::error::Error;

/// A value for one file of the cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWrite<'a> {
    /// The file's name, for example `memory.max`.
    pub file: Cow<'a, str>,
    /// The text to write; each line of several is a write of its own.
    pub value: Cow<'a, str>,
    /// The controller that has the file; `None` for the core (`cgroup.*`).
    pub controller: Option<Cow<'a, str>>,
    /// The field that asks for it, from `linux` on.
    pub field: Cow<'a, str>,
    /// What to do differently from a plain write.
    pub exception: Exception<'a>,
}

/// What a failed write means, or when to refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exception<'a> {
    /// Nothing: every failure is an error.
    None,
    /// A new cgroup has this value anyway: the controller is not needed, and the file may be missing.
    Default,
    /// A kernel without this file has nothing to limit.
    FileMayBeMissing,
    /// If the file is missing, another one gets another value.
    Instead {
        /// The other file.
        file: &'a str,
        /// Its value.
        value: String,
    },
    /// `EINVAL` means that it conflicts with a limit that the next write replaces: it is tried again after
    /// that.
    AfterNext,
    /// Refused if this file shows a higher usage.
    NotBelow(&'a str),
}

impl<'a> FileWrite<'a> {
    /// A write without exceptions.
    pub(crate) fn new(
        controller: impl Into<Cow<'a, str>>,
        file: impl Into<Cow<'a, str>>,
        value: impl Into<Cow<'a, str>>,
        field: impl Into<Cow<'a, str>>,
    ) -> Self {
        FileWrite {
            file: file.into(),
            value: value.into(),
            controller: Some(controller.into()),
            field: field.into(),
            exception: Exception::None,
        }
    }

    /// The same write with an exception.
    pub(crate) fn with(self, exception: Exception<'a>) -> Self {
        FileWrite { exception, ..self }
    }

    /// The same write, with [`Exception::Default`] if `default` holds.
    pub(super) fn default_if(self, default: bool) -> Self {
        if default { self.with(Exception::Default) } else { self }
    }
}

/// The error for a field whose value can't be right.
pub(super) fn invalid(field: &str, value: impl Display, right: &str) -> Error {
    Error::formatted(format_args!("linux.resources.{field}: {value} is not {right}"))
}

/// The error for a field that asks for something that only cgroup v1 could do.
pub(super) fn without_v2_form(field: &str, value: impl Display) -> Error {
    Error::formatted(format_args!("linux.resources.{field}: {value} has no equivalent in cgroup v2"))
}
