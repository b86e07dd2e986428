//! What is kept of one more program in a container, as long as the machine runs: `.execs/ID` in the runtime folder. Whoever serves
//! a client may be killed between its steps, and another one goes on.

use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exec::ExecRequest;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::file;
use crate::store::{Store, random_id, write_without_sync};
use crate::time::Moment;

/// A program that a client wants to run in a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecRecord {
    /// 64 hex digits.
    pub id: String,
    /// The container's id.
    pub container: String,
    /// The program.
    pub request: ExecRequest,
    /// Which streams its client wanted.
    pub wanted: ExecStreams,
    /// When the client asked for it.
    pub created: Moment,
    /// How far it has come.
    pub state: ExecState,
}

/// Streams that a client wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecStreams {
    /// It reads.
    pub stdin: bool,
    /// What it writes is seen.
    pub stdout: bool,
    /// So are its errors.
    pub stderr: bool,
}

/// How far such a program has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExecState {
    /// It was asked for.
    Created,
    /// It runs.
    Running {
        /// Its first process.
        pid: i32,
        /// When that began, in ticks since the boot: its number may be another's later.
        began: u64,
    },
    /// It has ended.
    Ended {
        /// With this status.
        status: u8,
        /// Its first process.
        pid: i32,
    },
}

/// How long something is known of a program that has ended, and of one that was never started.
const MEMORY: Duration = Duration::from_secs(300);

impl ExecRecord {
    /// A new one.
    ///
    /// # Errors
    /// The kernel has no random bytes.
    pub fn new(container: &str, request: ExecRequest, wanted: ExecStreams) -> Result<ExecRecord> {
        Ok(ExecRecord {
            id: random_id()?,
            container: container.to_string(),
            request,
            wanted,
            created: Moment::now(),
            state: ExecState::Created,
        })
    }

    /// Writes it down.
    ///
    /// # Errors
    /// The runtime folder did not take it.
    pub fn write(&self, store: &Store) -> Result<()> {
        let folder = folder(store);
        store.place().make_runtime()?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.context(|| folder.display().to_string())?;
        let text = serde_json::to_vec(self).map_err(|error| Error::invalid(error.to_string()))?;
        write_without_sync(&folder.join(&self.id), &text)
    }

    /// The one with that id.
    ///
    /// # Errors
    /// There is none.
    pub fn find(store: &Store, id: &str) -> Result<ExecRecord> {
        let missing = || Error::not_found(format!("No such exec instance: {id}"));
        Digest::of_hex(id).ok_or_else(missing)?;
        let path = folder(store).join(id);
        match file::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(settled).map_err(|_| missing()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(error).context(|| path.display().to_string()),
        }
    }

    /// Those that run in a container.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn running(store: &Store, container: &str) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for record in list(store)? {
            if record.container == container && matches!(record.state, ExecState::Running { .. }) {
                ids.push(record.id);
            }
        }
        Ok(ids)
    }

    /// Forgets those that nobody will ask for any more.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sweep(store: &Store) -> Result<()> {
        for record in list(store)? {
            let age = Duration::from_nanos(Moment::now().0.saturating_sub(record.created.0));
            let runs = matches!(record.state, ExecState::Running { .. });
            let is_orphan = !runs && store.containers().find(&record.container).is_err();
            if is_orphan || (!runs && age > MEMORY) {
                // Another one may be faster.
                let _ = std::fs::remove_file(folder(store).join(&record.id));
            }
        }
        Ok(())
    }
}

fn list(store: &Store) -> Result<Vec<ExecRecord>> {
    let entries = match std::fs::read_dir(folder(store)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(|| folder(store).display().to_string())?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(|name| ExecRecord::find(store, &name).ok()).collect())
}

fn folder(store: &Store) -> PathBuf {
    store.place().runtime.join(".execs")
}

/// One whose end nobody has seen, because whoever served its client was killed, has ended all the same.
fn settled(record: ExecRecord) -> ExecRecord {
    match record.state {
        ExecState::Running { pid, began } if began_at(pid) != Some(began) => {
            ExecRecord { state: ExecState::Ended { status: super::loss::UNKNOWN, pid }, ..record }
        }
        _ => record,
    }
}

/// When a process began, in ticks since the boot; `None` if there is none.
pub fn began_at(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets, and may have some of its own.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}
