//! A cache is made of what a build has come to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::build::cache::{
    CacheDocument, CacheMode, CacheTarget, CachedStep, FoundLayer, Imports, MEDIA_TYPE, Shelf,
};
use crate::build::execute::{Chain, Completed, Finished, Recipes, pack_layer, recipe_of};
use crate::build::graph::{Base, Graph};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{ChainId, Descriptor, DiffId, Manifest, media_type};
use crate::order::Collect;
use crate::store::{BlobBatch, CompleteBlob, Store};

/// The steps of a build, and where their layers are.
pub struct Entries {
    stages: BTreeMap<usize, Arc<Finished>>,
    recipes: Recipes,
    /// Layers that have come from other caches.
    brought: BTreeMap<DiffId, FoundLayer>,
}

/// A step as a cache has it.
#[derive(Debug)]
pub struct Entry {
    step: CachedStep,
    layer: Option<EntryLayer>,
}

/// A layer, and where it is.
#[derive(Debug)]
struct EntryLayer {
    diff_id: DiffId,
    chain: ChainId,
    /// Another cache that has it.
    source: Option<FoundLayer>,
}

impl Entries {
    /// Of what was carried out; its layers stay as long as this value is there.
    pub fn of(completed: &Completed) -> Entries {
        let brought =
            completed.brought.values().map(|brought| (brought.layer.diff_id, brought.layer.clone()));
        Entries {
            stages: completed.stages.clone(),
            recipes: completed.recipes.clone(),
            brought: brought.collect_map(),
        }
    }

    /// Those of the image, or of all stages. What was not even looked at, because a cache has what it is for, is taken from there.
    fn list(&self, graph: &Graph, imports: &Imports, mode: CacheMode) -> Vec<Entry> {
        let stages = match mode {
            CacheMode::Min => graph.lineage(),
            CacheMode::Max => (0..graph.stages.len()).collect(),
        };
        let (mut entries, mut tops) = (Vec::new(), BTreeMap::new());
        for index in stages {
            match self.stages.get(&index) {
                Some(finished) => entries.extend(self.of_stage(graph, imports, index, finished)),
                None => entries.extend(self.elsewhere(graph, imports, index, &mut tops)),
            }
        }
        entries
    }

    fn of_stage(&self, graph: &Graph, imports: &Imports, index: usize, finished: &Finished) -> Vec<Entry> {
        let Finished { chain, made } = finished;
        let own = made.iter().filter(|made| !made.is_empty).count();
        let mut next = chain.layers.len() - own;
        let mut entries = Vec::new();
        for (number, made) in made.iter().enumerate() {
            let mut layer = None;
            if !made.is_empty {
                let (diff_id, chain) = (chain.diff_ids[next], chain.layers[next]);
                // One that is in a cache already is not packed once more.
                let source = self.brought.get(&diff_id).cloned().or_else(|| imports.layer(&diff_id, &chain));
                layer = Some(EntryLayer { diff_id, chain, source });
                next += 1;
            }
            let top = next.checked_sub(1).map(|last| chain.layers[last]);
            let step = CachedStep {
                keys: made.keys.clone(),
                text: text_of(graph, index, number),
                created: made.created,
                layer: None,
                chain: top,
            };
            entries.push(Entry { step, layer });
        }
        entries
    }

    fn elsewhere(
        &self,
        graph: &Graph,
        imports: &Imports,
        index: usize,
        tops: &mut BTreeMap<usize, Option<ChainId>>,
    ) -> Vec<Entry> {
        let Some(stage) = graph.stages[index].as_ref() else { return Vec::new() };
        let base = match stage.base {
            Base::Scratch => Some(None),
            Base::Image(image) => Some(graph.images[image].layers.last().copied()),
            Base::Stage(earlier) => match self.stages.get(&earlier) {
                Some(finished) => Some(finished.chain.layers.last().copied()),
                None => tops.get(&earlier).copied(),
            },
        };
        let Some(mut top) = base else { return Vec::new() };
        let mut entries = Vec::new();
        for number in 0..stage.steps.len() {
            let recipe = recipe_of(&self.recipes, index, number);
            let found = recipe.and_then(|recipe| imports.find(&recipe, top.as_ref()));
            let Some(found) = found else { return entries };
            top = found.top(top.as_ref());
            let step = CachedStep {
                keys: found.keys,
                text: text_of(graph, index, number),
                created: found.created,
                layer: None,
                chain: top,
            };
            let layer = found.layer.map(|layer| EntryLayer {
                diff_id: layer.diff_id,
                chain: layer.chain,
                source: Some(layer),
            });
            entries.push(Entry { step, layer });
        }
        tops.insert(index, top);
        entries
    }
}

fn text_of(graph: &Graph, stage: usize, step: usize) -> String {
    let stage = graph.stages[stage].as_ref();
    stage.and_then(|stage| stage.steps.get(step)).map_or(String::new(), |step| step.text.clone())
}

