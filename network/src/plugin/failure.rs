//! How errors are told: by the specification's codes, and from 100 on by our own.

use std::fmt;

use crate::cni::{Refusal, Version};
use crate::error::{Error, Kind};

pub(super) const VERSION: u32 = Refusal::INCOMPATIBLE_VERSION;
pub(super) const FIELD: u32 = Refusal::UNSUPPORTED_FIELD;
pub(super) const CONTAINER: u32 = Refusal::UNKNOWN_CONTAINER;
pub(super) const ENVIRONMENT: u32 = Refusal::INVALID_ENVIRONMENT;
pub(super) const IO: u32 = Refusal::IO;
pub(super) const DECODE: u32 = Refusal::DECODE;
pub(super) const CONFIGURATION: u32 = Refusal::INVALID_CONFIGURATION;
pub(super) const AGAIN: u32 = Refusal::TRY_AGAIN;
pub(super) const UNAVAILABLE: u32 = Refusal::UNAVAILABLE;

/// Somebody has the address, the port or the name.
const TAKEN: u32 = 100;
/// A link or a record is not there.
const MISSING: u32 = 101;
/// The caller has not the rights.
const RIGHTS: u32 = 102;

/// What each code is called.
const WORDS: [(u32, &str); 12] = [
    (VERSION, "incompatible CNI version"),
    (FIELD, "unsupported field"),
    (CONTAINER, "unknown container"),
    (ENVIRONMENT, "invalid environment variable"),
    (IO, "input or output failed"),
    (DECODE, "not the JSON that was expected"),
    (CONFIGURATION, "invalid network configuration"),
    (AGAIN, "try again later"),
    (UNAVAILABLE, "not available"),
    (TAKEN, "taken"),
    (MISSING, "missing"),
    (RIGHTS, "not permitted"),
];

/// Why a plugin has not done what it was called for.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: u32,
    pub error: Error,
}

pub(super) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(code: u32, error: Error) -> Failure {
        Failure { code, error }
    }

    /// Appends an error that followed.
    pub fn besides<E: Into<Failure>>(self, left: std::result::Result<(), E>) -> Failure {
        Failure { error: self.error.besides(left.map_err(|left| left.into().error)), ..self }
    }

    /// As it is printed; `version` is the caller's.
    pub fn write(&self, version: &str) -> String {
        let Failure { code, error } = self;
        let word = WORDS.into_iter().find(|(known, _)| known == code).map_or("", |(_, word)| word);
        let version = Version::of_name(version).unwrap_or(Version::V1_1_0);
        let (code, details) = (*code, error.to_string());
        Refusal { cni_version: version.name().into(), code, msg: word.into(), details }.write()
    }
}

/// A failure with that code.
#[cold]
#[inline(never)]
pub(super) fn failed(code: u32, text: fmt::Arguments<'_>) -> Failure {
    Failure::new(code, Error::invalid(text))
}

impl From<Error> for Failure {
    #[cold]
    fn from(error: Error) -> Failure {
        let code = match error.kind() {
            Kind::Invalid => CONFIGURATION,
            Kind::Taken | Kind::PortTaken => TAKEN,
            Kind::Missing => MISSING,
            Kind::NotPermitted => RIGHTS,
            Kind::Busy => AGAIN,
            Kind::Unsupported => UNAVAILABLE,
            Kind::Host => IO,
        };
        Failure::new(code, error)
    }
}
