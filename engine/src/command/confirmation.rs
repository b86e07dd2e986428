//! What is removed in numbers is asked for first.

use std::io::IsTerminal;

use super::{Arguments, Flag, print};
use crate::error::{Error, Result};

pub const FORCE: Flag = Flag { long: "force", short: Some('f'), value: None, help: "do not ask" };

/// Whether `what` is to be removed: [`FORCE`] is given, or whoever sits at the terminal says so. Elsewhere nobody answers.
///
/// # Errors
/// Nobody can be asked.
pub fn is_confirmed(arguments: &Arguments, what: &str) -> Result<bool> {
    if arguments.is_set(FORCE.long) {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::invalid(
            "prune: nobody can be asked, because stdin is no terminal: --force does it without",
        ));
    }
    print(&format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "))?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
