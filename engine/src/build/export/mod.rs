//! From the layers of the target to an image: its configuration, its history, its manifest, its names.

mod cache;

use std::collections::BTreeMap;
use std::io::Write;

pub use cache::{Entries, export as export_cache};

use cache::inline;

use super::cache::Brought;
use super::event::Vertex;
use super::execute::{Chain, Completed, Finished, Made, pack_layer};
use super::graph::{Base, Graph};
use super::options::BuildOptions;
use crate::archive::{descriptors, layer_descriptor, write_manifest};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{ChainId, Configuration, Descriptor, History, ImageId, media_type};
use crate::reference::Reference;
use crate::store::{BlobBatch, CompleteBlob, ImageRecord, Store};
use crate::time::{Moment, rfc3339};

/// An image that has been made.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its id.
    pub id: ImageId,
    /// What is known of it.
    pub record: ImageRecord,
    /// The same by each of its names; by its id, if it has none.
    pub named: Vec<ImageRecord>,
}

/// What BuildKit says of itself in the history.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// Makes an image of what was carried out.
///
/// # Errors
/// The disk did not take it.
pub fn export(
    store: &Store,
    graph: &Graph,
    completed: Completed,
    options: &BuildOptions,
    vertex: &Vertex<'_>,
) -> Result<Built> {
    let entries = options.caches.is_inline.then(|| Entries::of(&completed));
    let Completed { stages, is_new: _, blobs, mut kept, recipes: _, brought } = completed;
    let finished =
        |index: &usize| stages.get(index).ok_or_else(|| Error::invalid("a stage was not carried out"));
    let target = finished(&graph.target)?;
    let mut config = configuration(graph, options, |index| finished(&index).map(|done| done.as_ref()))?;
    config.cache = entries.map(|entries| inline(&entries, graph, &target.chain)).transpose()?;
    let text = config.encode()?;
    // Before it is looked which blobs are there.
    let below = target.chain.image.map_or(Ok(None), |id| descriptors(store, &id))?;
    let below = below.iter().flatten().map(|layer| layer.digest);
    let tars: Vec<Digest> = target.chain.diff_ids.iter().map(|id| *id.digest()).chain(below).collect();
    let _tars = store.lease(&tars)?;
    let manifest = match known_layers(store, graph, &target.chain)? {
        // An image that came as a bare tar has no blobs to be pushed, and no manifest.
        None => {
            kept.clear();
            None
        }
        Some(below) => {
            vertex.note("exporting layers");
            let layers = own_layers(store, (&target.chain, below), (&blobs, &brought), &mut kept)?;
            Some(write_manifest(&text, layers, &options.annotations)?)
        }
    };
    let documents = [Some(Digest::of(&text)), manifest.as_deref().map(Digest::of)];
    let _documents = store.lease(&documents.into_iter().flatten().collect::<Vec<_>>())?;
    if !kept.is_empty() {
        store.sync()?;
        kept.into_iter().try_for_each(CompleteBlob::name)?;
        store.blobs().sync_names()?;
    }
    if let Some(manifest) = &manifest {
        store.blobs().write(manifest)?;
    }
    let id: ImageId = store.blobs().write(&text)?.into();
    vertex.note(format!("writing image {id}"));
    let layers = target.chain.layers.clone();
    let size = layers
        .iter()
        .map(|layer| store.layers().record(layer).map(|record| record.size))
        .sum::<Result<u64>>()?;
    let mut record = ImageRecord {
        name: id.to_string(),
        id,
        manifest: manifest.as_deref().map(Digest::of),
        repo_digest: None,
        size,
        layers,
        created: config.created.clone(),
        platform: config.platform(),
    };
    store.events().note_image(&record, "create");
    let names: Vec<String> = options.tags.iter().map(Reference::to_string).collect();
    let mut named = Vec::new();
    if names.is_empty() {
        store.name_image(&record)?;
        named.push(record.clone());
    }
    for name in names {
        vertex.note(format!("naming to {name}"));
        record.name = name;
        store.name_image(&record)?;
        store.events().note_image(&record, "tag");
        named.push(record.clone());
    }
    Ok(Built { id, record, named })
}

/// The layers of the image that the chain begins with, as its manifest names them.
fn known_layers(store: &Store, graph: &Graph, chain: &Chain) -> Result<Option<Vec<Descriptor>>> {
    let Some(id) = &chain.image else { return Ok(Some(Vec::new())) };
    let below = graph.images.iter().find(|image| image.id == *id).map_or(0, |image| image.layers.len());
    let known = descriptors(store, id)?.filter(|known| known.len() == below);
    // What has gone cannot be pushed any more.
    Ok(known.filter(|known| known.iter().all(|layer| store.blobs().has(&layer.digest))))
}

