//! `--log`: what callers read when a command has failed.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

/// Where errors go besides stderr.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// Opened for append, made if it is missing.
    pub file: Option<PathBuf>,
    /// One JSON object a line, instead of text.
    pub json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

impl Log {
    /// Appends one line.
    pub fn write(&self, level: &str, message: &str) {
        let Some(path) = &self.file else { return };
        let time = pillbox::time::rfc3339(SystemTime::now());
        let line = if self.json {
            let line = Line { level, msg: message, time };
            pillbox::json::to_string(&line).unwrap_or_default()
        } else {
            format!("{time} {level}: {message}")
        };
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        // The same stands on stderr: a log that cannot be written must not hide it.
        if let Ok(mut file) = file {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}
