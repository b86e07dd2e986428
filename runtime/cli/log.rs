//! `--log`: what callers read when a command has failed.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pillbox::error::{Context, Result};
use serde::Serialize;

/// Where errors go besides stderr.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// Opened for append, made if it is missing.
    pub file: Option<PathBuf>,
    /// One JSON object a line, instead of text.
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
    /// Takes a file for a log.
    ///
    /// # Errors
    /// It cannot be written to: whoever reads it later would take that for silence.
    pub fn open(&mut self, path: PathBuf) -> Result<()> {
        let step = || format!("--log {}", path.display());
        open(&path).context(step)?;
        // `list` changes its working folder.
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
        // The same stands on stderr: a log that cannot be written any more must not hide it.
        if let Ok(mut file) = open(path) {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}
