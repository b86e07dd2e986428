//! Blobs by digest, as in an OCI layout: manifests, configurations, compressed layers.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::lock::{Lock, Sharing};
use super::removal;
use super::whole::sync_folder;
use super::{PARTIAL, names_in, write_whole};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};

/// The folder of blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    pub(super) fn at(folder: PathBuf) -> Blobs {
        Blobs { folder }
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Whether it is there.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound).
    pub fn open(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).context(|| format!("blob {digest}"))
    }

    /// Reads a blob of at most `limit` bytes, and checks its digest.
    ///
    /// # Errors
    /// It is not there, larger, or not what its name says.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open(digest)?.take(limit + 1).read_to_end(&mut content).context(|| format!("blob {digest}"))?;
        if content.len() as u64 > limit {
            return Err(Error::corrupt(format!("blob {digest}: it has more than {limit} bytes")));
        }
        match Digest::of(&content) {
            found if found == *digest => Ok(content),
            found => Err(Error::corrupt(format!("blob {digest}: its content has the digest {found}"))),
        }
    }

    /// Writes a blob whose bytes are at hand; it survives the power.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn write(&self, content: &[u8]) -> Result<Digest> {
        let digest = Digest::of(content);
        if !self.has(&digest) {
            write_whole(&self.path(&digest), content)?;
        }
        Ok(digest)
    }

    /// Begins a blob that arrives bit by bit, or goes on with one that a command has left unfinished. Of several that want the
    /// same, one writes and the others wait.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn begin(&self, digest: &Digest) -> Result<PartialBlob> {
        let path = self.folder.join(format!("{PARTIAL}{}", digest.hex()));
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).append(true).create(true).mode(0o644).open(&path);
            let mut file = file.context(|| format!("write {}", path.display()))?;
            match Lock::at(&path, Sharing::Exclusive, &format!("the blob {digest}")) {
                Ok(lock) => {
                    let hasher = hash(&mut file).context(|| format!("read {}", path.display()))?;
                    let target = self.path(digest);
                    return Ok(PartialBlob { file, path, target, digest: *digest, hasher, _lock: lock });
                }
                // The one that was waited for is complete.
                Err(error) if error.kind() == crate::Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// All blobs that are complete.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>> {
        Ok(names_in(&self.folder)?.iter().filter_map(|name| Digest::of_hex(name)).collect())
    }

    /// Removes a blob; one that is not there is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        remove_file(&self.path(digest))
    }

    /// Deletes what a killed removal has left. What a broken pull has left stays, to go on from.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sweep(&self) -> Result<()> {
        removal::sweep(&self.folder, None, |_| false)
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.context(|| format!("remove {}", path.display())),
    }
}

fn hash(file: &mut File) -> std::io::Result<Hasher> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// A blob that is not complete yet. Dropped, it stays to go on from.
pub struct PartialBlob {
    file: File,
    path: PathBuf,
    target: PathBuf,
    digest: Digest,
    hasher: Hasher,
    _lock: Lock,
}

impl PartialBlob {
    /// How many bytes are there already.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Begins anew, where what is there turned out to be wrong or cannot be gone on from.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn restart(&mut self) -> Result<()> {
        self.hasher = Hasher::default();
        self.file.set_len(0).context(|| format!("write {}", self.path.display()))
    }

    /// Checks its digest and gives it its name. It survives the power.
    ///
    /// # Errors
    /// It is not what its digest says: then it is gone.
    pub fn finish(self) -> Result<()> {
        let found = self.hasher.digest();
        if found != self.digest {
            remove_file(&self.path)?;
            return Err(Error::corrupt(format!("blob {}: what came has the digest {found}", self.digest)));
        }
        self.file.sync_data().context(|| format!("sync {}", self.path.display()))?;
        std::fs::rename(&self.path, &self.target).context(|| format!("blob {}", self.digest))?;
        sync_folder(&self.target)
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
