//! What boxd knows of containers: a record is read again when its folder has changed. Nothing here is state: it can be forgotten at any
//! moment, and is never written.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::container::{ContainerRecord, Progress};
use crate::store::{ContainerFolder, Store};

/// How old a change must be before what is read after it counts as all there is: kernels before 6.13 stamp changes by their clock's
/// ticks, of which one may hold several.
const SETTLED: Duration = Duration::from_millis(50);

/// Which state of a folder was read: files in it are replaced, never changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    changed: SystemTime,
}

impl Stamp {
    /// Of a folder that nobody has made yet.
    const NOWHERE: Stamp = Stamp { inode: 0, changed: SystemTime::UNIX_EPOCH };

    fn of(folder: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(folder).ok()?;
        Some(Stamp { inode: metadata.ino(), changed: metadata.modified().ok()? })
    }

    fn is_settled(self) -> bool {
        self.changed.elapsed().is_ok_and(|age| age >= SETTLED)
    }
}

/// A container, as far as its folder tells.
#[derive(Debug, Clone)]
pub struct Known {
    /// What was asked for.
    pub record: Arc<ContainerRecord>,
    /// How far it has come.
    pub progress: Progress,
    /// How it is listed while it does not run, but for the sentence about its state; written when it is listed.
    pub text: Option<Arc<str>>,
    stamp: Stamp,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct KnownContainers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    containers: BTreeMap<String, Known>,
    /// Texts have what networks are called and numbered.
    networks: Option<Stamp>,
}

impl KnownContainers {
    /// All containers. One that is gone meanwhile, or was never complete, is none.
    ///
    /// # Errors
    /// The folder of all of them cannot be read.
    pub fn read(&self, store: &Store) -> crate::Result<Vec<(ContainerFolder, Known)>> {
        let folders = store.containers().list()?;
        let networks = Stamp::of(store.networks().folder()).unwrap_or(Stamp::NOWHERE);
        let networks = Some(networks).filter(|stamp| stamp.is_settled());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let are_texts_right = networks.is_some() && kept.networks == networks;
        kept.networks = networks;
        let mut before = std::mem::take(&mut kept.containers);
        let mut found = Vec::with_capacity(folders.len());
        for folder in folders {
            let before = before.remove(folder.id.as_str());
            let Some(mut known) = look(&folder, before) else { continue };
            if !are_texts_right {
                known.text = None;
            }
            if known.stamp.is_settled() {
                kept.containers.insert(folder.id.to_string(), known.clone());
            }
            found.push((folder, known));
        }
        Ok(found)
    }

    /// Keeps how a container is listed.
    pub fn keep_text(&self, id: &str, known: &Known, text: Arc<str>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let has_networks = kept.networks.is_some();
        if let Some(kept) =
            kept.containers.get_mut(id).filter(|kept| has_networks && kept.stamp == known.stamp)
        {
            kept.text = Some(text);
        }
    }
}

fn look(folder: &ContainerFolder, before: Option<Known>) -> Option<Known> {
    // Before it is read: what changes meanwhile is read again the next time.
    let stamp = Stamp::of(folder.path())?;
    if let Some(before) = before.filter(|before| before.stamp == stamp) {
        return Some(before);
    }
    let progress = Progress::read(folder).ok()?;
    let record = ContainerRecord::read(folder).ok()??;
    Some(Known { record: Arc::new(record), progress, text: None, stamp })
}
