//! Containers on disk: a folder for each, by its id, and names that lead to ids.

use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::lock::{Lock, Sharing};
use super::{REMEDY, may_be_name, names_in, random_id, read_whole, removal};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::file;
use crate::ids::IdMaps;

/// The file of a container's record, in its folder.
pub const RECORD: &str = "container.json";

/// The file that is locked while a container's networks are made or changed, in its folder.
const NETWORKS: &str = "networks";

/// 64 hex digits, at random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// A new one.
    ///
    /// # Errors
    /// The kernel has no random bytes.
    pub fn random() -> Result<ContainerId> {
        random_id().map(ContainerId)
    }

    fn parse(text: &str) -> Option<ContainerId> {
        Digest::of_hex(text).map(|_| ContainerId(text.to_string()))
    }

    /// What a name's link says. It is shorter than the digits, because ext4 has 59 bytes for that in the link itself: a longer one takes a
    /// block of the disk, and on one that is told of each free block (mount option discard) a removal waits for it.
    fn link(&self) -> String {
        Digest::of_hex(&self.0).map_or_else(|| self.0.clone(), |id| URL_SAFE_NO_PAD.encode(id.as_bytes()))
    }

    /// Names that were given before have all digits.
    fn of_link(link: &OsStr) -> Option<ContainerId> {
        let link = link.to_str()?;
        ContainerId::parse(link).or_else(|| {
            let bytes = URL_SAFE_NO_PAD.decode(link).ok()?;
            Some(ContainerId(Digest::of_hash(bytes.try_into().ok()?).hex()))
        })
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as they are shown.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The folders of containers and names.
#[derive(Debug, Clone)]
pub struct Containers {
    folder: PathBuf,
    names: PathBuf,
    maps: Option<IdMaps>,
}

/// The folder of one container.
#[derive(Debug, Clone)]
pub struct ContainerFolder {
    /// Its id.
    pub id: ContainerId,
    path: PathBuf,
}

impl Containers {
    pub(super) fn at(folder: PathBuf, names: PathBuf, maps: Option<IdMaps>) -> Containers {
        Containers { folder, names, maps }
    }

    /// Where all of them are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder of a new container, locked: as long as the lock is held, nobody takes it for abandoned.
    ///
    /// # Errors
    /// The disk did not take it; [`Kind::Conflict`] if the name is taken.
    pub fn make(&self, id: &ContainerId, name: &str) -> Result<(ContainerFolder, Lock)> {
        let path = self.folder.join(id.as_str());
        let lock = loop {
            std::fs::DirBuilder::new()
                .mode(0o755)
                .create(&path)
                .context(|| format!("make the folder {}", path.display()))?;
            match Lock::at(&path, Sharing::Exclusive, &format!("container {id}")) {
                // A sweeper took the folder for abandoned before it was locked.
                Err(error) if error.kind() == Kind::NotFound => {}
                locked => break locked?,
            }
        };
        if let Err(error) = self.claim(name, id) {
            removal::remove(&path, self.maps.as_ref())?;
            return Err(error);
        }
        Ok((ContainerFolder { id: id.clone(), path }, lock))
    }

    /// Gives a name to a container.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if another one has it.
    pub fn claim(&self, name: &str, id: &ContainerId) -> Result<()> {
        let link = self.names.join(name);
        loop {
            match std::os::unix::fs::symlink(id.link(), &link) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => match self.named(name)? {
                    Some(owner) => {
                        return Err(Error::conflict(format!(
                            "--name {name}: container {} has this name: remove it (box rm {name}) or choose another",
                            owner.id.short()
                        )));
                    }
                    None => remove_link(&link)?,
                },
                Err(error) => return Err(error).context(|| format!("--name {name}")),
            }
        }
    }

    /// Takes a name away from a container, unless it is another's by now.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn disclaim(&self, name: &str, id: &ContainerId) -> Result<()> {
        let link = self.names.join(name);
        match std::fs::read_link(&link) {
            Ok(owner) if ContainerId::of_link(owner.as_os_str()).as_ref() == Some(id) => remove_link(&link),
            _ => Ok(()),
        }
    }

    /// Takes all names away from a container whose own record does not tell them.
    ///
    /// # Errors
    /// They cannot be looked at, or removed.
    pub fn disclaim_all(&self, id: &ContainerId) -> Result<()> {
        names_in(&self.names)?.iter().try_for_each(|name| self.disclaim(name, id))
    }

    /// Takes all names but one away from a container.
    ///
    /// # Errors
    /// They cannot be looked at, or removed.
    pub fn disclaim_others(&self, name: &str, id: &ContainerId) -> Result<()> {
        let names = names_in(&self.names)?;
        names.iter().filter(|known| *known != name).try_for_each(|known| self.disclaim(known, id))
    }

    fn named(&self, name: &str) -> Result<Option<ContainerFolder>> {
        if !may_be_name(name) {
            return Ok(None);
        }
        match std::fs::read_link(self.names.join(name)) {
            Ok(link) => Ok(ContainerId::of_link(link.as_os_str()).and_then(|id| self.folder_of(&id))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let path = self.names.join(name);
                Err(Error::corrupt(format!("{}: must be a link: {REMEDY}", path.display())))
            }
            Err(error) => Err(error).context(|| format!("container {name}")),
        }
    }

    fn folder_of(&self, id: &ContainerId) -> Option<ContainerFolder> {
        let path = self.folder.join(id.as_str());
        path.exists().then(|| ContainerFolder { id: id.clone(), path })
    }

    /// The container with that name or id, or whose id alone begins like this.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Invalid`] if several ids begin like this.
    pub fn find(&self, reference: &str) -> Result<ContainerFolder> {
        if let Some(found) = self.named(reference)? {
            return Ok(found);
        }
        let missing = || Error::not_found(format!("No such container: {reference}"));
        // A whole id is no beginning of another one, and nobody's name.
        if let Some(id) = ContainerId::parse(reference) {
            return self.folder_of(&id).ok_or_else(missing);
        }
        let mut found = None;
        let all = if reference.is_empty() { Vec::new() } else { self.list()? };
        for folder in all.iter().filter(|folder| folder.id.0.starts_with(reference)) {
            if found.replace(folder).is_some() {
                return Err(Error::invalid(format!("container {reference}: several ids begin like this")));
            }
        }
        // A removal that was killed, or the power, may have taken the name before the container.
        let found =
            found.or_else(|| all.iter().find(|folder| folder.recorded_name().as_deref() == Some(reference)));
        found.cloned().ok_or_else(missing)
    }

    /// All containers.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<ContainerFolder>> {
        let names = names_in(&self.folder)?;
        let ids = names.iter().filter_map(|name| ContainerId::parse(name));
        Ok(ids.map(|id| ContainerFolder { path: self.folder.join(id.as_str()), id }).collect())
    }

    /// Removes a container with everything in it; what is left is to be deleted, which may take long. The caller holds its lock.
    ///
    /// # Errors
    /// It is still there.
    pub fn set_aside(&self, folder: &ContainerFolder) -> Result<Leftover> {
        Ok(Leftover { path: removal::set_aside(&folder.path)?, maps: self.maps.clone() })
    }

    /// Deletes what killed commands have left.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn sweep(&self) -> Result<()> {
        removal::sweep(&self.folder, self.maps.as_ref(), |_| Some(()))
    }
}

