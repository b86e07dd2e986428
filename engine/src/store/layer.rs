//! Unpacked layers by chain id: `layers/HEX/fs`, and what is known of it in `layers/HEX/layer.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::{Lock, Sharing};
use super::whole::sync_folder;
use super::{PARTIAL, fresh_name, names_in, read_whole, removal, write_without_sync};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::ids::{IdMaps, Range};
use crate::image::{ChainId, DiffId};

/// Whose the files of a layer are on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// As the tar says.
    Own,
    /// As the tar says, in a user namespace with this map.
    Mapped(String),
    /// All of one user: there was no range of ids to map.
    Squashed,
}

impl Owners {
    /// Those of layers that are unpacked with these ids.
    pub fn of(maps: Option<&IdMaps>) -> Owners {
        let one = |range: &Range| format!("{}:{}:{}", range.inside, range.outside, range.count);
        let all = |ranges: &[Range]| ranges.iter().map(one).collect::<Vec<_>>().join(",");
        match maps {
            None => Owners::Own,
            Some(maps) if maps.is_squashed() => Owners::Squashed,
            Some(maps) => Owners::Mapped(format!("{};{}", all(&maps.users), all(&maps.groups))),
        }
    }
}

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerRecord {
    /// Digest of its tar, uncompressed.
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size: u64,
    /// Whose they are.
    pub owners: Owners,
}

/// The folder of layers.
#[derive(Debug, Clone)]
pub struct Layers {
    folder: PathBuf,
    maps: Option<IdMaps>,
}

const FILES: &str = "fs";
const RECORD: &str = "layer.json";

impl Layers {
    pub(super) fn at(folder: PathBuf, maps: Option<IdMaps>) -> Layers {
        Layers { folder, maps }
    }

    fn folder_of(&self, id: &ChainId) -> PathBuf {
        self.folder.join(id.digest().hex())
    }

    /// The folder with the layer's files.
    pub fn path(&self, id: &ChainId) -> PathBuf {
        self.folder_of(id).join(FILES)
    }

    /// What is known of it.
    ///
    /// # Errors
    /// It is not there, or its record is broken.
    pub fn record(&self, id: &ChainId) -> Result<LayerRecord> {
        let path = self.folder_of(id).join(RECORD);
        let parsed =
            read_whole(&path, |text| serde_json::from_slice(text)).context(|| format!("layer {id}"))?;
        let missing = || Error::not_found(format!("layer {id}: {}: it is not there", path.display()));
        let parsed = parsed.ok_or_else(missing)?;
        parsed.map_err(|error| Error::corrupt(format!("{}: {error}", path.display())))
    }

