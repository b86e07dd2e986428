//! `--log`: the file that callers read when a command has failed.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pillbox::error::{Context, Result};
use serde::Serialize;

/// Where errors go besides stderr.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// Opened for appending; created if it is missing.
    pub file: Option<PathBuf>,
    /// Whether each line is a JSON object instead of text.
    pub json: bool,
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().append(true).create(true).open(path)
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

impl Log {
    /// Writes the log to a file from now on.
    ///
    /// # Errors
    /// The file cannot be written to: an empty log would look as if there had been no error.
    pub fn open(&mut self, path: PathBuf) -> Result<()> {
        let step = || format!("--log {}", path.display());
        open(&path).context(step)?;
        // `list` changes the working folder.
        self.file = Some(std::path::absolute(&path).context(step)?);
        Ok(())
    }

    /// Appends one line.
    pub fn write(&self, level: &str, message: &str) {
        let Some(path) = &self.file else { return };
        let time = pillbox::text::time::rfc3339(SystemTime::now());
        let line = if self.json {
            let line = Line { level, msg: message, time };
            pillbox::text::json::to_string(&line).unwrap_or_default()
        } else {
            format!("{time} {level}: {message}")
        };
        // The message also goes to stderr: a log that has become unwritable must not replace that error.
        if let Ok(mut file) = open(path) {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}
