//! Volumes: folders that outlive containers, `volumes/NAME/_data`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::REMEDY;
use super::event::Events;
use super::lock::{Lock, Sharing};
use super::volume_device::VolumeDevice;
use super::whole::sync_folder;
use super::{PARTIAL, fresh_name, may_be_name, names_in, random_id, removal, write_whole};
use crate::error::{Context, Error, Kind, Result};
use crate::file;
use crate::ids::IdMaps;
use crate::inside;
use crate::order;
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
    /// What its data is on, if that is no folder of box's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// When it was made.
    pub created: Moment,
}

impl VolumeRecord {
    /// A new one with a name of somebody's.
    pub fn new(name: &str) -> VolumeRecord {
        VolumeRecord {
            name: name.to_string(),
            is_anonymous: false,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            created: Moment::now(),
        }
    }

    /// What its data is on; `None`: a folder of box's.
    ///
    /// # Errors
    /// Its options cannot be.
    pub fn device(&self) -> Result<Option<VolumeDevice>> {
        VolumeDevice::parse(&self.options).context(|| format!("volume {}", self.name))
    }
}

/// A volume that nobody removes as long as this is there.
#[derive(Debug)]
pub struct HeldVolume {
    /// Its name.
    pub name: String,
    _lock: Lock,
}

/// The folder of volumes.
#[derive(Debug, Clone)]
pub struct Volumes {
    folder: PathBuf,
    maps: Option<IdMaps>,
    /// Where it is told what is made and removed.
    events: Events,
}

const DATA: &str = "_data";
const RECORD: &str = "volume.json";

/// A folder with what the image has at a volume's place, copied as a whole and on its way into the volume. It may be of any owner, so
/// it lies in one of the caller's, which can be renamed.
const FILLED: &str = "filled";
const FILES: &str = "fs";

impl Volumes {
    pub(super) fn at(folder: PathBuf, maps: Option<IdMaps>, events: Events) -> Volumes {
        Volumes { folder, maps, events }
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
    /// The disk did not take it; its options cannot be.
    pub fn make(&self, record: VolumeRecord) -> Result<VolumeRecord> {
        if let Some(record) = self.find(&record.name)? {
            return Ok(record);
        }
        VolumeDevice::parse(&record.options)?;
        self.add(record)
    }

    /// What a volume's data is on; `None`: a folder of box's.
    ///
    /// # Errors
    /// Its record is broken.
    pub fn device(&self, name: &str) -> Result<Option<VolumeDevice>> {
        self.find(name)?.map_or(Ok(None), |record| record.device())
    }

    /// One that nobody gives a name; what else is known of it is given.
    ///
    /// # Errors
    /// Its options cannot be; the disk did not take it.
    pub fn make_anonymous(&self, wanted: VolumeRecord) -> Result<VolumeRecord> {
        VolumeDevice::parse(&wanted.options)?;
        self.add(VolumeRecord { is_anonymous: true, name: random_id()?, ..wanted })
    }

    /// The same, held.
    ///
    /// # Errors
    /// As for [`Volumes::make_anonymous`].
    pub fn hold_anonymous(&self, wanted: VolumeRecord) -> Result<HeldVolume> {
        loop {
            let name = self.make_anonymous(wanted.clone())?.name;
            match self.lock(&name, Sharing::Shared) {
                // It was pruned in between.
                Err(error) if error.kind() == Kind::NotFound => {}
                lock => return Ok(HeldVolume { name, _lock: lock? }),
            }
        }
    }

    fn add(&self, record: VolumeRecord) -> Result<VolumeRecord> {
        let partial = self.folder.join(fresh_name(PARTIAL)?);
        let target = self.folder.join(&record.name);
        let named = || format!("volume {}", record.name);
        let text = serde_json::to_vec(&record).map_err(|error| Error::invalid(error.to_string()))?;
        std::fs::create_dir(&partial).context(named)?;
        let made = std::fs::create_dir(partial.join(DATA)).context(named);
        if let Err(error) = made.and_then(|()| write_whole(&partial.join(RECORD), &text)) {
            // What cannot be removed either is swept later.
            let _ = removal::delete(&partial, None);
            return Err(error.context(named()));
        }
        match renameat_with(CWD, &partial, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => {
                sync_folder(&target)?;
                self.events.note_volume(&record.name, "create");
                Ok(record)
            }
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
        if !may_be_name(name) {
            return Ok(None);
        }
        let path = self.folder.join(name).join(RECORD);
        match file::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| Error::corrupt(format!("{}: {error}: {REMEDY}", path.display()))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error).context(|| path.display().to_string()),
        }
    }

