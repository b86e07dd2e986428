//! Caches that a build may go on from: steps are found by their keys, and their layers fetched when they are needed.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::document::{CacheDocument, CachedStep, MEDIA_TYPE};
use super::{Caches, Shelf};
use crate::archive::Kept;
use crate::build::event::Progress;
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::image::{
    ChainId, Configuration, DOCUMENT_MAX, Descriptor, DiffId, Document, Platform, media_type,
};
use crate::order::Collect;
use crate::store::{Lease, Lock, Store};
use crate::thread::spawn;
use crate::time::Moment;

/// Layers that are fetched at once.
const CONNECTIONS: usize = 4;

/// Formats of BuildKit's own caches, and where images have them.
const FOREIGN: &str = "application/vnd.buildkit.cacheconfig.v0";

/// Caches that could be read.
#[derive(Debug, Default)]
pub struct Imports {
    imports: Vec<Import>,
}

/// A cache.
#[derive(Debug)]
struct Import {
    shelf: Arc<dyn Shelf>,
    layers: Vec<(DiffId, Descriptor)>,
    steps: Vec<CachedStep>,
    /// Places of steps.
    places: HashMap<Digest, Vec<usize>>,
    /// Something of it was not as it says.
    is_broken: AtomicBool,
}

/// A step that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which cache has it.
    import: usize,
    /// All keys that lead to it.
    pub keys: Vec<Digest>,
    /// When its layer was made.
    pub created: Moment,
    /// Its layer; none if it has changed nothing.
    pub layer: Option<FoundLayer>,
}

/// A layer that was found.
#[derive(Debug, Clone)]
pub struct FoundLayer {
    /// Of its tar.
    pub diff_id: DiffId,
    /// Together with those below it.
    pub chain: ChainId,
    /// Its blob.
    pub blob: Descriptor,
    /// Who has it.
    pub shelf: Arc<dyn Shelf>,
}

/// A layer that is here now, and stays as long as this value is there.
#[derive(Debug)]
pub struct Brought {
    /// Where it has come from.
    pub layer: FoundLayer,
    _lock: Lock,
    _lease: Lease,
}

/// Whether somebody has ended the build.
pub type Ended<'e> = &'e (dyn Fn() -> bool + Sync);

/// Reads until the build is ended.
struct Stopping<'e, R> {
    inner: R,
    is_ended: Ended<'e>,
}

impl<R: Read> Read for Stopping<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match (self.is_ended)() {
            true => Err(std::io::Error::other("the build was ended")),
            false => self.inner.read(buffer),
        }
    }
}

/// What a layer is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Its files are.
    Files,
    /// It is one of the image's: its blob is, too, or its tar.
    Blob,
    /// It is one of an image that names this very blob.
    ThisBlob,
}

impl Imports {
    /// Reads what caches say of themselves. What cannot be read is warned of, and is none.
    pub fn read(caches: &Caches, platform: &Platform, progress: &Progress<'_>) -> Imports {
        let mut imports = Imports::default();
        for shelf in &caches.sources {
            let vertex = progress.begin(format!("importing cache manifest from {}", shelf.name()));
            match vertex.run(|_| Import::read(shelf.clone(), platform)) {
                Ok(import) => imports.imports.push(import),
                Err(error) => progress.warn(format!("--cache-from {}: {error}", shelf.name())),
            }
        }
        imports
    }

    /// A step by its key, on what it was made on.
    pub fn find(&self, key: &Digest, below: Option<&ChainId>) -> Option<Found> {
        let whole = self.imports.iter().enumerate();
        let whole = whole.filter(|(_, import)| !import.is_broken.load(Ordering::Relaxed));
        whole.filter_map(|(number, import)| import.find(number, key, below)).next()
    }

    /// A layer that a cache has, whatever step has come to it.
    pub fn layer(&self, diff_id: &DiffId, chain: &ChainId) -> Option<FoundLayer> {
        let whole = self.imports.iter().filter(|import| !import.is_broken.load(Ordering::Relaxed));
        let mut found = whole.filter_map(|import| {
            let (_, blob) = import.layers.iter().find(|(known, _)| known == diff_id)?;
            let (blob, shelf) = (blob.clone(), import.shelf.clone());
            Some(FoundLayer { diff_id: *diff_id, chain: *chain, blob, shelf })
        });
        found.next()
    }

