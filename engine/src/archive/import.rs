//! A tar of a root file system as an image with a name, which can be pushed and saved.

use std::io::{Read, Write};

use super::assemble::{self, Assembly};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::{ChainId, Configuration, Execution, History, Platform, RootFs};
use crate::layer::uncompress_foreign;
use crate::reference::Reference;
use crate::store::{CompleteBlob, ImageRecord, NamelessBlob, Store};
use crate::time::{Moment, rfc3339};

/// What an imported image says of itself.
#[derive(Debug)]
pub struct Imported<'a> {
    /// Its name; without one it is found by its id.
    pub name: Option<&'a Reference>,
    /// What it runs on.
    pub platform: Platform,
    /// A comment in its history.
    pub message: Option<String>,
    /// How it is run.
    pub execution: Execution,
    /// The digest of the file, if it is known.
    pub expected: Option<Digest>,
}

/// Imports a tar, compressed or not, which is unpacked on the way: it is kept as it is, unless no layer may be compressed so.
///
/// # Errors
/// It is no tar of a root file system, or not the one that is expected.
pub fn import(store: &Store, stream: &mut (dyn Read + Send), imported: Imported<'_>) -> Result<ImageRecord> {
    let mut came = Came { stream, hasher: imported.expected.map(|_| Hasher::default()) };
    let mut plain = uncompress_foreign(&mut came, store.stop())?;
    let mut kept = Kept::begin(store, &mut *plain)?;
    let unpacked = store.unpack(&mut kept, None);
    // Behind the end of the tar there may be more of the file.
    let rest = imported.expected.map_or(Ok(0), |_| std::io::copy(&mut kept, &mut std::io::sink()));
    let (blob, beginning) = kept.complete();
    drop(plain);
    // What is no tar has most likely been changed on its way: that is said first.
    if let Some(expected) = imported.expected {
        came.check(expected)?;
    }
    let unpacked = unpacked?;
    rest?;
    let created = rfc3339(Moment::now());
    let config = Configuration {
        created: Some(created.clone()),
        architecture: imported.platform.architecture,
        os: imported.platform.os,
        variant: imported.platform.variant,
        config: imported.execution,
        rootfs: RootFs { kind: "layers".to_string(), diff_ids: vec![unpacked.record.diff_id] },
        history: vec![History { created: Some(created), comment: imported.message, ..History::default() }],
        ..Configuration::default()
    };
    let text = config.encode()?;
    let (digest, length) = (blob.digest(), blob.length());
    let manifest = assemble::manifest(&text, vec![assemble::layer(digest, length, &beginning)])?;
    let _lease = store.lease(&[digest, Digest::of(&text), Digest::of(&manifest)])?;
    let id = ChainId::above(None, &unpacked.record.diff_id);
    let mut assembly = Assembly::default();
    assembly.take(id, unpacked);
    let manifest = store.blobs().write(&manifest)?;
    store.blobs().write(&text)?;
    let _locks = assembly.settle(store, vec![blob])?;
    let name = imported.name.map_or_else(|| Digest::of(&text).to_string(), Reference::to_string);
    let record = assemble::record(store, name, &text, &config, manifest, vec![id])?;
    store.name_image(&record)?;
    store.events().note_tag(&record);
    store.events().note_image(&record, "import");
    Ok(record)
}

/// A file on its way, with the digest of what has come of it if somebody wants to know.
struct Came<'a> {
    stream: &'a mut (dyn Read + Send),
    hasher: Option<Hasher>,
}

impl Came<'_> {
    fn check(mut self, expected: Digest) -> Result<()> {
        std::io::copy(&mut self, &mut std::io::sink())?;
        match self.hasher.map(|hasher| hasher.digest()) {
            Some(digest) if digest != expected => {
                Err(Error::corrupt(format!("its digest is {digest}, and not {expected}")))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Came<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.stream.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..length]);
        }
        Ok(length)
    }
}

/// A stream that is kept in a blob while it is read.
pub struct Kept<'a> {
    stream: &'a mut (dyn Read + Send),
    blob: NamelessBlob,
    beginning: Vec<u8>,
}

impl<'a> Kept<'a> {
    /// Nothing of it has been read yet.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn begin(store: &Store, stream: &'a mut (dyn Read + Send)) -> Result<Kept<'a>> {
        Ok(Kept { stream, blob: store.blobs().begin_batch()?.begin()?, beginning: Vec::new() })
    }

    /// The blob, and its first bytes.
    pub fn complete(self) -> (CompleteBlob, Vec<u8>) {
        (self.blob.complete(), self.beginning)
    }
}

impl Read for Kept<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.stream.read(buffer)?;
        let missing = 4 - self.beginning.len();
        self.beginning.extend_from_slice(&buffer[..length.min(missing)]);
        self.blob.write_all(&buffer[..length])?;
        Ok(length)
    }
}
