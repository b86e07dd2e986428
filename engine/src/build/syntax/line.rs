//! From the lines of a file to those of instructions: parser directives, comments, continuations, heredocs.

use super::heredoc::Heredoc;
use super::word::split_words;
use crate::build::fault::{At, Outcome, Span};
use crate::error::Error;

/// What a Dockerfile says about itself before its first instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=docker/dockerfile:1`.
    pub syntax: Option<String>,
    /// `# escape=`, by which lines are continued.
    pub escape: char,
}

/// A line as it counts for an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its lines in the file, heredocs included.
    pub span: Span,
    /// Without comments and continuations.
    pub text: String,
    /// What follows it.
    pub heredocs: Vec<Heredoc>,
}

/// Instructions that may be followed by heredocs, ONBUILD in front of them included.
const WITH_HEREDOCS: [&str; 3] = ["ADD", "COPY", "RUN"];

/// Splits a file into the lines of its instructions.
///
/// # Errors
/// A directive is wrong; a heredoc has no end.
pub fn lines(text: &str) -> Outcome<(Directives, Vec<Line>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let directives = directives(&lines)?;
    let (mut found, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let first = at;
        let mut line = trimmed(lines[at]).trim_start().to_string();
        at += 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        while let Some(rest) = continued(&line, directives.escape) {
            line = rest;
            // What stands between is a comment or nothing.
            while at < lines.len() && is_passed_over(lines[at]) {
                at += 1;
            }
            let Some(next) = lines.get(at) else { break };
            line += trimmed(next);
            at += 1;
        }
        let line = line.trim().to_string();
        if line.is_empty() {
            continue;
        }
        let mut heredocs = heredocs(&line, directives.escape);
        for heredoc in &mut heredocs {
            let span = Span { first: first + 1, last: at };
            at = fill(heredoc, &lines, at).at(span)?;
        }
        found.push(Line { span: Span { first: first + 1, last: at }, text: line, heredocs });
    }
    Ok((directives, found))
}

fn trimmed(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

fn is_passed_over(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// The line without the sign at its end that another one follows; two of them are no such sign.
fn continued(line: &str, escape: char) -> Option<String> {
    let rest = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!rest.ends_with(escape)).then(|| rest.to_string())
}

fn heredocs(line: &str, escape: char) -> Vec<Heredoc> {
    let words = split_words(line, escape);
    let of_trigger = words.first().is_some_and(|word| word.eq_ignore_ascii_case("ONBUILD"));
    let keyword = words.get(usize::from(of_trigger)).map(|word| word.to_ascii_uppercase());
    if !keyword.is_some_and(|keyword| WITH_HEREDOCS.contains(&keyword.as_str())) {
        return Vec::new();
    }
    words.iter().filter_map(|word| Heredoc::parse(word)).collect()
}

/// Takes its lines; the result is the index of the line behind it.
fn fill(heredoc: &mut Heredoc, lines: &[&str], from: usize) -> Result<usize, Error> {
    for (index, line) in lines.iter().enumerate().skip(from) {
        let end = if heredoc.chomps { line.trim_start_matches('\t') } else { line };
        if trimmed(end) == heredoc.name {
            return Ok(index + 1);
        }
        heredoc.content += line;
    }
    Err(Error::invalid(format!("the heredoc {0} has no end: a line {0} is missing", heredoc.name)))
}

/// They stand at the very beginning, each once.
fn directives(lines: &[&str]) -> Outcome<Directives> {
    let mut directives = Directives { syntax: None, escape: '\\' };
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let span = Span { first: index + 1, last: index + 1 };
        let Some((name, value)) = directive(trimmed(line)) else { break };
        if !["syntax", "escape", "check"].contains(&name.as_str()) {
            continue;
        }
        if seen.contains(&name) {
            return Err(Error::invalid(format!("the parser directive {name} stands twice"))).at(span);
        }
        match name.as_str() {
            "syntax" => directives.syntax = Some(value.to_string()),
            // What BuildKit's checks are to do: box has none.
            "check" => {}
            _ => {
                directives.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    other => {
                        let error = Error::invalid(format!("escape={other}: must be \\ or `"));
                        return Err(error).at(span);
                    }
                }
            }
        }
        seen.push(name);
    }
    Ok(directives)
}

/// `# name = value`.
fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}