/// What is left of a container that is gone for all commands. If nobody deletes it, the next command does.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
    maps: Option<IdMaps>,
}

impl Leftover {
    /// Whether there is a file of that name in it.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Deletes it.
    ///
    /// # Errors
    /// Something of it cannot be deleted; the next command goes on.
    pub fn delete(self) -> Result<()> {
        removal::delete(&self.path, self.maps.as_ref())
    }
}

impl ContainerFolder {
    /// How its record calls it; `None` if that is not there, or broken.
    fn recorded_name(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let named =
            read_whole(&self.path.join(RECORD), |text| serde_json::from_slice::<Named>(text)).ok()??;
        named.ok().map(|named| named.name)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the files are by which it finds names: /etc/hosts and the like.
    pub fn names(&self) -> PathBuf {
        self.path.join("names")
    }

    /// Locks it if nobody else does.
    ///
    /// # Errors
    /// It is gone.
    pub fn try_lock(&self, sharing: Sharing) -> Result<Option<Lock>> {
        Lock::try_at(&self.path, sharing).map_err(|error| self.gone(error))
    }

    /// Locks it as soon as nobody else does.
    ///
    /// # Errors
    /// It is gone.
    pub fn lock(&self, sharing: Sharing) -> Result<Lock> {
        let locked = Lock::at(&self.path, sharing, &format!("container {}", self.id.short()));
        locked.map_err(|error| self.gone(error))
    }

    /// The same, and `look` is called again and again until then.
    ///
    /// # Errors
    /// It is gone; those of `look`.
    pub fn lock_looking(&self, sharing: Sharing, look: impl FnMut() -> Result<()>) -> Result<Lock> {
        let what = format!("container {}", self.id.short());
        Lock::at_looking(&self.path, sharing, &what, look).map_err(|error| self.gone(error))
    }

    /// Locks which networks it is on: that changes either before its start reads it, or when they have been made.
    ///
    /// # Errors
    /// It is gone.
    pub fn lock_networks(&self) -> Result<Lock> {
        let path = self.path.join(NETWORKS);
        file::make(&path).context(|| path.display().to_string()).map_err(|error| self.gone(error))?;
        let locked = Lock::at(&path, Sharing::Exclusive, &format!("container {}", self.id.short()));
        locked.map_err(|error| self.gone(error))
    }

    /// Why something of it could not be locked or written: without the folder it is the container that is missing.
    pub fn gone(&self, error: Error) -> Error {
        match error.kind() {
            Kind::NotFound => Error::not_found(format!("No such container: {}", self.id.short())),
            _ => error,
        }
    }
}

fn remove_link(link: &Path) -> Result<()> {
    match std::fs::remove_file(link) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.context(|| format!("remove {}", link.display())),
    }
}
