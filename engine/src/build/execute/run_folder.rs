//! Folders for what a RUN needs and nobody else may see.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use crate::build::syntax::Access;
use crate::error::{Context, Error, Result};
use crate::store::{Lock, Sharing, Store};

/// How their names begin, in the runtime folder.
const NAME: &str = ".build-";

/// A folder in the runtime folder, which is memory on most machines, for what a RUN needs and nobody else may see. It is deleted with this
/// value.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    lock: Lock,
}

impl RunFolder {
    /// Makes one.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn make(store: &Store) -> Result<RunFolder> {
        let runtime = &store.place().runtime;
        store.place().make_runtime()?;
        sweep(runtime)?;
        begin(runtime)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, as short as the address of a socket must be.
    pub(super) fn short_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.lock.as_fd().as_raw_fd()).into()
    }

    /// Gives what lies in it to whom a mount says; `what` is its name in errors.
    pub(super) fn give(&self, store: &Store, name: &str, access: Access, what: &str) -> Result<()> {
        let Access { uid, gid, mode } = access;
        let path = self.path.join(name);
        if (uid, gid) != (0, 0) {
            if store.maps().is_some() {
                return Err(Error::invalid(format!(
                    "{what}: uid={uid},gid={gid}: an ordinary user can give it to root alone"
                )));
            }
            lchown(&path, Some(uid), Some(gid)).context(|| what.to_string())?;
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).context(|| what.to_string())
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // What stays is deleted by the next build.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn begin(runtime: &Path) -> Result<RunFolder> {
    loop {
        let path = runtime.join(format!("{NAME}{}", &crate::store::random_id()?[..16]));
        let named = || path.display().to_string();
        std::fs::DirBuilder::new().mode(0o700).create(&path).context(named)?;
        match Lock::at(&path, Sharing::Exclusive, "secrets") {
            Ok(lock) => return Ok(RunFolder { path, lock }),
            // Another build has swept it before it was locked.
            Err(_) if matches!(path.try_exists(), Ok(false)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Deletes secrets of builds that were killed.
fn sweep(runtime: &Path) -> Result<()> {
    for entry in std::fs::read_dir(runtime).context(|| runtime.display().to_string())?.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(NAME);
        if is_ours && let Ok(Some(_lock)) = Lock::try_at(&entry.path(), Sharing::Exclusive) {
            std::fs::remove_dir_all(entry.path()).context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_that_begin_at_once_leave_each_other_their_folders() {
        let runtime = std::env::temp_dir().join(format!("box-run-folders-{}", std::process::id()));
        std::fs::create_dir(&runtime).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        sweep(&runtime).unwrap();
                        assert!(begin(&runtime).unwrap().path().is_dir());
                    }
                });
            }
        });
        std::fs::remove_dir(&runtime).unwrap();
    }
}