    /// All of them, by name; see [`Store::broken_volumes`](super::Store::broken_volumes) for those whose records cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<VolumeRecord>> {
        let mut names = names_in(&self.folder)?;
        order::sort(&mut names);
        let mut records = Vec::new();
        for name in names {
            // A broken one keeps nobody from the others.
            records.extend(self.find(&name).ok().flatten());
        }
        Ok(records)
    }

    /// The same as [`Volumes::make`], and keeps it from being removed until a record says who has it.
    ///
    /// # Errors
    /// As for [`Volumes::make`].
    pub fn hold(&self, name: &str) -> Result<HeldVolume> {
        loop {
            self.make(VolumeRecord::new(name))?;
            match self.lock(name, Sharing::Shared) {
                // It was removed in between.
                Err(error) if error.kind() == Kind::NotFound => {}
                lock => return Ok(HeldVolume { name: name.to_string(), _lock: lock? }),
            }
        }
    }

    fn lock(&self, name: &str, sharing: Sharing) -> Result<Lock> {
        Lock::at(&self.folder.join(name), sharing, &format!("the volume {name}"))
    }

    /// Fills one that is empty: `fill` gets a folder, what is in which becomes the volume's when it is complete. The volume's own
    /// folder stays: others may have it mounted.
    ///
    /// # Errors
    /// It could not be filled; it is empty then, or the next container goes on.
    pub fn fill(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let _lock = self.lock(name, Sharing::Exclusive)?;
        let (data, named) = (self.path(name), || format!("volume {name}"));
        if self.finish_filling(name)? || std::fs::read_dir(&data).context(named)?.next().is_some() {
            return Ok(());
        }
        let partial = self.folder.join(fresh_name(PARTIAL)?);
        std::fs::create_dir(&partial).context(named)?;
        // Whoever sweeps leaves it alone, however long it takes.
        let lock = Lock::at(&partial, Sharing::Exclusive, "a volume that is filled").context(named)?;
        let files = partial.join(FILES);
        let made = std::fs::create_dir(&files).context(named);
        let filled = made
            .and_then(|()| fill(&files))
            .and_then(|()| std::fs::rename(&partial, self.folder.join(name).join(FILLED)).context(named));
        if let Err(error) = filled {
            removal::delete(&partial, self.maps.as_ref())?;
            return Err(error);
        }
        drop(lock);
        self.finish_filling(name).map(drop)
    }

    /// Goes on where somebody who filled a volume was killed. False if nobody was.
    ///
    /// # Errors
    /// Something cannot be moved into it.
    pub fn finish(&self, name: &str) -> Result<bool> {
        // Mostly there is nothing to wait for.
        if !self.folder.join(name).join(FILLED).exists() {
            return Ok(false);
        }
        let _lock = self.lock(name, Sharing::Exclusive)?;
        self.finish_filling(name)
    }

    fn finish_filling(&self, name: &str) -> Result<bool> {
        let (filled, data) = (self.folder.join(name).join(FILLED), self.path(name));
        let files = filled.join(FILES);
        if !files.exists() {
            return Ok(false);
        }
        let moved = match &self.maps {
            Some(maps) if !maps.is_squashed() => inside::move_files(maps, &files, &data),
            maps => inside::move_into(&files, &data, maps.is_none()),
        };
        moved.context(|| format!("fill the volume {name}"))?;
        removal::delete(&filled, self.maps.as_ref())?;
        Ok(true)
    }

    /// Removes one with everything in it, unless somebody has it: `is_used` is asked when nobody holds it any more, because whoever
    /// makes a container holds its volumes until its record names them.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] if somebody has it; `is_used` failed.
    pub fn remove(&self, name: &str, is_used: impl Fn() -> Result<bool>) -> Result<()> {
        let missing = || Error::not_found(format!("volume {name}: there is none"));
        let used = || Error::conflict(format!("volume {name}: a container has it: remove that first"));
        // Before the lock as well: whoever fills it holds it for long.
        if is_used()? {
            return Err(used());
        }
        let _lock = self.lock(name, Sharing::Exclusive).map_err(|error| match error.kind() {
            Kind::NotFound => missing(),
            _ => error,
        })?;
        if is_used()? {
            return Err(used());
        }
        removal::remove(&self.folder.join(name), self.maps.as_ref())?;
        self.events.note_volume(name, "destroy");
        Ok(())
    }

    /// Deletes what killed commands have left.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn sweep(&self) -> Result<()> {
        removal::sweep(&self.folder, self.maps.as_ref(), |path| {
            // One that is made in a moment is not locked, one that is filled is.
            let claim = || Lock::try_at(path, Sharing::Exclusive).ok().flatten();
            if removal::is_old(path) { claim() } else { None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_waits_for_whoever_is_about_to_use_it() {
        let folder = std::env::temp_dir().join(format!("box-volumes-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let events = Events::at(folder.join("events"));
        let volumes = Volumes::at(folder.clone(), None, events);
        let held = volumes.hold("data").unwrap();
        let is_recorded = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let removal = scope.spawn(|| {
                volumes.remove("data", || Ok(is_recorded.load(std::sync::atomic::Ordering::SeqCst)))
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!removal.is_finished());
            is_recorded.store(true, std::sync::atomic::Ordering::SeqCst);
            drop(held);
            let error = removal.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
        });
        volumes.remove("data", || Ok(false)).unwrap();
        assert_eq!(volumes.remove("data", || Ok(false)).unwrap_err().kind(), Kind::NotFound);
        std::fs::remove_dir(&folder).unwrap();
    }
    #[test]
    fn what_is_made_and_removed_is_told_once() {
        let folder = std::env::temp_dir().join(format!("box-volumes-told-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("volumes")).unwrap();
        std::fs::create_dir(folder.join("events")).unwrap();
        let volumes = Volumes::at(folder.join("volumes"), None, Events::at(folder.join("events")));
        volumes.make(VolumeRecord::new("data")).unwrap();
        volumes.make(VolumeRecord::new("data")).unwrap();
        drop(volumes.hold("data").unwrap());
        volumes.remove("data", || Ok(false)).unwrap();
        volumes.remove("data", || Ok(false)).unwrap_err();
        let files = std::fs::read_dir(folder.join("events")).unwrap();
        let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let told = |action: &str| text.matches(&format!("\"{action}\"")).count();
        assert_eq!((text.lines().count(), told("create"), told("destroy")), (2, 1, 1), "{text}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
