//! Flags of commands that speak with registries.

use super::{Arguments, Flag};
use crate::error::{Error, Result};
use crate::image::Platform;
use crate::registry::{Access, Credentials, Verification};

/// Whom to trust.
pub const FLAGS: &[Flag] = &[Flag {
    long: "tls-verify",
    short: None,
    value: None,
    help: "registries show who they are (default; =false: also without TLS)",
}];

/// What it is to run on.
pub const PLATFORM_FLAGS: &[Flag] = &[Flag {
    long: "platform",
    short: None,
    value: Some("OS/ARCH[/VARIANT]"),
    help: "what the image is to run on (default: this machine)",
}];

/// Who asks, and whom to trust.
pub fn access(arguments: &Arguments) -> Access {
    let verification =
        if arguments.is_on("tls-verify") { Verification::Required } else { Verification::Waived };
    Access { credentials: Credentials::of_caller(), verification }
}

/// `--platform`.
///
/// # Errors
/// It is none.
pub fn platform(arguments: &Arguments) -> Result<Option<Platform>> {
    let Some(text) = arguments.text("platform")? else { return Ok(None) };
    let wrong = || Error::invalid(format!("--platform {text}: must be such as linux/arm64 or linux/arm/v7"));
    Platform::parse(text).ok_or_else(wrong).map(Some)
}
