//! Flags of commands that speak with registries.

use super::{Arguments, Flag};
use crate::error::{Error, Result};
use crate::image::Platform;
use crate::registries::Registries;
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

/// Who asks, where, and whom to trust.
///
/// # Errors
/// registries.conf is broken.
pub fn access(arguments: &Arguments) -> Result<Access> {
    let verification =
        if arguments.is_on("tls-verify") { Verification::Required } else { Verification::Waived };
    let registries = Registries::of_caller()?;
    Ok(Access { registries, credentials: Credentials::of_caller(), verification })
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