/// Tars of layers that were made before, and are no blobs any more, are packed once more.
fn own_layers(
    store: &Store,
    (chain, below): (&Chain, Vec<Descriptor>),
    (blobs, brought): (&BlobBatch, &BTreeMap<ChainId, Brought>),
    kept: &mut Vec<CompleteBlob>,
) -> Result<Vec<Descriptor>> {
    let mut layers = below;
    let first = layers.len();
    for (layer, diff_id) in chain.layers.iter().zip(&chain.diff_ids).skip(first) {
        let digest = *diff_id.digest();
        // What has come from a cache stays as it came.
        let brought = brought.get(layer).map(|brought| &brought.layer.blob);
        if let Some(blob) = brought.filter(|blob| store.blobs().has(&blob.digest)) {
            layers.push(layer_of(blob));
            continue;
        }
        let mine = kept.iter().find(|blob| blob.digest() == digest).map(CompleteBlob::length);
        let length = match mine.or_else(|| store.blobs().length(&digest)) {
            Some(length) => length,
            None => {
                let mut blob = blobs.begin()?;
                let named = || format!("layer {layer}");
                let packed = pack_layer(store, &store.layers().path(layer), &mut blob);
                packed.and_then(|()| Ok(blob.flush()?)).context(named)?;
                let blob = blob.complete();
                if blob.digest() != digest {
                    return Err(Error::corrupt(format!(
                        "{}: its files are not those that it was made of: box builder prune, and build again",
                        named()
                    )));
                }
                let length = blob.length();
                kept.push(blob);
                length
            }
        };
        layers.push(layer_descriptor(digest, length, &[]));
    }
    Ok(layers)
}

/// A layer as manifests of this format name it.
fn layer_of(blob: &Descriptor) -> Descriptor {
    let media_type = match blob.media_type.as_str() {
        known if known.ends_with("+zstd") || known.ends_with(".zstd") => media_type::DOCKER_ZSTD_LAYER,
        known if known.ends_with("gzip") => media_type::DOCKER_LAYER,
        _ => media_type::DOCKER_PLAIN_LAYER,
    };
    Descriptor {
        media_type: media_type.to_string(),
        platform: None,
        annotations: BTreeMap::new(),
        ..blob.clone()
    }
}

fn configuration<'f>(
    graph: &Graph,
    options: &BuildOptions,
    finished: impl Fn(usize) -> Result<&'f Finished>,
) -> Result<Configuration> {
    let stage = graph.stages[graph.target].as_ref().ok_or_else(|| Error::invalid("no stage"))?;
    let mut config = stage.config.clone();
    config.config.labels.extend(options.labels.clone());
    config.rootfs.diff_ids.clone_from(&finished(graph.target)?.chain.diff_ids);
    // From the target down to the image.
    let (mut own, mut at) = (Vec::new(), graph.target);
    loop {
        let stage = graph.stages[at].as_ref().ok_or_else(|| Error::invalid("no stage"))?;
        let made = &finished(at)?.made;
        let lines = stage.history.iter().map(|line| {
            let made: Option<&Made> = line.step.and_then(|step| made.get(step));
            History {
                created: made.map(|made| rfc3339(made.created)),
                created_by: Some(line.created_by.clone()),
                comment: Some(COMMENT.to_string()),
                empty_layer: made.is_none_or(|made| made.is_empty),
            }
        });
        own.splice(0..0, lines.collect::<Vec<_>>());
        match stage.base {
            Base::Stage(earlier) => at = earlier,
            Base::Image(_) | Base::Scratch => break,
        }
    }
    config.history.extend(own);
    date(&mut config.history);
    let epoch = options.epoch.map(|seconds| rfc3339(Moment::of_seconds(seconds)));
    let last = config.history.last().and_then(|line| line.created.clone());
    config.created = epoch.or(last).or(config.created);
    Ok(config)
}

/// What makes no layer has the time of the layer before it, or of the first one behind.
fn date(history: &mut [History]) {
    let (mut created, mut has_gap) = (None, false);
    for line in history.iter() {
        match &line.created {
            Some(time) => {
                created = Some(time.clone());
                if has_gap {
                    break;
                }
            }
            None => has_gap = true,
        }
    }
    let mut has_gap = false;
    for line in history {
        match &line.created {
            Some(time) if has_gap => created = Some(time.clone()),
            Some(_) => {}
            None => {
                has_gap = true;
                line.created.clone_from(&created);
            }
        }
    }
}
