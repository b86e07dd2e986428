//! What builds have made: `build/steps/KEY` says which layer a step came to, `build/instructions/KEY` which step an instruction came to
//! last, `build/mounts/ID/fs` is a folder that RUN mounts as a cache.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::lock::{Lock, Sharing};
use super::{names_in, removal};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::file;
use crate::ids::IdMaps;
use crate::image::{ChainId, DiffId};
use crate::order;
use crate::time::Moment;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// As it is shown.
    pub text: String,
    /// The layer, together with those below it.
    pub layer: ChainId,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size: u64,
    /// When it was made.
    pub created: Moment,
    /// The files that it was made of, and the digest of each; none if there are too many.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub content: Vec<(String, Digest)>,
}

/// The folder of what builds have made.
#[derive(Debug, Clone)]
pub struct BuildCache {
    folder: PathBuf,
    maps: Option<IdMaps>,
}

/// A folder that RUN mounts as a cache. It is not removed as long as this value is there.
#[derive(Debug)]
pub struct CacheMount {
    /// The folder; not there if nobody has begun it yet.
    pub path: PathBuf,
    _lock: Lock,
}

/// The most steps that are remembered.
const STEPS_MAX: usize = 2000;

/// The most bytes of layers that they may have together.
const BYTES_MAX: u64 = 20 << 30;

const FILES: &str = "fs";

impl BuildCache {
    pub(super) fn at(folder: PathBuf, maps: Option<IdMaps>) -> BuildCache {
        BuildCache { folder, maps }
    }

    fn step(&self, key: &Digest) -> PathBuf {
        self.folder.join("steps").join(key.hex())
    }

    fn instruction(&self, key: &Digest) -> PathBuf {
        self.folder.join("instructions").join(key.hex())
    }

    /// What a step came to. It counts as used now.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn find(&self, key: &Digest) -> Result<Option<StepRecord>> {
        let found = read(&self.step(key))?;
        if found.is_some() {
            // Only the order in which records go depends on it.
            let _ = file::open(&self.step(key)).and_then(|file| file.set_modified(SystemTime::now()));
        }
        Ok(found)
    }

    /// What an instruction came to last, whatever it was made of.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn latest(&self, instruction: &Digest) -> Result<Option<StepRecord>> {
        match file::read_text(&self.instruction(instruction)) {
            Ok(text) => Digest::of_hex(text.trim()).map_or(Ok(None), |key| read(&self.step(&key))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| "build cache"),
        }
    }

    /// Remembers what a step came to. The caller has synced its layer.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn remember(&self, key: &Digest, instruction: &Digest, record: &StepRecord) -> Result<()> {
        let text =
            serde_json::to_vec(record).map_err(|error| Error::invalid(format!("build cache: {error}")))?;
        super::write_without_sync(&self.step(key), &text)?;
        super::write_without_sync(&self.instruction(instruction), key.hex().as_bytes())
    }

    /// All steps by their keys, those first that were used last.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn list(&self) -> Result<Vec<(Digest, StepRecord)>> {
        let mut found = Vec::new();
        for name in names_in(&self.folder.join("steps"))? {
            let Some(key) = Digest::of_hex(&name) else { continue };
            let used = std::fs::metadata(self.step(&key)).and_then(|status| status.modified());
            if let Some(record) = read(&self.step(&key))? {
                found.push((used.unwrap_or(SystemTime::UNIX_EPOCH), key, record));
            }
        }
        order::sort_by_key(&mut found, |(used, key, _)| (std::cmp::Reverse(*used), *key));
        Ok(found.into_iter().map(|(_, key, record)| (key, record)).collect())
    }

    /// Forgets a step; its layer stays until it is pruned.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn forget(&self, key: &Digest) -> Result<()> {
        remove(&self.step(key))
    }

    /// Forgets the steps that were used longest ago, as many as there are too many. The result is whether there were any.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn trim(&self) -> Result<bool> {
        let (mut bytes, mut is_trimmed) = (0, false);
        for (index, (key, record)) in self.list()?.iter().enumerate() {
            bytes += record.size;
            if index >= STEPS_MAX || bytes > BYTES_MAX {
                self.forget(key)?;
                is_trimmed = true;
            }
        }
        Ok(is_trimmed)
    }

    /// The folder of a cache that RUN mounts; `None` if it is to be had alone and somebody else has it.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn mount(&self, name: &str, sharing: Sharing, waits: bool) -> Result<Option<CacheMount>> {
        let folder = self.folder.join("mounts").join(Digest::of(name.as_bytes()).hex());
        loop {
            std::fs::create_dir_all(&folder).context(|| format!("make the folder {}", folder.display()))?;
            let locked = match waits {
                true => Lock::at(&folder, sharing, &format!("the cache {name}")).map(Some),
                false => Lock::try_at(&folder, sharing),
            };
            match locked {
                Ok(locked) => {
                    return Ok(locked.map(|lock| CacheMount { path: folder.join(FILES), _lock: lock }));
                }
                // It was just being removed.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The folders of all caches that RUN mounts.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn mounts(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join("mounts");
        Ok(names_in(&folder)?.iter().map(|name| folder.join(name)).collect())
    }

    /// Removes such a folder; false if somebody uses it.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn remove_mount(&self, folder: &Path) -> Result<bool> {
        match Lock::try_at(folder, Sharing::Exclusive) {
            Ok(Some(_lock)) => removal::remove(folder, self.maps.as_ref()).map(|()| true),
            Ok(None) => Ok(false),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Forgets instructions whose steps are forgotten.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn forget_instructions(&self) -> Result<()> {
        let folder = self.folder.join("instructions");
        for name in names_in(&folder)? {
            let Some(instruction) = Digest::of_hex(&name) else { continue };
            if self.latest(&instruction)?.is_none() {
                remove(&folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Deletes what killed commands have left.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn sweep(&self) -> Result<()> {
        for name in ["steps", "instructions", "mounts"] {
            let maps = self.maps.as_ref();
            removal::sweep(&self.folder.join(name), maps, |path| removal::is_old(path).then_some(()))?;
        }
        Ok(())
    }
}

/// A record that is torn or of another version counts as none.
fn read(path: &Path) -> Result<Option<StepRecord>> {
    match file::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| path.display().to_string()),
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.context(|| format!("remove {}", path.display())),
    }
}
