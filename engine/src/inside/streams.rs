//! Streams of this program, where it is called once more and goes on by itself.

use std::fs::File;

use crate::error::{Context, Result};

/// What is read as nothing and takes everything.
///
/// # Errors
/// It cannot be opened.
pub fn null() -> Result<File> {
    File::options().read(true).write(true).open("/dev/null").context(|| "/dev/null")
}

/// Whoever has started this process does not wait for it, nor for the readers of its streams.
///
/// # Errors
/// As for [`null`].
pub fn leave_streams() -> Result<()> {
    let null = null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}
