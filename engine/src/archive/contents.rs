//! The files of a saved tar, in the store but without names. The tar is hostile: what it has may be huge, twice there, or false.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::rc::Rc;

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{DOCUMENT_MAX, Descriptor};
use crate::layer::clean;
use crate::layer::tar::{Archive, Entry, EntryKind};
use crate::layer::uncompress;
use crate::store::{BlobBatch, CompleteBlob, Store};

/// The most files, folders and links of a saved tar. Older Dockers write four for each layer.
const ENTRIES_MAX: usize = 100_000;

/// The most bytes of manifests, indexes and configurations that are held at once.
const DOCUMENTS_MAX: u64 = 256 << 20;

/// The files of a tar by their paths. Links are resolved.
pub struct Contents {
    files: Vec<CompleteBlob>,
    paths: BTreeMap<String, usize>,
    documents: RefCell<Documents>,
}

/// What has been read of them.
#[derive(Default)]
struct Documents {
    texts: BTreeMap<usize, Rc<[u8]>>,
    length: u64,
}

impl Contents {
    /// Reads a tar, compressed or not.
    ///
    /// # Errors
    /// It is none, or has more than a saved one can have.
    pub fn read(store: &Store, stream: &mut dyn Read) -> Result<Contents> {
        let mut archive = Archive::new(uncompress(stream, store.stop())?);
        let batch = store.blobs().begin_batch()?;
        let (mut files, mut paths, mut links) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut entries = 0;
        while let Some(entry) = archive.next_entry()? {
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(Error::corrupt(format!("the tar has more than {ENTRIES_MAX} entries")));
            }
            let path = clean(&String::from_utf8_lossy(&entry.path));
            match &entry.kind {
                EntryKind::File if entry.segments.is_none() => {
                    let blob = read_file(&batch, &mut archive, &entry).context(|| path.clone())?;
                    paths.insert(path, files.len());
                    files.push(blob);
                }
                // Older Dockers write the same layer of several images once.
                EntryKind::SymbolicLink(to) => {
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    links.push((path.clone(), clean(&format!("{folder}/{}", String::from_utf8_lossy(to)))));
                }
                EntryKind::HardLink(to) => links.push((path, clean(&String::from_utf8_lossy(to)))),
                _ => {}
            }
        }
        for (path, to) in links {
            if let Some(file) = paths.get(&to) {
                paths.insert(path, *file);
            }
        }
        Ok(Contents { files, paths, documents: RefCell::default() })
    }

    /// Whether there is a file of this path.
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains_key(path)
    }

    /// The number of a file.
    ///
    /// # Errors
    /// It is not there, or not what its name says.
    pub fn number(&self, path: &str) -> Result<usize> {
        let found = self.paths.get(&clean(path)).copied();
        let number = found.ok_or_else(|| Error::corrupt(format!("{path}: it is not in the tar")))?;
        let digest = self.files[number].digest();
        match path.strip_prefix(BLOBS) {
            Some(hex) if hex != digest.hex() => {
                Err(Error::corrupt(format!("{path}: its content has the digest {digest}")))
            }
            _ => Ok(number),
        }
    }

    /// The number of a layout's blob; `None` if it is not there.
    ///
    /// # Errors
    /// It is not what is said of it.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Option<usize>> {
        let Descriptor { digest, size, .. } = descriptor;
        let path = blob_path(digest);
        if !self.has(&path) {
            return Ok(None);
        }
        let number = self.number(&path)?;
        match self.files[number].length() {
            length if length == *size => Ok(Some(number)),
            length => Err(Error::corrupt(format!("{path}: it has {length} bytes, {size} are said"))),
        }
    }

    /// One of the files.
    pub fn file(&self, number: usize) -> &CompleteBlob {
        &self.files[number]
    }

    /// The text of a manifest, an index or a configuration. Each is read once.
    ///
    /// # Errors
    /// It is larger than such a document may be, or all of them are.
    pub fn document(&self, number: usize) -> Result<Rc<[u8]>> {
        let mut documents = self.documents.borrow_mut();
        if let Some(text) = documents.texts.get(&number) {
            return Ok(text.clone());
        }
        let file = &self.files[number];
        let named = || format!("document {}", file.digest());
        if file.length() > DOCUMENT_MAX {
            return Err(Error::corrupt(format!("{}: it has more than {DOCUMENT_MAX} bytes", named())));
        }
        documents.length += file.length();
        if documents.length > DOCUMENTS_MAX {
            return Err(Error::corrupt(format!("its documents have more than {DOCUMENTS_MAX} bytes")));
        }
        let mut text = Vec::new();
        file.open()?.read_to_end(&mut text).context(named)?;
        let text: Rc<[u8]> = text.into();
        documents.texts.insert(number, text.clone());
        Ok(text)
    }

    /// All files, by their numbers.
    pub fn into_files(self) -> Vec<CompleteBlob> {
        self.files
    }
}

fn read_file(batch: &BlobBatch, archive: &mut Archive<impl Read>, entry: &Entry) -> Result<CompleteBlob> {
    let mut blob = batch.begin()?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        match archive.read_content(&mut buffer)? {
            0 => break,
            length => blob.write_all(&buffer[..length])?,
        }
    }
    let blob = blob.complete();
    match blob.length() == entry.size {
        true => Ok(blob),
        false => Err(Error::corrupt("the tar is cut")),
    }
}

/// Where a layout has its blobs.
const BLOBS: &str = "blobs/sha256/";

/// The path of a layout's blob.
pub fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}
