//! What box keeps on disk: blobs, layers, names of images, containers.
//!
//! No process owns it. Whatever must survive the power is written beside its place, synced and renamed; what is removed is renamed
//! to `.gone-*` first. So a command that is killed leaves a legal state, and the next one puts away the rest. Locks are flock(2) on
//! the thing itself: shared for use, exclusive for removal.

mod adding;
mod at_rest;
mod batch;
mod blob;
mod broken;
mod build;
mod check;
mod collect;
mod container;
mod event;
mod image;
mod layer;
mod lease;
mod lock;
mod mountpoints;
mod network;
mod place;
mod removal;
mod stamp;
mod summaries;
mod version;
mod volume;
mod volume_device;
mod watch;
mod whole;

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use adding::{AddedLayer, UnpackedLayer};
pub use at_rest::{AtRest, Rest};
pub use batch::{BlobBatch, CompleteBlob, NamelessBlob};
pub use blob::{Begun, Blobs, CheckedBlob, PartialBlob};
pub use broken::Broken;
pub use build::{BuildCache, CacheMount, StepRecord};
pub use check::{Fault, check};
pub use collect::{Collected, Removals};
pub use container::{ContainerFolder, ContainerId, Containers, Leftover, RECORD as CONTAINER_RECORD};
pub use event::{Event, EventKind, EventReader, Events};
pub use image::{FoundBy, Image, ImageRecord, Images, WITHOUT_MANIFEST};
pub use layer::{LayerRecord, Layers, NewLayer, Owners};
pub use lease::Lease;
pub use lock::{Lock, Sharing};
pub use mountpoints::MOUNTPOINTS;
pub use network::{NetworkDriver, NetworkRecord, NetworkRecords};
pub use place::{Environment, Place};
pub use stamp::{Stamp, Stamps, stamping_time};
pub use summaries::Summaries;
pub use volume::{HeldVolume, VolumeRecord, Volumes};
pub use volume_device::VolumeDevice;
pub use watch::FolderWatch;
pub use whole::{read_whole, write_whole, write_without_sync};

use crate::error::{Context, Error, Result};
use crate::folder;
use crate::ids::IdMaps;
use crate::stop::Stop;

/// Names of what is being made, and of what is being removed.
const PARTIAL: &str = ".partial-";
const GONE: &str = ".gone-";

/// The file that tells which containers are at rest, beside them.
const AT_REST: &str = ".at-rest";
/// The file of how those are listed.
const SUMMARIES: &str = ".summaries";

/// What helps.
pub const REMEDY: &str = "box system check --repair";

/// What a store has.
const FOLDERS: [&str; 12] = [
    "blobs/sha256",
    "layers",
    "images",
    "containers",
    "names",
    "networks",
    "volumes",
    "leases",
    "events",
    "build/steps",
    "build/instructions",
    "build/mounts",
];

/// The store of one user or of root.
#[derive(Debug, Clone)]
pub struct Store {
    place: Place,
    maps: Option<IdMaps>,
    stop: Stop,
}

impl Store {
    /// Opens the store of the calling user, with what the command line says instead of the usual places.
    ///
    /// # Errors
    /// As for [`Place::of_user`] and [`Store::open`].
    pub fn of_caller(data_root: Option<PathBuf>, exec_root: Option<PathBuf>) -> Result<Store> {
        let user = rustix::process::geteuid();
        Store::open(Place::of_user(user, &Environment::of_process(), data_root, exec_root)?)
    }

    /// Opens the store at `place`; makes it if it is not there yet.
    ///
    /// # Errors
    /// A folder cannot be made; the store was written by a later version that this one cannot read.
    pub fn open(place: Place) -> Result<Store> {
        make_folder(&place.data, 0o700)?;
        refuse_others(&place.data)?;
        version::check(&place.data)?;
        // Where the last ones are, all are.
        if !mountpoints::are_there(&place.data) {
            // Layers have programs that are setuid: nobody else on this host may get at them, wherever the store lies.
            for name in FOLDERS {
                make_folder(&place.data.join(name), 0o700)?;
            }
            // Who starts a container needs it, and says why it is not there; what makes room on a full disk does not.
            let _ = mountpoints::make(&place.data);
        }
        Ok(Store { place, maps: IdMaps::of_caller(), stop: Stop::default() })
    }

    /// The same for work that `stop` ends.
    pub fn until(&self, stop: &Stop) -> Store {
        Store { stop: stop.clone(), ..self.clone() }
    }