/// The cache that an image has in itself.
///
/// # Errors
/// It has too many steps.
pub fn inline(entries: &Entries, graph: &Graph, target: &Chain) -> Result<serde_json::Value> {
    let steps = entries.list(graph, &Imports::default(), CacheMode::Min).into_iter().map(|entry| {
        let place = |layer: &EntryLayer| target.layers.iter().position(|chain| *chain == layer.chain);
        CachedStep { layer: entry.layer.as_ref().and_then(place), ..entry.step }
    });
    let document = CacheDocument::new(Vec::new(), steps.collect());
    serde_json::from_slice(&document.encode()?).map_err(|error| Error::invalid(format!("cache: {error}")))
}

/// Makes a cache.
///
/// # Errors
/// A layer has gone, or the cache is not taken.
pub fn export(
    store: &Store,
    graph: &Graph,
    (entries, imports): (&Entries, &Imports),
    target: &CacheTarget,
) -> Result<Descriptor> {
    let shelf = &*target.shelf;
    let batch = store.blobs().begin_batch()?;
    let (mut diff_ids, mut layers, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for Entry { mut step, layer } in entries.list(graph, imports, target.mode) {
        if let Some(layer) = layer {
            let place = match diff_ids.iter().position(|known| *known == layer.diff_id) {
                Some(place) => place,
                None => {
                    layers.push(put_layer(store, &batch, shelf, &layer)?);
                    diff_ids.push(layer.diff_id);
                    diff_ids.len() - 1
                }
            };
            step.layer = Some(place);
        }
        steps.push(step);
    }
    let document = CacheDocument::new(diff_ids, steps).encode()?;
    let mut blob = batch.begin()?;
    blob.write_all(&document).and_then(|()| blob.flush()).context(|| "the cache's document")?;
    let config = put(shelf, &blob.complete(), MEDIA_TYPE)?;
    let media_type = Some(media_type::OCI_MANIFEST.to_string());
    let annotations = BTreeMap::new();
    let manifest = Manifest { schema_version: 2, media_type, config, layers, annotations };
    let text = serde_json::to_vec(&manifest).map_err(|error| Error::invalid(format!("manifest: {error}")))?;
    let described = descriptor(Digest::of(&text), text.len() as u64, media_type::OCI_MANIFEST);
    shelf.finish(&described, &text)?;
    Ok(described)
}

/// A layer goes where the cache is, unless it is there.
fn put_layer(store: &Store, batch: &BlobBatch, shelf: &dyn Shelf, layer: &EntryLayer) -> Result<Descriptor> {
    if let Some(source) = &layer.source {
        match put_copy(store, batch, shelf, source) {
            // What a cache does not have as it says is packed from its files, if they are here.
            Err(_) if store.layers().check(&layer.chain).is_ok() => {}
            put => return put,
        }
    }
    let mut encoder = GzEncoder::new(batch.begin()?, Compression::default());
    let named = || format!("layer {}", layer.chain);
    match plain(store, &layer.diff_id) {
        Some(file) => {
            std::io::copy(&mut store.stop().over(file), &mut encoder).context(named)?;
        }
        // Those of stages that were left behind are no blobs.
        None => {
            let path: PathBuf = store.layers().path(&layer.chain);
            let mut hashing = crate::digest::Hashing::new(&mut encoder);
            pack_layer(store, &path, &mut hashing).context(named)?;
            if hashing.hasher().digest() != *layer.diff_id.digest() {
                return Err(Error::corrupt(format!(
                    "{}: its files are not those that it was made of: box builder prune, and build again",
                    named()
                )));
            }
        }
    }
    let blob = encoder.finish().context(named)?.complete();
    let compressed = media_type::compressed(media_type::OCI_LAYER).unwrap_or(media_type::OCI_LAYER);
    put(shelf, &blob, compressed)
}

/// A layer goes there as another cache has it.
fn put_copy(store: &Store, batch: &BlobBatch, shelf: &dyn Shelf, source: &FoundLayer) -> Result<Descriptor> {
    let FoundLayer { blob, shelf: source, .. } = source;
    let named = || format!("layer {}", blob.digest);
    let described = descriptor(blob.digest, blob.size, &blob.media_type);
    if shelf.has(&described)? {
        return Ok(described);
    }
    let mut copy = batch.begin()?;
    match store.blobs().open(&blob.digest) {
        Ok(mut file) => std::io::copy(&mut store.stop().over(&mut file), &mut copy).context(named)?,
        Err(_) => std::io::copy(&mut source.open(blob)?.take(blob.size.saturating_add(1)), &mut copy)
            .context(named)?,
    };
    let copy = copy.complete();
    match copy.digest() == blob.digest {
        true => put(shelf, &copy, &blob.media_type),
        false => Err(Error::corrupt(format!("what came has the digest {}", copy.digest())).context(named())),
    }
}

fn plain(store: &Store, diff_id: &DiffId) -> Option<File> {
    store.blobs().open(diff_id.digest()).ok()
}

fn put(shelf: &dyn Shelf, blob: &CompleteBlob, media_type: &str) -> Result<Descriptor> {
    let described = descriptor(blob.digest(), blob.length(), media_type);
    shelf.put(&described, &blob.open()?)?;
    Ok(described)
}

fn descriptor(digest: Digest, size: u64, media_type: &str) -> Descriptor {
    Descriptor {
        media_type: media_type.to_string(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}
