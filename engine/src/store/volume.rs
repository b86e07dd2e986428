//! Volumes: folders that outlive containers, `volumes/NAME/_data`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::lock::{Lock, Sharing};
use super::{PARTIAL, fresh_name, names_in, random_id, removal, write_without_sync};
use crate::error::{Context, Error, Kind, Result};
use crate::ids::IdMaps;
use crate::time::Moment;

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// Unique in the store.
    pub name: String,
    /// Whether it was made for one container, which nobody gave it a name for.
    pub is_anonymous: bool,
    /// Whatever its user says.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Moment,
}

/// The folder of volumes.
#[derive(Debug, Clone)]
pub struct Volumes {
    folder: PathBuf,
    maps: Option<IdMaps>,
}

const DATA: &str = "_data";
const RECORD: &str = "volume.json";

impl Volumes {
    pub(super) fn at(folder: PathBuf, maps: Option<IdMaps>) -> Volumes {
        Volumes { folder, maps }
    }

    /// Where all of them are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the data of a volume is, below that.
    pub fn data(name: &str) -> PathBuf {
        Path::new(name).join(DATA)
    }

    /// Where the data of a volume is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Volumes::data(name))
    }

    /// The volume of that name; it is made if it is not there.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn make(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<VolumeRecord> {
        if let Some(record) = self.find(name)? {
            return Ok(record);
        }
        let record = VolumeRecord {
            name: name.to_string(),
            is_anonymous: false,
            labels: labels.clone(),
            created: Moment::now(),
        };
        self.add(record)
    }

    /// One that nobody gives a name.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn make_anonymous(&self) -> Result<VolumeRecord> {
        let (name, labels) = (random_id()?, BTreeMap::new());
        self.add(VolumeRecord { name, is_anonymous: true, labels, created: Moment::now() })
    }

    fn add(&self, record: VolumeRecord) -> Result<VolumeRecord> {
        let partial = self.folder.join(fresh_name(PARTIAL)?);
        let target = self.folder.join(&record.name);
        let named = || format!("volume {}", record.name);
        std::fs::create_dir(&partial).context(named)?;
        let text = serde_json::to_vec(&record).map_err(|error| Error::invalid(error.to_string()))?;
        std::fs::create_dir(partial.join(DATA)).context(named)?;
        write_without_sync(&partial.join(RECORD), &text)?;
        match renameat_with(CWD, &partial, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(record),
            // Another command was faster.
            Err(Errno::EXIST) => {
                removal::delete(&partial, None)?;
                self.find(&record.name)?.ok_or_else(|| Error::not_found(format!("{}: it has gone", named())))
            }
            Err(errno) => Err(errno).context(named),
        }
    }

    /// What is known of one.
    ///
    /// # Errors
    /// Its record is broken.
    pub fn find(&self, name: &str) -> Result<Option<VolumeRecord>> {
        let path = self.folder.join(name).join(RECORD);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| Error::corrupt(format!("{}: {error}", path.display()))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error).context(|| path.display().to_string()),
        }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// A record is broken.
    pub fn list(&self) -> Result<Vec<VolumeRecord>> {
        let mut names = names_in(&self.folder)?;
        names.sort();
        let mut records = Vec::new();
        for name in names {
            records.extend(self.find(&name)?);
        }
        Ok(records)
    }

    /// Keeps a volume from being removed, and others from filling it.
    ///
    /// # Errors
    /// It is not there.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        Lock::at(&self.folder.join(name), Sharing::Exclusive, &format!("the volume {name}"))
    }

    /// Fills one that is empty: `fill` gets a folder, which becomes the volume's when it is complete.
    ///
    /// # Errors
    /// It could not be filled; it is empty then.
    pub fn fill(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let _lock = self.lock(name)?;
        let data = self.path(name);
        let named = || format!("volume {name}");
        let is_empty = std::fs::read_dir(&data).context(named)?.next().is_none();
        if !is_empty {
            return Ok(());
        }
        let partial = data.with_file_name(fresh_name(PARTIAL)?);
        std::fs::create_dir(&partial).context(named)?;
        let filled = fill(&partial).and_then(|()| std::fs::rename(&partial, &data).context(named));
        filled.or_else(|error| {
            removal::delete(&partial, self.maps.as_ref())?;
            Err(error)
        })
    }

    /// Removes one with everything in it.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn remove(&self, name: &str) -> Result<()> {
        let missing = || Error::not_found(format!("volume {name}: there is none"));
        if self.find(name)?.is_none() {
            return Err(missing());
        }
        let _lock = self.lock(name).map_err(|error| match error.kind() {
            Kind::NotFound => missing(),
            _ => error,
        })?;
        removal::remove(&self.folder.join(name), self.maps.as_ref())
    }

    /// Deletes what killed commands have left.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn sweep(&self) -> Result<()> {
        removal::sweep(&self.folder, self.maps.as_ref(), |path| removal::is_old(path).then_some(()))
    }
}
