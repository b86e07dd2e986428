//! Other programs, and this one once more.

use std::ffi::OsStr;
use std::process::Command;

/// A program that is to be started. It may have as many files open as whoever started this process said, not as many as boxd takes for
/// itself.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    pillbox::leave_open_files(&mut command);
    command
}
