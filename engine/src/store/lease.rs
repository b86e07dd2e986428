//! What a command is about to use, said before it looks whether it is there: nothing of it is removed until the command ends.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use super::lock::{Lock, Sharing};
use super::{Store, fresh_name, names_in, removal};
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::file;

/// Blobs that are kept as long as this value is there.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _lock: Lock,
}

impl Store {
    /// Keeps blobs, those as well that are still to come.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn lease(&self, blobs: &[Digest]) -> Result<Lease> {
        let _beside = self.beside_removals()?;
        let path = self.place().data.join("leases").join(fresh_name("")?);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .context(|| format!("write {}", path.display()))?;
        let lock = Lock::at(&path, Sharing::Exclusive, "a lease")?;
        let text: String = blobs.iter().map(|blob| format!("{}\n", blob.hex())).collect();
        file.write_all(text.as_bytes()).context(|| format!("write {}", path.display()))?;
        Ok(Lease { path, _lock: lock })
    }

    /// All blobs that are leased. The caller keeps others from leasing. Leases of commands that were killed are deleted.
    pub(super) fn leased(&self) -> Result<Vec<Digest>> {
        let folder = self.place().data.join("leases");
        let mut blobs = Vec::new();
        for name in names_in(&folder)? {
            let path = folder.join(name);
            let text = match file::read_text(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                text => text.context(|| format!("read {}", path.display()))?,
            };
            match Lock::try_at(&path, Sharing::Exclusive) {
                Ok(Some(_abandoned)) => removal::delete(&path, None)?,
                _ => blobs.extend(text.lines().filter_map(Digest::of_hex)),
            }
        }
        Ok(blobs)
    }

    /// As long as the lock is held, nobody removes what is not in use.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn beside_removals(&self) -> Result<Lock> {
        self.lock_removals(Sharing::Shared)
    }

    pub(super) fn lock_removals(&self, sharing: Sharing) -> Result<Lock> {
        let path = self.place().data.join("gc");
        file::make(&path).context(|| format!("write {}", path.display()))?;
        Lock::at(&path, sharing, "the store's list of what is in use")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that stays has no lock, and is deleted by the next command that removes something.
        let _ = std::fs::remove_file(&self.path);
    }
}