    /// Fetches layers that are not here. The result is whether all of them are here then: what is not as its cache says is warned of,
    /// and that cache is not used any more.
    ///
    /// # Errors
    /// The disk did not take them.
    pub fn bring(
        &self,
        store: &Store,
        wanted: &[(Found, Need)],
        brought: &Mutex<BTreeMap<ChainId, Brought>>,
        (progress, is_ended): (&Progress<'_>, Ended<'_>),
    ) -> Result<bool> {
        let missing: BTreeMap<ChainId, (&Found, &FoundLayer, Need)> = wanted
            .iter()
            .filter_map(|(found, need)| {
                found.layer.as_ref().map(|layer| (layer.chain, (found, layer, *need)))
            })
            .filter(|(chain, _)| !brought.lock().unwrap_or_else(PoisonError::into_inner).contains_key(chain))
            .collect_map();
        let missing: Vec<_> = missing.into_values().collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let vertex = progress.begin(format!("[internal] fetch {} cached layers", missing.len()));
        let (next, is_whole) = (AtomicUsize::new(0), AtomicBool::new(true));
        let work = || {
            while let Some((found, layer, need)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let import = &self.imports[found.import];
                if is_ended() {
                    return;
                }
                match bring(store, layer, *need, is_ended) {
                    Ok(one) => {
                        brought.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.chain, one);
                    }
                    Err(error) => {
                        is_whole.store(false, Ordering::Relaxed);
                        if !is_ended() && !import.is_broken.swap(true, Ordering::Relaxed) {
                            let name = import.shelf.name();
                            progress.warn(format!("--cache-from {name}: {error}: it is not used any more"));
                        }
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let workers = (0..CONNECTIONS.min(missing.len())).map_while(|_| spawn(scope, work).ok());
            if workers.count() == 0 {
                work();
            }
        });
        vertex.run(|_| match is_ended() {
            true => Err(Error::new(Kind::Closed, "the build was ended")),
            false => Ok(is_whole.into_inner()),
        })
    }
}

impl Import {
    fn read(shelf: Arc<dyn Shelf>, platform: &Platform) -> Result<Import> {
        let mut text = shelf.document(None)?;
        for _ in 0..3 {
            let manifest = match Document::parse(&text)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(index) => {
                    let is_foreign = |found: &Descriptor| found.media_type == FOREIGN;
                    if index.manifests.iter().any(is_foreign) {
                        return Err(foreign());
                    }
                    text = shelf.document(Some(index.select(platform)?))?;
                    continue;
                }
            };
            let config = read_document(&*shelf, &manifest.config)?;
            let (document, diff_ids) = match manifest.config.media_type.as_str() {
                MEDIA_TYPE => {
                    let document = CacheDocument::parse(&config)?;
                    let diff_ids = document.diff_ids.clone();
                    (document, diff_ids)
                }
                FOREIGN => return Err(foreign()),
                _ => {
                    manifest.check_formats()?;
                    let config = Configuration::parse(&config)?;
                    let cache = config.cache.ok_or_else(|| {
                        Error::not_found(
                            "the image has no cache in it: --cache-to type=inline puts one there",
                        )
                    })?;
                    (
                        CacheDocument::parse(&serde_json::to_vec(&cache).unwrap_or_default())?,
                        config.rootfs.diff_ids,
                    )
                }
            };
            return Import::new(shelf, document.steps, diff_ids, manifest.layers);
        }
        Err(Error::corrupt("an index of an index of an index"))
    }

    fn new(
        shelf: Arc<dyn Shelf>,
        steps: Vec<CachedStep>,
        diff_ids: Vec<DiffId>,
        blobs: Vec<Descriptor>,
    ) -> Result<Import> {
        if diff_ids.len() != blobs.len() {
            let (found, said) = (blobs.len(), diff_ids.len());
            return Err(Error::corrupt(format!("its manifest has {found} layers, and {said} are said")));
        }
        if let Some(other) = blobs.iter().find(|blob| !media_type::is_layer(&blob.media_type)) {
            return Err(Error::corrupt(format!("layer {}: it is of {}", other.digest, other.media_type)));
        }
        let mut places: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (place, step) in steps.iter().enumerate() {
            for key in &step.keys {
                places.entry(*key).or_default().push(place);
            }
        }
        let layers = diff_ids.into_iter().zip(blobs).collect();
        Ok(Import { shelf, layers, steps, places, is_broken: AtomicBool::new(false) })
    }

