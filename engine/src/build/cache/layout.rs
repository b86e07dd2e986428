//! Caches in folders, which are OCI image layouts (image-layout.md).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Shelf;
use crate::archive::{open_file, read_bounded};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::folder::names;
use crate::image::{Descriptor, Index, media_type};
use crate::store::{Lock, Sharing, random_id};

/// Under which the index has the name of a manifest.
const NAME: &str = "org.opencontainers.image.ref.name";

/// What names of files begin with that are not whole yet.
const PARTIAL: &str = ".partial-";

/// How many random letters follow.
const RANDOM: usize = 16;

/// A manifest in a layout.
#[derive(Debug, Clone)]
pub struct LayoutShelf {
    folder: PathBuf,
    choice: Choice,
}

/// Which one.
#[derive(Debug, Clone)]
enum Choice {
    Tag(String),
    Digest(Digest),
}

impl LayoutShelf {
    /// By its tag.
    pub fn tagged(folder: impl Into<PathBuf>, tag: Option<&str>) -> LayoutShelf {
        LayoutShelf { folder: folder.into(), choice: Choice::Tag(tag.unwrap_or("latest").to_string()) }
    }

    /// By its digest.
    pub fn of_digest(folder: impl Into<PathBuf>, digest: Digest) -> LayoutShelf {
        LayoutShelf { folder: folder.into(), choice: Choice::Digest(digest) }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    fn index(&self) -> Result<Option<Index>> {
        let path = self.folder.join("index.json");
        let text = match read_bounded(&path) {
            Err(_) if matches!(path.try_exists(), Ok(false)) => return Ok(None),
            text => text?,
        };
        let named = |error| Error::corrupt(format!("{}: {error}", path.display()));
        serde_json::from_slice(&text).map(Some).map_err(named)
    }

    fn chosen(&self) -> Result<Digest> {
        let tag = match &self.choice {
            Choice::Digest(digest) => return Ok(*digest),
            Choice::Tag(tag) => tag,
        };
        let index = self.index()?.ok_or_else(|| Error::not_found("there is no index.json"))?;
        let is_it = |found: &&Descriptor| found.annotations.get(NAME) == Some(tag);
        let found = index.manifests.iter().find(is_it);
        found.map(|found| found.digest).ok_or_else(|| Error::not_found(format!("index.json has no {tag}")))
    }

    /// Whole or not at all, whoever else writes there.
    fn write(&self, path: &Path, content: &mut dyn Read) -> Result<()> {
        let named = || format!("write {}", path.display());
        let (beside, mut file, _lock) = self.begin().context(named)?;
        let written = std::io::copy(content, &mut file).and_then(|_| {
            file.flush()?;
            std::fs::rename(&beside, path)
        });
        if written.is_err() {
            // What is wrong is told anyway.
            let _ = std::fs::remove_file(&beside);
        }
        written.context(named)
    }

    /// A file that is not whole yet. As long as somebody writes it, it is locked; on a file system that has no locks it is not, and stays
    /// if he is killed.
    fn begin(&self) -> Result<(PathBuf, File, Option<Lock>)> {
        loop {
            let beside = self.folder.join(format!("{PARTIAL}{}", &random_id()?[..RANDOM]));
            let file = File::create_new(&beside).context(|| beside.display().to_string())?;
            match Lock::at(&beside, Sharing::Exclusive, "the cache") {
                Ok(lock) if lock.is_of(&file) => return Ok((beside, file, Some(lock))),
                // Somebody has swept it before it was locked.
                _ if matches!(beside.try_exists(), Ok(false)) => {}
                _ => return Ok((beside, file, None)),
            }
        }
    }

    /// Removes what killed ones were writing.
    fn sweep(&self) {
        for name in names(&self.folder).into_iter().flatten() {
            let path = self.folder.join(&name);
            if is_partial(&name)
                && let Ok(Some(_lock)) = Lock::try_at(&path, Sharing::Exclusive)
            {
                // What cannot be removed takes room, and nothing else.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

/// Whether it is a name as [`LayoutShelf::begin`] makes them. Others with the same beginning are not ours.
fn is_partial(name: &OsStr) -> bool {
    let random = name.as_encoded_bytes().strip_prefix(PARTIAL.as_bytes());
    random.is_some_and(|random| random.len() == RANDOM && random.iter().all(u8::is_ascii_hexdigit))
}

impl Shelf for LayoutShelf {
    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn document(&self, descriptor: Option<&Descriptor>) -> Result<Vec<u8>> {
        let digest = descriptor.map_or_else(|| self.chosen(), |found| Ok(found.digest))?;
        let text = read_bounded(&self.path(&digest))?;
        match Digest::of(&text) {
            found if found == digest => Ok(text),
            found => Err(Error::corrupt(format!("blob {digest}: its content has the digest {found}"))),
        }
    }

    fn open<'s>(&'s self, blob: &'s Descriptor) -> Result<Box<dyn Read + Send + 's>> {
        let path = self.path(&blob.digest);
        Ok(Box::new(open_file(&path).context(|| path.display().to_string())?))
    }

    /// By its content: what a disk or somebody else has damaged is written anew.
    fn has(&self, blob: &Descriptor) -> Result<bool> {
        let path = self.path(&blob.digest);
        match std::fs::symlink_metadata(&path) {
            Ok(status) if !status.is_file() || status.len() != blob.size => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).context(|| self.name()),
        }
        // What cannot be read is of no use either.
        let found = open_file(&path).ok().and_then(|file| Hasher::of(file).ok());
        Ok(found.is_some_and(|hasher| hasher.digest() == blob.digest))
    }

    fn put(&self, blob: &Descriptor, mut file: &File) -> Result<()> {
        if self.has(blob)? {
            return Ok(());
        }
        let blobs = self.folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).context(|| format!("make the folder {}", blobs.display()))?;
        self.write(&self.path(&blob.digest), &mut file)
    }

    fn finish(&self, manifest: &Descriptor, mut text: &[u8]) -> Result<()> {
        // Others may put caches with other tags there. On a file system that has no locks the last one wins.
        let what = format!("the cache {}", self.folder.display());
        let _lock = Lock::at(&self.folder, Sharing::Exclusive, &what).ok();
        self.sweep();
        let mut index = self.index()?.unwrap_or_else(|| Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_string()),
            manifests: Vec::new(),
        });
        self.write(&self.path(&manifest.digest), &mut text)?;
        let mut manifest = manifest.clone();
        if let Choice::Tag(tag) = &self.choice {
            index.manifests.retain(|known| known.annotations.get(NAME) != Some(tag));
            manifest.annotations.insert(NAME.to_string(), tag.clone());
        }
        index.manifests.push(manifest);
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        self.write(&self.folder.join("oci-layout"), &mut layout.as_bytes())?;
        let index = serde_json::to_vec(&index).map_err(|error| Error::invalid(format!("index: {error}")))?;
        self.write(&self.folder.join("index.json"), &mut index.as_slice())
    }
}
