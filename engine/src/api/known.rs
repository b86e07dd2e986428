//! What boxd knows of containers: a record is read again when its folder has changed. Nothing here is state: it can be forgotten at any
//! moment, and is never written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::container::{ContainerRecord, Progress};
use crate::order::Collect;
use crate::registries::Registries;
use crate::store::{ContainerFolder, ContainerId, Stamp, Stamps, Store, stamping_time};
use crate::thread::by_shares;

/// A container, as far as its folder tells.
#[derive(Debug)]
pub struct Known {
    /// Where it is kept.
    pub folder: ContainerFolder,
    /// What was asked for.
    pub record: ContainerRecord,
    /// How far it has come.
    pub progress: Progress,
    stamp: Stamp,
    text: Mutex<Option<Text>>,
}

/// How a container is listed while it does not run, but for the sentence about its state. It has what networks are called and numbered,
/// and what images are called.
#[derive(Debug)]
struct Text {
    names: Names,
    bytes: Arc<[u8]>,
}

/// The states of the folders of networks and of images, and of each file that says what names of images mean.
type Names = Arc<[Stamp]>;

/// All that is known.
#[derive(Debug, Default)]
pub struct KnownContainers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    containers: BTreeMap<ContainerId, Arc<Known>>,
    folders: Option<(Stamp, Arc<[ContainerFolder]>)>,
    name_files: NameFiles,
}

/// The files that say what names of images mean.
#[derive(Debug, Default)]
struct NameFiles {
    places: Vec<PathBuf>,
    /// The files, and the states of the places in which they were found.
    found: Option<(Vec<Stamp>, Vec<PathBuf>)>,
}

/// A folder, its state, and what is known of that.
type Look<'f> = (&'f ContainerFolder, Stamp, Option<Arc<Known>>);

/// All containers at one moment.
pub struct Reading {
    /// One that is gone meanwhile, or was never complete, is none.
    pub containers: Vec<Arc<Known>>,
    /// Of networks, images and the meaning of their names, if nothing happens to them.
    names: Option<Names>,
}

impl KnownContainers {
    /// Reads what has changed.
    ///
    /// # Errors
    /// The folder of all of them cannot be read.
    pub fn read(&self, store: &Store) -> crate::Result<Reading> {
        let now = stamping_time();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let names = kept.names(store, now);
        let stamps = Stamps::within(store.containers().folder())?;
        let folders = kept.folders(store, &stamps, now)?;
        let looks: Vec<_> = folders.iter().filter_map(|folder| kept.look(&stamps, folder)).collect();
        let changed: Vec<_> = looks.iter().filter(|(.., known)| known.is_none()).collect();
        let mut read = by_shares(&changed, |(folder, stamp, _)| read(folder, *stamp)).into_iter();
        let known = |known: &Option<Arc<Known>>| known.clone().or_else(|| read.next().flatten());
        let containers: Vec<_> = looks.iter().map(|(.., found)| found).filter_map(known).collect();
        if !changed.is_empty() || containers.len() != kept.containers.len() {
            let settled = containers.iter().filter(|known| known.stamp.is_settled(now));
            kept.containers = settled.map(|known| (known.folder.id.clone(), known.clone())).collect_map();
        }
        Ok(Reading { containers, names })
    }
}

impl Kept {
    /// The states of all by which things have names.
    fn names(&mut self, store: &Store, now: Duration) -> Option<Names> {
        let (networks, images) = (store.networks(), store.images());
        let mut names = stamps_of([networks.folder(), images.folder()].into_iter());
        names.extend(self.name_files.stamps(now)?);
        names.iter().all(|stamp| stamp.is_settled(now)).then(|| names.into())
    }

    /// Where containers are: as it was, if none has come or gone.
    fn folders(
        &mut self,
        store: &Store,
        stamps: &Stamps,
        now: Duration,
    ) -> crate::Result<Arc<[ContainerFolder]>> {
        // Before it is read, as below.
        let stamp = stamps.own();
        if let Some((before, folders)) = &self.folders
            && Some(*before) == stamp
        {
            return Ok(folders.clone());
        }
        let folders: Arc<[ContainerFolder]> = store.containers().list()?.into();
        let settled = stamp.filter(|stamp| stamp.is_settled(now));
        self.folders = settled.map(|stamp| (stamp, folders.clone()));
        Ok(folders)
    }

    /// A container's folder at this moment, and what is known of it if that is still so; `None` if it is gone.
    fn look<'f>(&self, stamps: &Stamps, folder: &'f ContainerFolder) -> Option<Look<'f>> {
        // Before it is read: what changes meanwhile is read again the next time.
        let stamp = stamps.of(folder.id.as_str())?;
        let known = self.containers.get(&folder.id).filter(|known| known.stamp == stamp);
        Some((folder, stamp, known.cloned()))
    }
}

impl NameFiles {
    /// The states of all of them; `None` if nobody can tell, or they have just changed: then nothing is kept.
    fn stamps(&mut self, now: Duration) -> Option<Vec<Stamp>> {
        if self.places.is_empty() {
            self.places = Registries::places_of_caller();
        }
        let mut stamps = stamps_of(self.places.iter().map(PathBuf::as_path));
        if self.found.as_ref().is_none_or(|(before, _)| *before != stamps) {
            self.found = Some((stamps.clone(), Registries::files_of_caller().ok()?));
        }
        stamps.extend(stamps_of(self.found.iter().flat_map(|(_, files)| files).map(PathBuf::as_path)));
        let is_settled = stamps.iter().all(|stamp| stamp.is_settled(now));
        if !is_settled {
            self.found = None;
        }
        is_settled.then_some(stamps)
    }
}

/// The states of files and folders, of which some may not be there.
fn stamps_of<'p>(paths: impl Iterator<Item = &'p Path>) -> Vec<Stamp> {
    paths.map(|path| Stamp::of(path).unwrap_or(Stamp::NOWHERE)).collect()
}

fn read(folder: &ContainerFolder, stamp: Stamp) -> Option<Arc<Known>> {
    let progress = Progress::read(folder).ok()?;
    let record = ContainerRecord::read(folder).ok()??;
    Some(Arc::new(Known { folder: folder.clone(), record, progress, stamp, text: Mutex::default() }))
}

impl Reading {
    /// How a container is listed, if that is still so.
    pub fn text(&self, known: &Known) -> Option<Arc<[u8]>> {
        let text = known.text();
        text.as_ref().filter(|text| Some(&text.names) == self.names.as_ref()).map(|text| text.bytes.clone())
    }

    /// Keeps how a container is listed.
    pub fn keep_text(&self, known: &Known, bytes: &[u8]) {
        *known.text() = self.names.clone().map(|names| Text { names, bytes: bytes.into() });
    }
}

impl Known {
    fn text(&self) -> MutexGuard<'_, Option<Text>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
