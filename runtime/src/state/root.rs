//! The folder of all containers (`--root`): reserves ids and finds existing containers.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{StateDirectory, missing};
use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;
use crate::sys::user_namespace;
use crate::text::order;

/// How folders are opened here.
pub(super) const FOLDER: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// The folder that has a folder for each container (`--root`).
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// The folder at `path`; it is made with its first container.
    pub fn at(path: impl Into<PathBuf>) -> Root {
        Root { path: path.into() }
    }

    /// The usual folder of the calling user: `/run/pillbox` for root and `RUNTIME_DIR/pillbox` for others, or
    /// `/tmp/pillbox-UID` where they have no runtime folder. Root of a user namespace that has one counts as
    /// one of the others: Podman calls the runtime like this for an ordinary user, who may not write to /run.
    ///
    /// ```
    /// use pillbox::Root;
    ///
    /// let root = Root::of_user(Some("/run/user/1000".into()));
    /// # drop(root);
    /// ```
    pub fn of_user(runtime_dir: Option<PathBuf>) -> Root {
        let folder = runtime_dir.map(PathBuf::into_os_string);
        Root { path: default_path(rustix::process::geteuid().as_raw(), folder, user_namespace::is_own) }
    }

    /// [`of_user`](Self::of_user) with the runtime folder that the environment names, `$XDG_RUNTIME_DIR`: what the command uses
    /// without `--root`.
    pub fn from_environment() -> Root {
        let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
        Root::of_user(folder.map(PathBuf::from))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder of a new container, locked; of several callers exactly one succeeds.
    ///
    /// # Errors
    /// The id is taken; the root folder belongs to another user.
    pub fn reserve(&self, id: &ContainerId) -> Result<StateDirectory> {
        let root = self.make()?;
        match rustix::fs::mkdirat(&root, id.as_str(), Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(Error::of(Kind::Exists, format!("container {id} exists already")));
            }
            Err(errno) => {
                return Err(errno).context(|| format!("make the state folder {}/{id}", self.path.display()));
            }
        }
        let directory = match self.open_folder(&root, id) {
            Ok(directory) => self.enter(root, directory, id),
            Err(error) => {
                // It is empty, and must not stay if it cannot be opened.
                let _ = rustix::fs::unlinkat(&root, id.as_str(), AtFlags::REMOVEDIR);
                return Err(error);
            }
        };
        // Another command may have locked the new folder first; it finds it empty and then unlocks or removes
        // it.
        match directory.lock_patiently() {
            Ok(()) => Ok(directory),
            Err(error) => {
                let _ = rustix::fs::unlinkat(&directory.root, id.as_str(), AtFlags::REMOVEDIR);
                Err(error)
            }
        }
    }

    /// Opens the folder, and makes it if there is none.
    fn make(&self) -> Result<OwnedFd> {
        match self.open() {
            Err(error) if error.kind() == Kind::NotFound => {
                let mut builder = std::fs::DirBuilder::new();
                std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o711);
                let step = || format!("make the state folder {}", self.path.display());
                builder.create(&self.path).context(step)?;
                self.open()
            }
            root => root,
        }
    }

    /// The folder of an existing container.
    ///
    /// # Errors
    /// `container does not exist`.
    pub fn find(&self, id: &ContainerId) -> Result<StateDirectory> {
        let root = match self.open() {
            Err(error) if error.kind() == Kind::NotFound => return Err(missing(id)),
            root => root?,
        };
        let directory = self.open_folder(&root, id)?;
        Ok(self.enter(root, directory, id))
    }

    fn enter(&self, root: OwnedFd, directory: OwnedFd, id: &ContainerId) -> StateDirectory {
        StateDirectory { root, directory, id: id.clone(), path: self.path.join(id.as_str()) }
    }

    fn open_folder(&self, root: &OwnedFd, id: &ContainerId) -> Result<OwnedFd> {
        match rustix::fs::openat(root, id.as_str(), FOLDER, Mode::empty()) {
            Ok(directory) => Ok(directory),
            Err(Errno::NOENT) => Err(missing(id)),
            Err(errno) => {
                Err(errno).context(|| format!("open the state folder {}/{id}", self.path.display()))
            }
        }
    }

    /// Opens the folder if it is the user's own: anyone who can write here decides which processes get
    /// killed.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it does not exist. With any other error it may exist.
    pub(super) fn open(&self) -> Result<OwnedFd> {
        let step = || format!("state folder {}", self.path.display());
        let root = match rustix::fs::openat(CWD, &self.path, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) => return Err(Error::of(Kind::NotFound, format!("{}: there is none", step()))),
            root => root.context(step)?,
        };
        let status = rustix::fs::fstat(&root).context(step)?;
        if status.st_uid != rustix::process::geteuid().as_raw() && status.st_uid != 0 {
            return Err(Error::formatted(format_args!(
                "{}: belongs to user {}: choose another with --root",
                step(),
                status.st_uid
            ))
            .or_kind(Kind::NotPermitted));
        }
        if status.st_mode & 0o022 != 0 {
            return Err(Error::formatted(format_args!(
                "{}: others may write to it: chmod go-w, or choose another with --root",
                step()
            ))
            .or_kind(Kind::NotPermitted));
        }
        Ok(root)
    }

    /// Keeps all commands from connecting and disconnecting containers by plugins until it is dropped; waits
    /// for those that do.
    ///
    /// # Errors
    /// The folder belongs to another user, or cannot be made.
    pub fn keep_attachments(&self) -> Result<OwnedFd> {
        lock(self.make()?, FlockOperation::LockExclusive, &self.path)
    }

    /// The ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let root = match self.open() {
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            root => root?,
        };
        let step = || format!("list {}", self.path.display());
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&root).context(step)? {
            let entry = entry.context(step)?;
            // Skips the seed's pin and other files. Some file systems do not report the type of an entry.
            if let FileType::Directory | FileType::Unknown = entry.file_type()
                && let Ok(id) = ContainerId::new(entry.file_name().to_string_lossy())
            {
                ids.push(id);
            }
        }
        order::sort(&mut ids, |left, right| left.as_str() < right.as_str());
        Ok(ids)
    }
}

