//! What is written down of requests: a line of JSON or of text for each, in a file or on stderr.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use crate::error::{Context, Result};
use crate::time::{Moment, rfc3339};

/// How much weight a line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every request.
    Debug,
    /// What was refused.
    Info,
    /// What went wrong.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Error => "error",
        }
    }
}

/// The log.
#[derive(Debug)]
pub struct Log {
    file: Option<Mutex<File>>,
    least: Level,
}

impl Log {
    /// In a file, one object a line; without one, lines of text on stderr.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: Option<&Path>, least: Level) -> Result<Log> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.map(Mutex::new).context(|| format!("--log {}", path.display()))
        };
        Ok(Log { file: path.map(open).transpose()?, least })
    }

    /// Writes a line. Nobody is kept from his work by a log that takes nothing.
    pub fn write(&self, level: Level, text: &str) {
        if level < self.least {
            return;
        }
        let time = rfc3339(Moment::now());
        match &self.file {
            Some(file) => {
                let line = json!({"time": time, "level": level.name(), "msg": text}).to_string() + "\n";
                let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
            }
            None => {
                let text: String =
                    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
                let _ = std::io::stderr().write_all(format!("boxd: {}: {text}\n", level.name()).as_bytes());
            }
        }
    }
}
