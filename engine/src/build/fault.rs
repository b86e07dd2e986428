//! What is wrong with a build, and where in the Dockerfile.

use std::fmt;

use crate::error::Error;

/// Lines of a Dockerfile, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first one.
    pub first: usize,
    /// The last one.
    pub last: usize,
}

/// An error and the lines that it is about.
#[derive(Debug)]
pub struct Fault {
    /// The instruction's lines; `None` if it is about none.
    pub span: Option<Span>,
    /// What is wrong.
    pub error: Error,
}

/// The result of what may fail at a line.
pub type Outcome<T> = Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { span: None, error }
    }
}

/// Adds the lines to what failed.
pub trait At<T> {
    /// Says at which lines it failed, unless that is known already.
    fn at(self, span: Span) -> Outcome<T>;
}

impl<T, E: Into<Fault>> At<T> for Result<T, E> {
    fn at(self, span: Span) -> Outcome<T> {
        self.map_err(|error| {
            let fault = error.into();
            Fault { span: fault.span.or(Some(span)), error: fault.error }
        })
    }
}

/// How many lines before and behind are shown.
const AROUND: usize = 2;

/// Lines of a Dockerfile that an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The Dockerfile's name.
    pub name: String,
    /// All of it.
    pub text: String,
    /// The first of the lines, from 1 on.
    pub first: usize,
    /// The last one.
    pub last: usize,
}

impl fmt::Display for Excerpt {
    /// With the lines around, the ones that it is about marked, as BuildKit shows them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt { name, text, first, last } = self;
        let lines: Vec<&str> = text.lines().collect();
        let rule = "-".repeat(20);
        writeln!(formatter, "{name}:{first}\n{rule}")?;
        for number in first.saturating_sub(AROUND).max(1)..=(last + AROUND).min(lines.len()) {
            let mark = if (*first..=*last).contains(&number) { ">>>" } else { "   " };
            let line = format!("{number:>4} | {mark} {}", lines[number - 1]);
            writeln!(formatter, "{}", line.trim_end())?;
        }
        writeln!(formatter, "{rule}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_around_are_shown() {
        let text = "FROM a\n\nRUN x \\\n  y\nRUN z\nRUN 1\nRUN 2\n";
        let shown = Excerpt { name: "Dockerfile".into(), text: text.into(), first: 3, last: 4 }.to_string();
        let rule = "-".repeat(20);
        let expected = format!(
            "Dockerfile:3\n{rule}\n   1 |     FROM a\n   2 |\n   3 | >>> RUN x \\\n   4 | >>>   y\n   5 |     RUN z\n   6 |     RUN 1\n{rule}\n"
        );
        assert_eq!(shown, expected);
    }
}
