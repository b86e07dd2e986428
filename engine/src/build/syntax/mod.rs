//! Dockerfiles as text: lines become instructions, each with the lines that it stands on. Nothing is expanded here but what a
//! line means by itself.

mod flag;
mod heredoc;
mod instruction;
mod line;
mod mount;
mod unknown;
mod wildcard;
mod word;

pub use heredoc::Heredoc;
pub use instruction::{
    Argument, CommandLine, From, Health, Instruction, Run, Security, Transfer, parse_instruction,
};
pub use line::Directives;
pub use mount::{Access, CacheSharing, MountKind, RunMount};
pub use word::{Expander, split_words};

use super::fault::{At, Outcome, Span};
use crate::error::Error;

/// An instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its lines.
    pub span: Span,
    /// As it is written, in one line.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// A Dockerfile that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// What it says before its first line.
    pub directives: Directives,
    /// In order.
    pub instructions: Vec<Located>,
}

/// The most bytes of a Dockerfile.
pub const TEXT_MAX: u64 = 16 << 20;

/// Reads a Dockerfile.
///
/// # Errors
/// An instruction is unknown or wrong; a heredoc has no end.
pub fn parse(text: &str) -> Outcome<Dockerfile> {
    let (directives, lines) = line::lines(text)?;
    let mut instructions = Vec::new();
    for line in lines {
        let span = line.span;
        let instruction = parse_instruction(&line.text, line.heredocs, directives.escape).at(span)?;
        instructions.push(Located { span, text: line.text, instruction });
    }
    if instructions.is_empty() {
        return Err(Error::invalid("it has no instructions: the least is FROM IMAGE").into());
    }
    Ok(Dockerfile { directives, instructions })
}

#[cfg(test)]
mod tests;