impl StateDirectory {
    /// Keeps [`Root::keep_attachments`] waiting until it is dropped, and waits for it.
    pub fn share_attachments(&self) -> Result<OwnedFd> {
        // Opened anew: a lock belongs to what was opened.
        let step = || format!("open the folder of {}", self.path.display());
        let root = rustix::fs::openat(&self.root, ".", FOLDER, Mode::empty()).context(step)?;
        lock(root, FlockOperation::LockShared, &self.path)
    }
}

fn lock(folder: OwnedFd, operation: FlockOperation, path: &Path) -> Result<OwnedFd> {
    let locked = rustix::io::retry_on_intr(|| rustix::fs::flock(&folder, operation));
    locked.context(|| format!("lock the folder of {}", path.display()))?;
    Ok(folder)
}

/// Root's containers must not depend on how the caller became root: a login has the variable, a service has
/// not. (runc does the same; crun always follows the variable.)
fn default_path(uid: u32, runtime_dir: Option<OsString>, in_user_namespace: fn() -> bool) -> PathBuf {
    match runtime_dir {
        Some(folder) if uid != 0 || in_user_namespace() => PathBuf::from(folder).join("pillbox"),
        _ if uid == 0 => PathBuf::from("/run/pillbox"),
        _ => PathBuf::from(format!("/tmp/pillbox-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn where_containers_are_by_default() {
        let runtime_dir = || Some(OsString::from("/run/user/7"));
        let unasked: fn() -> bool = || panic!("nobody need know");
        let path = |uid, folder, asked| default_path(uid, folder, asked).display().to_string();
        assert_eq!(path(0, None, unasked), "/run/pillbox");
        assert_eq!(path(0, runtime_dir(), || false), "/run/pillbox");
        assert_eq!(path(0, runtime_dir(), || true), "/run/user/7/pillbox");
        assert_eq!(path(7, runtime_dir(), unasked), "/run/user/7/pillbox");
        assert_eq!(path(7, None, unasked), "/tmp/pillbox-7");
    }

    #[test]
    fn several_may_make_the_root_at_once() {
        let folder = std::env::temp_dir().join(format!("pillbox-root-{}", std::process::id()));
        for round in 0..200 {
            let root = Root::at(folder.join(round.to_string()));
            let barrier = Barrier::new(4);
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (root, barrier) = (&root, &barrier);
                    scope.spawn(move || {
                        let id = ContainerId::new(format!("c{thread}")).expect("id");
                        barrier.wait();
                        let missing = root.find(&id).map(drop).expect_err("nothing is there");
                        assert_eq!(missing.kind(), Kind::NotFound, "{missing}");
                        root.reserve(&id).expect("reserved").remove().expect("removed");
                    });
                }
            });
        }
        std::fs::remove_dir_all(folder).expect("rm");
    }
}
