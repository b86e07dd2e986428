//! The terminal of a program that starts, and the place to which its master goes.

use super::options::CommandLine;
use crate::console;
use crate::error::{Context, Result};
use crate::spawn::Init;

/// Sends the terminal to `--console-socket`, if there is one, without waiting for an answer.
pub(super) fn hand_over_console(init: &mut Init, line: &CommandLine) -> Result<()> {
    match (&line.console_socket, init.console.take()) {
        (Some(socket), Some(master)) => {
            console::send_descriptor(socket, &master, "/dev/ptmx").context(|| "--console-socket")
        }
        (_, console) => {
            init.console = console;
            Ok(())
        }
    }
}
