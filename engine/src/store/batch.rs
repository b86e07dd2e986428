//! Blobs whose digests are known when they are complete: until then they lie in a folder of their command's, which is locked.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::blob::NAMELESS;
use super::lock::{Lock, Sharing};
use super::{Blobs, fresh_name, removal};
use crate::digest::{Digest, Hashing};
use crate::error::{Context, Error, Kind, Result};

/// Blobs that one command writes, however many.
#[derive(Clone)]
pub struct BlobBatch {
    folder: Arc<Folder>,
}

struct Folder {
    path: PathBuf,
    /// Where blobs have their names.
    blobs: Blobs,
    begun: AtomicU64,
    _lock: Lock,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is swept by the next command.
        let _ = removal::delete(&self.path, None);
    }
}

impl Blobs {
    /// Begins blobs whose digests are known when they are complete.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn begin_batch(&self) -> Result<BlobBatch> {
        loop {
            let path = self.beside(&fresh_name(NAMELESS)?);
            std::fs::create_dir(&path).context(|| format!("make the folder {}", path.display()))?;
            // A sweeper may take it for abandoned before it is locked.
            match Lock::try_at(&path, Sharing::Exclusive) {
                Ok(Some(lock)) => {
                    let folder = Folder { path, blobs: self.clone(), begun: AtomicU64::new(0), _lock: lock };
                    return Ok(BlobBatch { folder: Arc::new(folder) });
                }
                Ok(None) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl BlobBatch {
    /// Begins one more.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn begin(&self) -> Result<NamelessBlob> {
        let number = self.folder.begun.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path.join(number.to_string());
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        let file = opened.context(|| format!("write {}", path.display()))?;
        Ok(NamelessBlob { content: Hashing::new(file), path, folder: self.folder.clone() })
    }
}

/// A blob that is being written.
pub struct NamelessBlob {
    content: Hashing<File>,
    path: PathBuf,
    folder: Arc<Folder>,
}

impl NamelessBlob {
    /// Everything has come.
    pub fn complete(self) -> CompleteBlob {
        let NamelessBlob { content, path, folder } = self;
        let hasher = content.hasher();
        CompleteBlob { path, digest: hasher.digest(), length: hasher.length(), folder }
    }
}

impl Write for NamelessBlob {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.content.write(bytes).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => error,
            // Whoever copies to it would take it for an error of what is copied.
            _ => std::io::Error::other(Error::from(error).context(format!("write {}", self.path.display()))),
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.content.flush()
    }
}

/// A blob that is complete, and has no name yet: [`Store::sync`](super::Store::sync) comes first. Without a name it is deleted.
pub struct CompleteBlob {
    path: PathBuf,
    digest: Digest,
    length: u64,
    folder: Arc<Folder>,
}

impl CompleteBlob {
    /// Of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Opens it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(&self) -> Result<File> {
        File::open(&self.path).context(|| format!("read {}", self.path.display()))
    }

    /// Gives it its name, by its digest; the caller has synced it.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn name(self) -> Result<()> {
        let CompleteBlob { path, digest, folder, .. } = &self;
        std::fs::rename(path, folder.blobs.path(digest)).context(|| format!("blob {digest}"))
    }
}
