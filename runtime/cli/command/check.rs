//! check: what this machine offers to containers.

use pillbox::check::{self, Finding};
use pillbox::error::{Error, Result};
use pillbox::state::Root;
use pillbox::text::json;

use super::print;
use crate::arguments::{Arguments, Global};

pub fn check(_: &Global, arguments: Arguments) -> Result<u8> {
    let format = arguments.value("format").map_or("table".into(), |format| format.to_string_lossy());
    if !matches!(&*format, "table" | "json") {
        return Err(Error::formatted(format_args!("--format {format}: must be table or json")));
    }
    let findings = check::look(&Root::from_environment());
    let can_run = check::can_run(&findings);
    print(&match &*format {
        "json" => json::pretty(&json::to_string(&findings)?) + "\n",
        _ => table(&findings, can_run),
    })?;
    Ok(if can_run { 0 } else { 1 })
}

fn table(findings: &[Finding], can_run: bool) -> String {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let Finding { what, available, detail, consequence, remedy, required: _ } = finding;
        let line = format!("{:<7} {what:<width$}  {detail}", available.as_str());
        text += line.trim_end();
        text.push('\n');
        for sentence in [consequence, remedy] {
            if !sentence.is_empty() {
                text += &format!("{:width$}{sentence}\n", "", width = width + 10);
            }
        }
    }
    text += if can_run { "\nContainers can run here.\n" } else { "\nContainers cannot run here.\n" };
    text
}
