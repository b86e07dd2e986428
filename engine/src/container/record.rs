//! What is kept of a container: what was asked for, and how far it has come.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::options::{Options, Restart};
use crate::error::{Context, Error, Result};
use crate::file;
use crate::image::{ChainId, Execution, ImageId};
use crate::store::{
    Broken, CONTAINER_RECORD as RECORD, ContainerFolder, Lock, REMEDY, Sharing, Store, read_whole,
    write_without_sync,
};
use crate::thread::by_shares;
use crate::time::Moment;

/// What was asked for: `container.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecord {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image, as the command line named it.
    pub image: String,
    /// What its root is made of.
    pub base: Base,
    /// How the image wants to be run.
    pub execution: Execution,
    /// What the command line says.
    pub options: Options,
    /// When it was made.
    pub created: Moment,
    /// Whether it is removed when it has ended.
    pub auto_remove: bool,
    /// Whether it ends with the command that runs it: it has no monitor.
    pub is_foreground: bool,
}

/// What a container's root is made of, below its own changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Base {
    /// The layers of an image.
    #[serde(rename_all = "camelCase")]
    Image {
        /// Its id.
        id: ImageId,
        /// The lowest one first.
        layers: Vec<ChainId>,
    },
    /// A folder of the host's.
    Folder(PathBuf),
}

/// How far it has come: `progress.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// When its program was started last.
    pub started: Option<Moment>,
    /// How that ended.
    pub exit: Option<Exit>,
    /// How often its monitor has started it again.
    pub restarts: u32,
    /// That it stays when it has ended, so that nobody has to look at its record for that.
    pub is_kept: bool,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Its status, or 128 + the signal that ended it.
    pub status: u8,
    /// When.
    pub finished: Moment,
    /// Why it could not be started, if it could not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Whether its monitor is about to start it again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_restarting: bool,
    /// Whether the kernel has killed a process of it because memory had run out.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_out_of_memory: bool,
}

impl Exit {
    /// How long it has run.
    pub fn seconds_since(&self, started: Option<Moment>) -> u64 {
        started.map_or(0, |started| self.finished.0.saturating_sub(started.0) / 1_000_000_000)
    }
}

const PROGRESS: &str = "progress.json";
const STOPPED: &str = "stopped";

/// Beside that, if it was not killed.
const ASKED: &str = "asked";

impl ContainerRecord {
    /// Writes it into the container's folder. A torn one counts as no container, so it is not synced.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn write(&self, folder: &ContainerFolder) -> Result<()> {
        write(folder, RECORD, self)
    }

    /// Whether there is one, without reading it.
    pub fn is_there(folder: &ContainerFolder) -> bool {
        folder.path().join(RECORD).exists()
    }

    /// When it was written, and its inode, which are others after each change; `None` if it is not there.
    pub fn changed(folder: &ContainerFolder) -> Option<(SystemTime, u64)> {
        let status = std::fs::metadata(folder.path().join(RECORD)).ok()?;
        Some((status.modified().ok()?, status.ino()))
    }

    /// Reads it; `None` if it is not there, or torn.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(folder: &ContainerFolder) -> Result<Option<ContainerRecord>> {
        read(folder, RECORD)
    }

    /// The container that a command means, by its name or the beginning of its id.
    ///
    /// # Errors
    /// There is none, which is [`Kind::NotFound`](crate::Kind::NotFound); it is torn.
    pub fn of(folder: &ContainerFolder) -> Result<ContainerRecord> {
        let missing = || match ContainerRecord::is_there(folder) {
            true => ContainerRecord::torn(folder),
            false => Error::not_found(format!("No such container: {}", folder.id.short())),
        };
        ContainerRecord::read(folder)?.ok_or_else(missing)
    }

    /// That it is there, and none.
    pub fn torn(folder: &ContainerFolder) -> Error {
        Error::corrupt(format!("container {}: its record cannot be read: {REMEDY}", folder.id.short()))
    }
}

