//! Blobs by digest, as in an OCI layout: manifests, configurations, compressed layers.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::{Lock, Sharing};
use super::removal;
use super::whole::sync_folder;
use super::{PARTIAL, names_in, write_whole};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::file;

/// What the names of folders begin with in which commands keep blobs whose digests they do not know yet.
pub(super) const NAMELESS: &str = ".partial-blobs-";

/// How long what a broken pull has left is kept.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

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

    /// The path of something that is no blob yet.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether it is there.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Its length; `None` if it is not there.
    pub fn length(&self, digest: &Digest) -> Option<u64> {
        std::fs::metadata(self.path(digest)).ok().map(|status| status.len())
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound).
    pub fn open(&self, digest: &Digest) -> Result<File> {
        file::open(&self.path(digest)).context(|| format!("blob {digest}"))
    }

    /// Reads a blob of at most `limit` bytes, and checks its digest.
    ///
    /// # Errors
    /// It is not there, larger, or not what its name says.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        // Most documents fit: without room a file is read in small pieces.
        let mut content = Vec::with_capacity(4096);
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
    /// same, one writes and the others wait. `None`: by then it is there.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn begin(&self, digest: &Digest) -> Result<Option<PartialBlob>> {
        let wait = |path: &Path| Lock::at(path, Sharing::Exclusive, &format!("the blob {digest}")).map(Some);
        match self.begin_with(digest, wait)? {
            Begun::Own(blob) => Ok(Some(blob)),
            Begun::There | Begun::Others => Ok(None),
        }
    }

    /// The same without waiting: whoever holds other blobs must not, for others may wait for these.
    ///
    /// # Errors
    /// The same.
    pub fn try_begin(&self, digest: &Digest) -> Result<Begun> {
        self.begin_with(digest, |path| Lock::try_at(path, Sharing::Exclusive))
    }

    fn begin_with(&self, digest: &Digest, lock: impl Fn(&Path) -> Result<Option<Lock>>) -> Result<Begun> {
        let path = self.folder.join(format!("{PARTIAL}{}", digest.hex()));
        while !self.has(digest) {
            let mut options = OpenOptions::new();
            let file = file::open_with(options.read(true).append(true).create(true).mode(0o644), &path);
            let file = file.context(|| format!("write {}", path.display()))?;
            match lock(&path) {
                // The one that was waited for may have completed another file of this name.
                Ok(Some(lock)) if lock.is_of(&file) => {
                    let (hasher, target) = (Hasher::default(), self.path(digest));
                    let blob = PartialBlob { file, path, target, digest: *digest, hasher, _lock: lock };
                    if self.has(digest) {
                        // It was completed in this very moment, and this file was made for nothing.
                        blob.discard()?;
                        return Ok(Begun::There);
                    }
                    return Ok(Begun::Own(blob));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Begun::Others),
                Err(error) if error.kind() == crate::Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Begun::There)
    }

    /// Syncs the names of blobs.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn sync_names(&self) -> Result<()> {
        sync_folder(&self.folder.join("."))
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

    /// Deletes what killed commands have left. What a broken pull has left stays for a week, to go on from.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sweep(&self) -> Result<()> {
        removal::sweep(&self.folder, None, |path| {
            let age = match Kept::of(path) {
                Kept::ToGoOn => WEEK,
                Kept::Nameless => Duration::ZERO,
                Kept::InAMoment => return removal::is_old(path).then_some(None),
            };
            let changed = std::fs::metadata(path).and_then(|status| status.modified()).ok()?;
            changed.elapsed().is_ok_and(|elapsed| elapsed >= age).then(|| claim(path))?.map(Some)
        })
    }

    /// Deletes all that broken pulls have left to go on from, but what a pull is just writing. The result is how many bytes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn discard_partial(&self) -> Result<u64> {
        let freed = std::cell::Cell::new(0);
        removal::sweep(&self.folder, None, |path| {
            let lock = if Kept::of(path) == Kept::ToGoOn { claim(path) } else { None }?;
            freed.set(freed.get() + std::fs::metadata(path).map_or(0, |status| status.len()));
            Some(lock)
        })?;
        Ok(freed.get())
    }
}

/// How a blob could be begun.
pub enum Begun {
    /// It is this command's to write.
    Own(PartialBlob),
    /// It is there.
    There,
    /// Another command writes it.
    Others,
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.context(|| format!("remove {}", path.display())),
    }
}

/// Why a file that is no blob is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// A broken pull goes on from it.
    ToGoOn,
    /// Somebody writes it, and has locked it.
    Nameless,
    /// It is written at once, and never locked.
    InAMoment,
}

impl Kept {
    fn of(path: &Path) -> Kept {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match name.strip_prefix(PARTIAL) {
            Some(digest) if Digest::of_hex(digest).is_some() => Kept::ToGoOn,
            _ if name.starts_with(NAMELESS) => Kept::Nameless,
            _ => Kept::InAMoment,
        }
    }
}

/// A lock on what nobody writes any more.
fn claim(path: &Path) -> Option<Lock> {
    Lock::try_at(path, Sharing::Exclusive).ok().flatten()
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
    /// Reads what is there already, of which `take` gets each piece. The result is its length.
    ///
    /// # Errors
    /// It cannot be read, or `take` failed.
    pub fn go_on(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let mut buffer = vec![0; 1 << 18];
        loop {
            match self.file.read(&mut buffer).context(|| format!("read {}", self.path.display()))? {
                0 => return Ok(self.hasher.length()),
                length => {
                    self.hasher.update(&buffer[..length]);
                    take(&buffer[..length])?;
                }
            }
        }
    }

    /// Whether what is there is what its digest says.
    ///
    /// # Errors
    /// It is not.
    pub fn is_right(&self) -> Result<()> {
        match self.hasher.digest() {
            found if found == self.digest => Ok(()),
            found => Err(Error::corrupt(format!("blob {}: what came has the digest {found}", self.digest))),
        }
    }

    /// It gets its name when it has been synced.
    ///
    /// # Errors
    /// It is not what its digest says.
    pub fn check(self) -> Result<CheckedBlob> {
        self.is_right()?;
        let PartialBlob { path, target, digest, _lock, .. } = self;
        Ok(CheckedBlob { path, target, digest, _lock })
    }

    /// Throws it away, because nothing can go on from it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn discard(self) -> Result<()> {
        remove_file(&self.path)
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

/// A blob that is complete, but not synced: [`Store::sync`](super::Store::sync) does so once for all of an image.
pub struct CheckedBlob {
    path: PathBuf,
    target: PathBuf,
    digest: Digest,
    _lock: Lock,
}

impl CheckedBlob {
    /// Opens it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(&self) -> Result<File> {
        file::open(&self.path).context(|| format!("blob {}", self.digest))
    }

    /// Gives it its name; the caller has synced it.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn name(self) -> Result<()> {
        let CheckedBlob { path, target, digest, .. } = &self;
        std::fs::rename(path, target).context(|| format!("blob {digest}"))
    }
}