    fn find(&self, number: usize, key: &Digest, below: Option<&ChainId>) -> Option<Found> {
        let steps = self.places.get(key)?.iter().map(|place| &self.steps[*place]);
        let mut found = steps.filter_map(|step| {
            let layer = match step.layer {
                // What it says is checked here: a layer stands on what it was made on, or is none.
                None if step.chain.as_ref() == below => None,
                None => return None,
                Some(place) => {
                    let (diff_id, blob) = self.layers.get(place)?;
                    let chain = ChainId::above(below, diff_id);
                    if step.chain != Some(chain) {
                        return None;
                    }
                    let (shelf, blob) = (self.shelf.clone(), blob.clone());
                    Some(FoundLayer { diff_id: *diff_id, chain, blob, shelf })
                }
            };
            Some(Found { import: number, keys: step.keys.clone(), created: step.created, layer })
        });
        found.next()
    }
}

impl Found {
    /// What stands on top afterwards.
    pub fn top(&self, below: Option<&ChainId>) -> Option<ChainId> {
        self.layer.as_ref().map(|layer| layer.chain).or(below.copied())
    }
}

fn foreign() -> Error {
    Error::invalid("it is a cache of BuildKit's, whose keys are its own: box makes one with --cache-to")
}

/// A blob that is small enough to be read at once.
///
/// # Errors
/// It is not there, or not what its digest says.
pub fn read_document(shelf: &dyn Shelf, blob: &Descriptor) -> Result<Vec<u8>> {
    let Descriptor { digest, size, .. } = blob;
    if *size > DOCUMENT_MAX {
        return Err(Error::corrupt(format!("blob {digest}: {size} bytes: {DOCUMENT_MAX} are the most")));
    }
    let mut text = Vec::new();
    shelf.open(blob)?.take(size + 1).read_to_end(&mut text).context(|| format!("blob {digest}"))?;
    match Digest::of(&text) {
        found if found == *digest => Ok(text),
        found => Err(Error::corrupt(format!("blob {digest}: what came has the digest {found}"))),
    }
}

/// Fetches a layer that is not here.
///
/// # Errors
/// It is not there, or not what its digests say.
pub fn bring(store: &Store, layer: &FoundLayer, need: Need, is_ended: Ended<'_>) -> Result<Brought> {
    let FoundLayer { diff_id, chain, blob, shelf } = layer;
    let lease = store.lease(&[blob.digest, *diff_id.digest()])?;
    let blobs = store.blobs();
    let has_blob = match need {
        Need::Files => true,
        Need::Blob => blobs.has(&blob.digest) || blobs.has(diff_id.digest()),
        Need::ThisBlob => blobs.has(&blob.digest),
    };
    let held = store.layers().hold(chain)?;
    let lock = match held {
        Some(lock) if has_blob => lock,
        held => {
            let named = || format!("layer {}", blob.digest);
            let mut stream = Stopping {
                inner: shelf.open(blob).context(named)?.take(blob.size.saturating_add(1)),
                is_ended,
            };
            let mut kept = Kept::begin(store, &mut stream)?;
            let unpacked = store.unpack(&mut kept, Some(diff_id));
            // Behind the end of the tar there may be more of the blob.
            let rest = std::io::copy(&mut kept, &mut std::io::sink());
            let (found, _) = kept.complete();
            if unpacked.is_ok() {
                rest.context(named)?;
            }
            let unpacked = unpacked.context(named)?;
            if found.digest() != blob.digest || found.length() != blob.size {
                let what = format!("what came has the digest {}", found.digest());
                return Err(Error::corrupt(what).context(named()));
            }
            store.sync()?;
            found.name()?;
            blobs.sync_names()?;
            match held {
                Some(lock) => lock,
                None => {
                    let lock = unpacked.name(chain)?;
                    store.layers().sync_names()?;
                    lock
                }
            }
        }
    };
    Ok(Brought { layer: layer.clone(), _lock: lock, _lease: lease })
}
