//! Removing what nothing leads to: marked and unnamed under a lock, deleted without it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::REMEDY;
use super::lock::{Lock, Sharing};
use super::{ImageRecord, Store};
use crate::digest::Digest;
use crate::error::{Kind, Result};
use crate::image::{ChainId, DOCUMENT_MAX, Document};

/// What has been removed.
#[derive(Debug, Default)]
pub struct Collected {
    /// Manifests, configurations, compressed layers.
    pub blobs: Vec<Digest>,
    /// Unpacked layers.
    pub layers: Vec<ChainId>,
    /// Bytes that are free again.
    pub bytes: u64,
}

/// The right to take names of images away: held alone, so that nobody begins to use what is just being removed.
pub struct Removals<'s> {
    store: &'s Store,
    lock: Lock,
}

/// What may be removed.
#[derive(Debug, Default)]
struct Candidates {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<ChainId>,
}

impl Store {
    /// Waits until nobody looks for things to use.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn removals(&self) -> Result<Removals<'_>> {
        Ok(Removals { store: self, lock: self.lock_removals(Sharing::Exclusive)? })
    }

    /// The blobs and layers that a name leads to.
    fn reached(&self, record: &ImageRecord) -> Result<Candidates> {
        let mut reached = Candidates::default();
        reached.layers.extend(&record.layers);
        reached.blobs.insert(*record.id.digest());
        reached.blobs.extend(record.manifest.iter().chain(&record.repo_digest));
        if let Some(manifest) = &record.manifest {
            match self.blobs().read(manifest, DOCUMENT_MAX) {
                Ok(text) => {
                    if let Document::Manifest(manifest) = Document::parse(&text)? {
                        reached.blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
                    }
                }
                // Lost: what it named cannot be told any more.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reached)
    }
}

impl Removals<'_> {
    /// Removes what images have that have lost their names, as far as nothing else leads to it. `used` are the layers of
    /// containers, and is called when nobody can begin to use one.
    ///
    /// # Errors
    /// Something cannot be read or removed.
    pub fn collect_of(
        self,
        records: &[ImageRecord],
        used: impl FnOnce() -> Result<BTreeSet<ChainId>>,
    ) -> Result<Collected> {
        let mut candidates = Candidates::default();
        for record in records {
            let reached = self.store.reached(record)?;
            candidates.blobs.extend(reached.blobs);
            candidates.layers.extend(reached.layers);
        }
        self.collect(candidates, used)
    }

    /// Removes everything that nothing leads to.
    ///
    /// # Errors
    /// Something cannot be read or removed.
    pub fn collect_all(self, used: impl FnOnce() -> Result<BTreeSet<ChainId>>) -> Result<Collected> {
        let blobs = self.store.blobs().list()?.into_iter().collect();
        let layers = self.store.layers().list()?.into_iter().collect();
        self.collect(Candidates { blobs, layers }, used)
    }

    fn collect(
        self,
        mut candidates: Candidates,
        used: impl FnOnce() -> Result<BTreeSet<ChainId>>,
    ) -> Result<Collected> {
        let Removals { store, lock } = self;
        // What a record that cannot be read leads to, nobody knows.
        if let Some(broken) = store.broken_images()?.first() {
            crate::message::say(format_args!(
                "warning: {broken}: nothing is deleted until it is mended or put aside: {REMEDY}"
            ));
            return Ok(Collected::default());
        }
        for record in store.images().list()? {
            let reached = store.reached(&record)?;
            candidates.blobs.retain(|blob| !reached.blobs.contains(blob));
            candidates.layers.retain(|layer| !reached.layers.contains(layer));
        }
        // Builds go on from them: removed with the records of their steps.
        for (_, record) in store.build_cache().list()? {
            candidates.layers.remove(&record.layer);
        }
        for blob in store.leased()? {
            candidates.blobs.remove(&blob);
        }
        let mut collected = Collected::default();
        for blob in candidates.blobs {
            if let Some(length) = store.blobs().length(&blob) {
                store.blobs().remove(&blob)?;
                collected.bytes += length;
                collected.blobs.push(blob);
            }
        }
        let gone = unname_layers(store, candidates.layers, used, &mut collected)?;
        drop(lock);
        for path in gone {
            store.layers().delete(&path)?;
        }
        Ok(collected)
    }
}

/// Layers are taken first and then looked up among those in use: whoever makes a container holds its layers until its record
/// says so.
fn unname_layers(
    store: &Store,
    candidates: BTreeSet<ChainId>,
    used: impl FnOnce() -> Result<BTreeSet<ChainId>>,
    collected: &mut Collected,
) -> Result<Vec<PathBuf>> {
    let layers = store.layers();
    let mut taken = Vec::new();
    for layer in candidates {
        if let Some(lock) = layers.take(&layer)? {
            taken.push((layer, lock));
        }
    }
    let used = used()?;
    let mut gone = Vec::new();
    for (layer, _lock) in taken.into_iter().filter(|(layer, _)| !used.contains(layer)) {
        collected.bytes += layers.record(&layer).map_or(0, |record| record.size);
        gone.push(layers.unname(&layer)?);
        collected.layers.push(layer);
    }
    Ok(gone)
}
