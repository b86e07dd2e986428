//! What pages of measured times have in common: `bench network` and `bench box` write them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::course::Line;
use crate::error::{Context, Result};
use crate::report::number;
use crate::target::Target;

/// Something that must not be larger.
pub fn at_most(what: impl Into<String>, bound: f64, measured: Option<f64>) -> Target {
    Target { what: what.into(), bound, at_most: true, measured }
}

/// The median of a case in ms, if it was measured.
pub fn median(lines: &[Line], case: &str, subject: &str) -> Option<f64> {
    lines.iter().find(|line| line.case == case && line.subject == subject)?.samples.median()
}

/// The heads of [`rows`]; `subject` is what they call whatever was measured.
pub const fn head(subject: &str) -> [&str; 6] {
    ["case", subject, "median ms", "p95 ms", "min ms", "failed"]
}

/// A row for each line.
pub fn rows(lines: &[Line]) -> Vec<[String; 6]> {
    let row = |line: &Line| {
        let samples = &line.samples;
        [
            line.case.clone(),
            line.subject.clone(),
            number(samples.median()),
            number(samples.percentile(95)),
            number(samples.percentile(0)),
            format!("{}/{}", samples.failures, samples.runs() + samples.failures),
        ]
    };
    lines.iter().map(row).collect()
}

/// What failed first of each line that has failures.
pub fn failures(lines: &[Line]) -> impl Iterator<Item = String> {
    lines.iter().filter_map(|line| {
        let failure = line.samples.first_failure.as_deref()?;
        Some(format!("{}, {}, failed: {failure}", line.case, line.subject))
    })
}

/// The lines for programs; `subject` is the member's name for whatever was measured.
pub fn documents(lines: &[Line], subject: &str) -> Vec<Value> {
    let document = |line: &Line| {
        let samples = &line.samples;
        json!({
            "case": line.case, subject: line.subject, "runs": samples.runs(), "failures": samples.failures,
            "firstFailure": samples.first_failure, "median": samples.median(),
            "p95": samples.percentile(95), "min": samples.percentile(0),
        })
    };
    lines.iter().map(document).collect()
}

/// A table of Markdown, whose first `words` columns are text.
pub fn table<const N: usize>(head: &[&str; N], words: usize, rows: &[[String; N]]) -> String {
    let rule = format!("{}{}", "---|".repeat(words), "---:|".repeat(N - words));
    let rows: String = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    format!("| {} |\n|{rule}\n{rows}", head.join(" | "))
}

/// Where something is: whoever enters a mount namespace is in its root folder then.
///
/// # Errors
/// The working folder is gone.
pub fn path(value: OsString) -> Result<PathBuf> {
    std::path::absolute(&value).context(|| value.display().to_string())
}

/// Writes what was measured, and the page, where they are wanted.
///
/// # Errors
/// A file cannot be written.
pub fn write(
    json: Option<&Path>,
    measured: impl FnOnce() -> Value,
    markdown: Option<&Path>,
    page: impl FnOnce() -> String,
) -> Result<()> {
    if let Some(file) = json {
        fs::write(file, format!("{:#}\n", measured())).context(|| format!("write {}", file.display()))?;
    }
    if let Some(file) = markdown {
        fs::write(file, page()).context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