impl ContainerRecord {
    /// All containers with what was asked for. One that is gone meanwhile, or was never complete, is none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(store: &Store) -> Result<Vec<ContainerRecord>> {
        let folders = store.containers().list()?;
        let records = by_shares(&folders, |folder| ContainerRecord::read(folder).ok().flatten());
        Ok(records.into_iter().flatten().collect())
    }

    /// The layers that containers are made of.
    ///
    /// # Errors
    /// As for [`ContainerRecord::list`].
    pub fn layers_in_use(store: &Store) -> Result<BTreeSet<ChainId>> {
        let mut used = BTreeSet::new();
        for record in ContainerRecord::list(store)? {
            if let Base::Image { layers, .. } = record.base {
                used.extend(layers);
            }
        }
        Ok(used)
    }

    /// The image that it is made of, if it is made of one.
    pub fn image_id(&self) -> Option<&ImageId> {
        match &self.base {
            Base::Image { id, .. } => Some(id),
            Base::Folder(_) => None,
        }
    }
}

/// Containers whose records cannot be read, which other commands pass over. One that somebody holds is left alone.
///
/// # Errors
/// The folder cannot be read.
pub fn broken_containers(store: &Store) -> Result<Vec<Broken>> {
    let is_record = |text: &[u8], id: &str| {
        serde_json::from_slice::<ContainerRecord>(text).is_ok_and(|record| record.id == id)
    };
    let mut broken = store.broken_containers(is_record)?;
    broken.retain(|one| !matches!(Lock::try_at(&one.path, Sharing::Exclusive), Ok(None)));
    Ok(broken)
}

impl Progress {
    /// Writes it into the container's folder. On a full disk it is written over what is there, for which there is room.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn write(&self, folder: &ContainerFolder) -> Result<()> {
        write(folder, PROGRESS, self).or_else(|error| self.write_over(folder).map_err(|_| error))
    }

    fn write_over(&self, folder: &ContainerFolder) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        let mut file = file::open_with(File::options().write(true), &folder.path().join(PROGRESS))?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        // What was longer must not show behind it.
        text.resize(text.len().max(length), b' ');
        file.write_all(&text)?;
        // As if it had been replaced: the folder's time tells whether something has changed.
        File::open(folder.path())?.set_modified(SystemTime::now())
    }

    /// Reads it; of a container that was never started there is nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(folder: &ContainerFolder) -> Result<Progress> {
        Ok(read(folder, PROGRESS)?.unwrap_or_default())
    }
}

/// How its user brings a container to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// By asking it to end: that is told with its end.
    Asked,
    /// By a signal that ends it.
    Killed,
}

/// Notes that its user has stopped it: it is not started again by itself. The files that say so are empty, for a name there is mostly
/// room on a full disk.
///
/// # Errors
/// The disk did not take it, and it would be started again.
pub fn note_stopped(folder: &ContainerFolder, restart: Restart, how: Stopping) -> Result<()> {
    let make = |name: &str| file::make(&folder.path().join(name)).map(drop);
    let noted = make(STOPPED).or_else(|error| match restart {
        Restart::No if folder.path().exists() => Ok(()),
        _ => Err(error).context(|| folder.path().join(STOPPED).display().to_string()),
    });
    // What cannot be told keeps nobody from ending it.
    let _ = match how {
        Stopping::Asked => make(ASKED),
        Stopping::Killed => std::fs::remove_file(folder.path().join(ASKED)),
    };
    noted
}

/// Notes that its user wants it to run.
///
/// # Errors
/// The disk did not take it.
pub fn forget_stopped(folder: &ContainerFolder) -> Result<()> {
    for name in [ASKED, STOPPED] {
        let path = folder.path().join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done.context(|| path.display().to_string())?,
        }
    }
    Ok(())
}

/// Whether it was asked to end.
pub fn was_asked_to_stop(folder: &ContainerFolder) -> bool {
    folder.path().join(ASKED).exists()
}

/// Whether its user has stopped it.
pub fn is_stopped(folder: &ContainerFolder) -> bool {
    folder.path().join(STOPPED).exists()
}

pub(super) fn write(folder: &ContainerFolder, name: &str, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|error| Error::invalid(format!("{name}: {error}")))?;
    write_without_sync(&folder.path().join(name), &text)
}

pub(super) fn read<T: DeserializeOwned>(folder: &ContainerFolder, name: &str) -> Result<Option<T>> {
    let path = folder.path().join(name);
    match read_whole(&path, |text| serde_json::from_slice(text).ok()) {
        // What is no file is no more a record than a torn one.
        Err(_) if path.exists() && !path.is_file() => Ok(None),
        parsed => Ok(parsed.context(|| path.display().to_string())?.flatten()),
    }
}