    /// By which what is read and unpacked here is ended.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Where it lies.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The ids of its containers' users, if it is an ordinary user's.
    pub fn maps(&self) -> Option<&IdMaps> {
        self.maps.as_ref()
    }

    /// Manifests, configurations, compressed layers.
    pub fn blobs(&self) -> Blobs {
        Blobs::at(self.place.data.join("blobs/sha256"))
    }

    /// Unpacked layers.
    pub fn layers(&self) -> Layers {
        Layers::at(self.place.data.join("layers"), self.maps.clone())
    }

    /// The layer below all layers of images.
    pub fn mountpoints(&self) -> PathBuf {
        mountpoints::layer(&self.place.data)
    }

    /// Makes that layer if it is not there.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn make_mountpoints(&self) -> Result<()> {
        if mountpoints::are_there(&self.place.data) { Ok(()) } else { mountpoints::make(&self.place.data) }
    }

    /// Images by their names.
    pub fn images(&self) -> Images {
        Images::at(self.place.data.join("images"))
    }

    /// Containers by their ids and names.
    pub fn containers(&self) -> Containers {
        Containers::at(self.place.data.join("containers"), self.place.data.join("names"), self.maps.clone())
    }

    /// What happens.
    pub fn events(&self) -> Events {
        Events::at(self.place.data.join("events"))
    }

    /// Folders that outlive containers.
    pub fn volumes(&self) -> Volumes {
        Volumes::at(self.place.data.join("volumes"), self.maps.clone(), self.events())
    }

    /// What builds have made.
    pub fn build_cache(&self) -> BuildCache {
        BuildCache::at(self.place.data.join("build"), self.maps.clone())
    }

    /// Networks with names.
    pub fn networks(&self) -> NetworkRecords {
        NetworkRecords::at(self.place.data.join("networks"))
    }

    /// Deletes what killed commands have left of images and volumes; see [`crate::container::sweep`] for containers.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn sweep(&self) -> Result<()> {
        let swept = [
            self.images().sweep(),
            self.blobs().sweep(),
            self.layers().sweep(),
            self.build_cache().sweep(),
            self.volumes().sweep(),
        ];
        swept.into_iter().collect()
    }

    /// Syncs everything that has been written to the store's file system: once for an image, after its last layer.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn sync(&self) -> Result<()> {
        let folder =
            std::fs::File::open(&self.place.data).context(|| self.place.data.display().to_string())?;
        rustix::fs::syncfs(&folder).context(|| format!("sync {}", self.place.data.display()))
    }
}

/// Whoever may write here decides what containers run.
fn refuse_others(data: &Path) -> Result<()> {
    let status = std::fs::metadata(data).context(|| data.display().to_string())?;
    let is_own = status.uid() == rustix::process::geteuid().as_raw();
    match is_own && status.mode() & 0o002 == 0 {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "{}: it is another user's, or everybody may write to it: --data-root names another one",
            data.display()
        ))),
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .context(|| format!("make the folder {}", path.display()))
}

/// 64 hex digits at random: the id of a container, of a network, the name of a volume that is given none.
///
/// # Errors
/// The kernel has no random bytes.
pub fn random_id() -> Result<String> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context(|| "random bytes")?;
    Ok(crate::digest::Digest::of(&bytes).hex())
}

/// A name that nobody else has, behind a prefix.
fn fresh_name(prefix: &str) -> Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context(|| "random bytes")?;
    Ok(format!("{prefix}{:016x}", u64::from_ne_bytes(bytes)))
}

/// The most bytes of a name: with an ending it is a file's.
pub const NAME_MAX: usize = 250;

/// Whether somebody's word may be the name of something: what is no file's name is nobody's, and is nowhere else looked for.
fn may_be_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && !name.contains(['/', '\0']) && !name.starts_with('.')
}

/// What a folder of the store has, without what is half made, half removed or put aside; hidden names as well.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in folder::names(folder).context(|| format!("read {}", folder.display()))? {
        if let Ok(name) = name.into_string()
            && !name.starts_with(PARTIAL)
            && !name.starts_with(GONE)
            && !name.starts_with(broken::BROKEN)
            && ![AT_REST, SUMMARIES].contains(&&*name)
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// The path of a file beside `path` with another name.
fn beside(path: &Path, name: &str) -> PathBuf {
    path.with_file_name(name)
}
