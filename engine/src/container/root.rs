//! The root of a container: its layers and its own changes, as one overlay that is mounted nowhere on the host.

use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pillbox::root::Layers;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::account::Accounts;
use super::options::Options;
use super::record::{Base, ContainerRecord};
use crate::error::{Context, Error, Result};
use crate::inside::{self, Bind, OwnLayer, Place, copy_out_of};
use crate::layer::{AS_ROOT, open_beneath};
use crate::store::{ContainerFolder, MOUNTPOINTS, Store};

/// The folders of a container's root.
#[derive(Debug, Clone)]
pub struct RootFolders {
    /// The topmost one first.
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
}

/// The most bytes of a file of the image that is looked into.
const FILE_MAX: u64 = 16 << 20;

impl RootFolders {
    /// Makes what is missing of them.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn make(store: &Store, folder: &ContainerFolder, record: &ContainerRecord) -> Result<RootFolders> {
        if let Base::Image { layers, .. } = &record.base {
            layers.iter().try_for_each(|layer| store.layers().check(layer))?;
        }
        store.make_mountpoints()?;
        let root = RootFolders::planned(store, folder.path(), &record.base);
        if make_folder(&root.upper, 0o755)? {
            like(&root.lower[0], &root.upper).context(|| root.upper.display().to_string())?;
        }
        make_folder(&root.work, 0o700)?;
        Ok(root)
    }

    /// Those of a container in `folder`, whether they are there or not.
    pub fn planned(store: &Store, folder: &Path, base: &Base) -> RootFolders {
        let mut lower: Vec<PathBuf> = match base {
            Base::Image { layers, .. } => {
                layers.iter().rev().map(|layer| store.layers().path(layer)).collect()
            }
            Base::Folder(path) => vec![path.clone()],
        };
        lower.push(store.mountpoints());
        RootFolders { lower, upper: folder.join("upper"), work: folder.join("work") }
    }

    /// The overlay. Nothing of a container that is removed when it ends is ever synced.
    pub fn layers(&self, is_throwaway: bool) -> Layers {
        let layers = Layers::new(self.lower.iter().map(PathBuf::as_path)).upper(&*self.upper, &*self.work);
        if is_throwaway { layers.volatile() } else { layers }
    }

    /// Those of the image, the topmost one first.
    pub fn image(&self) -> &[PathBuf] {
        let [image @ .., _mountpoints] = &self.lower[..] else { return &[] };
        image
    }

    /// Its own changes.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// overlayfs's own, which nobody looks into.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Its own changes, with what lies below them and what was mounted on them.
    pub fn own_layer(&self, options: &Options) -> OwnLayer {
        let RootFolders { lower, upper, work: _ } = self.clone();
        let own = options.mounts.iter().map(|mount| mount.destination.as_str());
        let mounted = MOUNTPOINTS.into_iter().chain(own).map(str::to_string).collect();
        OwnLayer { upper, lower, mounted }
    }

    /// The same for another process, which makes it once more, with what else is mounted.
    pub fn place(&self, volatile: bool, binds: Vec<Bind>) -> Place {
        let RootFolders { lower, upper, work } = self.clone();
        Place::Overlay { lower, upper, work, volatile, binds }
    }

    /// The users and groups that a program in it sees.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn accounts(&self) -> Result<Accounts> {
        Ok(Accounts { passwd: self.read("etc/passwd")?, group: self.read("etc/group")? })
    }

    /// Copies what the image has in a folder of it into one of the host's. Where it has none there is nothing to copy.
    ///
    /// # Errors
    /// Something cannot be copied.
    pub fn copy_out(&self, store: &Store, path: &str, to: &Path) -> Result<()> {
        let named = || format!("copy {path} of the image");
        match store.maps() {
            Some(maps) if !maps.is_squashed() => inside::copy_out(maps, &self.lower, path, to).context(named),
            maps => copy_out_of(&self.lower, path, to, maps.is_none()).context(named),
        }
    }

    fn read(&self, path: &str) -> Result<String> {
        read_topmost([&self.upper].into_iter().chain(&self.lower), path)
    }
}

impl Accounts {
    /// Those of layers together, the topmost one first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of_layers(layers: &[PathBuf]) -> Result<Accounts> {
        let read = |path: &str| read_topmost(layers.iter(), path);
        Ok(Accounts { passwd: read("etc/passwd")?, group: read("etc/group")? })
    }
}

/// The text of a file in the topmost layer that has it; empty if none has.
fn read_topmost<'p>(layers: impl Iterator<Item = &'p PathBuf>, path: &str) -> Result<String> {
    for layer in layers {
        match read_beneath(layer, path) {
            Ok(Found::File(text)) => return Ok(text),
            Ok(Found::Whiteout) => break,
            Ok(Found::Nothing) => {}
            Err(error) => return Err(error.context(format!("{}/{path}", layer.display()))),
        }
    }
    Ok(String::new())
}

enum Found {
    File(String),
    /// It is hidden in the layers below.
    Whiteout,
    Nothing,
}

/// Links lead to what they would in the container.
fn read_beneath(layer: &Path, path: &str) -> Result<Found> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match rustix::fs::open(layer, flags, Mode::empty()) {
        // Of a container that is only planned.
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        root => root?,
    };
    let open = |flags: OFlags| open_beneath(&root, path.as_bytes(), flags, AS_ROOT);
    // A FIFO or a device that an image has there is not opened.
    let place = match open(OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Found::Nothing),
        place => place?,
    };
    let status = rustix::fs::fstat(&place)?;
    match rustix::fs::FileType::from_raw_mode(status.st_mode) {
        rustix::fs::FileType::RegularFile => {}
        rustix::fs::FileType::CharacterDevice if status.st_rdev == 0 => return Ok(Found::Whiteout),
        _ => return Err(Error::invalid("not a file")),
    }
    let mut text = Vec::new();
    std::fs::File::from(open(OFlags::RDONLY | OFlags::NONBLOCK)?)
        .take(FILE_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(Error::invalid(format!("more than {FILE_MAX} bytes")));
    }
    Ok(Found::File(String::from_utf8_lossy(&text).into_owned()))
}

/// False if it is there already.
fn make_folder(path: &Path, mode: u32) -> Result<bool> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).context(|| format!("make the folder {}", path.display())),
    }
}

/// The root of an overlay has owner and mode of the upper folder.
fn like(layer: &Path, upper: &Path) -> Result<()> {
    let status = std::fs::metadata(layer)?;
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (status.uid(), status.gid());
        rustix::fs::chown(upper, Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid)))?;
    }
    // Of whoever could not enter it himself nobody could.
    let mode = Mode::from_raw_mode(status.permissions().mode() & 0o7777 | 0o700);
    Ok(rustix::fs::chmodat(CWD, upper, mode, rustix::fs::AtFlags::empty())?)
}