    /// Whether its files belong to those whom they belong to in a container that is started now.
    ///
    /// # Errors
    /// They do not, or it is not there.
    pub fn check(&self, id: &ChainId) -> Result<()> {
        match self.record(id)?.owners == Owners::of(self.maps.as_ref()) {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "layer {id}: it was unpacked with other ids than yours are now (/etc/subuid, /etc/subgid)"
            ))),
        }
    }

    /// Keeps a layer from being removed, as long as the lock is held; `None` if it is not there, or of other ids.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn hold(&self, id: &ChainId) -> Result<Option<Lock>> {
        match Lock::at(&self.folder_of(id), Sharing::Shared, &format!("the layer {id}")) {
            Ok(lock) => Ok(self.check(id).is_ok().then_some(lock)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a layer: a folder beside the others, to be filled and then named.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn begin(&self) -> Result<NewLayer> {
        loop {
            let folder = self.folder.join(fresh_name(PARTIAL)?);
            std::fs::create_dir(&folder).context(|| format!("make the folder {}", folder.display()))?;
            // A sweeper may take the folder for abandoned before it is locked.
            match Lock::try_at(&folder, Sharing::Exclusive) {
                Ok(Some(lock)) => {
                    let files = folder.join(FILES);
                    std::fs::create_dir(&files).context(|| format!("make the folder {}", files.display()))?;
                    return Ok(NewLayer { layers: self.clone(), folder, lock: Some(lock), is_named: false });
                }
                Ok(None) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// All layers.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<ChainId>> {
        let digests = names_in(&self.folder)?;
        Ok(digests.iter().filter_map(|name| Digest::of_hex(name)).map(ChainId::from).collect())
    }

    /// Takes a layer for its removal; `None` if somebody uses it, or it is gone.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn take(&self, id: &ChainId) -> Result<Option<Lock>> {
        match Lock::try_at(&self.folder_of(id), Sharing::Exclusive) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            taken => taken,
        }
    }

    /// Takes its name away from a layer that the caller has taken; the result is to be deleted.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn unname(&self, id: &ChainId) -> Result<PathBuf> {
        removal::set_aside(&self.folder_of(id))
    }

    /// Removes a layer that cannot be used, for another one of its name.
    fn give_way(&self, id: &ChainId) -> Result<()> {
        let _lock = match Lock::try_at(&self.folder_of(id), Sharing::Exclusive) {
            Ok(Some(lock)) => lock,
            // By somebody else in this moment.
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            Ok(None) => {
                let why =
                    self.check(id).err().map_or_else(|| format!("layer {id}"), |error| error.to_string());
                return Err(Error::conflict(format!("{why}, and another command uses it")));
            }
            Err(error) => return Err(error),
        };
        match self.check(id) {
            Ok(()) => Ok(()),
            Err(_) => self.unname(id).and_then(|gone| self.delete(&gone)),
        }
    }

    /// Deletes what has lost its name.
    ///
    /// # Errors
    /// It cannot be deleted; the next command goes on.
    pub fn delete(&self, gone: &Path) -> Result<()> {
        removal::delete(gone, self.maps.as_ref())
    }

    /// Syncs the names of layers.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn sync_names(&self) -> Result<()> {
        sync_folder(&self.folder.join("."))
    }

    /// Deletes what killed commands have left.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn sweep(&self) -> Result<()> {
        removal::sweep(&self.folder, self.maps.as_ref(), |path| {
            Lock::try_at(path, Sharing::Exclusive).ok().flatten()
        })
    }
}

/// A layer that is being unpacked. Dropped without a name, it is deleted.
#[derive(Debug)]
pub struct NewLayer {
    layers: Layers,
    folder: PathBuf,
    lock: Option<Lock>,
    is_named: bool,
}

impl NewLayer {
    /// The folder to unpack into.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILES)
    }

    /// A path beside it, for what is needed while it is filled.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Takes a folder as its files, in the place of the empty one. It lies on the same file system.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn take(&self, files: &Path) -> Result<()> {
        std::fs::rename(files, self.path()).context(|| format!("rename {}", files.display()))
    }

    /// Deletes what was needed while it was filled.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn discard_beside(&self, name: &str) -> Result<()> {
        removal::delete(&self.beside(name), self.layers.maps.as_ref())
    }

    /// Writes down what is known of it.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn describe(&self, record: &LayerRecord) -> Result<()> {
        let text = serde_json::to_vec(record).map_err(|error| Error::invalid(format!("layer: {error}")))?;
        write_without_sync(&self.folder.join(RECORD), &text)
    }

    /// Gives it its name. The caller has synced it: a layer that has a name is whole, whatever happens to the power. If somebody
    /// else was faster, theirs stays; one of other ids goes. The lock keeps the layer from being removed.
    ///
    /// # Errors
    /// It cannot be renamed; somebody uses one of other ids.
    pub fn name(mut self, id: &ChainId) -> Result<Lock> {
        let target = self.layers.folder_of(id);
        loop {
            match rename_to_new(&self.folder, &target) {
                Ok(()) => {
                    self.is_named = true;
                    let lock = self.lock.take().ok_or_else(|| Error::invalid("a layer without a lock"))?;
                    lock.share()?;
                    return Ok(lock);
                }
                Err(rustix::io::Errno::EXIST) => {
                    if let Some(lock) = self.layers.hold(id)? {
                        return Ok(lock);
                    }
                    self.layers.give_way(id)?;
                }
                Err(errno) => return Err(errno).context(|| format!("layer {id}: rename")),
            }
        }
    }
}

fn rename_to_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

impl Drop for NewLayer {
    fn drop(&mut self) {
        if !self.is_named {
            // What stays is swept by the next command.
            let _ = removal::delete(&self.folder, self.layers.maps.as_ref());
        }
    }
}
