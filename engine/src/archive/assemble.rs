//! An image from its configuration and blobs of its layers that are here: unpacked, synced, named.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::media_type::{DOCKER_CONFIG, DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST};
use crate::image::{ChainId, Configuration, Descriptor, LAYERS_MAX, Manifest, media_type};
use crate::store::{CompleteBlob, ImageRecord, Lock, Store, UnpackedLayer};

/// The layers of an image on their way: named when all of them are synced.
#[derive(Default)]
pub struct Assembly {
    /// All of them.
    known: BTreeSet<ChainId>,
    held: Vec<Lock>,
    layers: Vec<(ChainId, UnpackedLayer)>,
}

impl Assembly {
    /// Unpacks the layers of a configuration that are not there; `open` opens the blob of one, by its number.
    ///
    /// # Errors
    /// A blob is missing, or is not what the configuration says.
    pub fn unpack<R: Read + Send>(
        &mut self,
        store: &Store,
        config: &Configuration,
        mut open: impl FnMut(usize) -> Result<R>,
    ) -> Result<Vec<ChainId>> {
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() > LAYERS_MAX {
            let count = diff_ids.len();
            return Err(Error::invalid(format!("{count} layers: overlayfs takes {LAYERS_MAX} at most")));
        }
        let ids = ChainId::of_layers(diff_ids);
        for (index, (id, diff_id)) in ids.iter().zip(diff_ids).enumerate() {
            if !self.known.insert(*id) {
                continue;
            }
            match store.layers().hold(id)? {
                Some(lock) => self.held.push(lock),
                None => {
                    let unpacked = store.unpack(&mut open(index)?, Some(diff_id));
                    self.layers.push((*id, unpacked.context(|| format!("layer {diff_id}"))?));
                }
            }
        }
        Ok(ids)
    }

    /// Takes a layer in that is unpacked already.
    pub fn take(&mut self, id: ChainId, layer: UnpackedLayer) {
        self.layers.push((id, layer));
    }

    /// Syncs everything, and gives layers and blobs their names. The locks keep the layers from being removed.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn settle(self, store: &Store, blobs: Vec<CompleteBlob>) -> Result<Vec<Lock>> {
        let Assembly { mut held, layers, known: _ } = self;
        store.sync()?;
        for blob in blobs {
            blob.name()?;
        }
        for (id, layer) in layers {
            held.push(layer.name(&id)?);
        }
        store.blobs().sync_names()?;
        store.layers().sync_names()?;
        Ok(held)
    }
}

/// The bytes of all files of layers that are here.
///
/// # Errors
/// One is not.
pub fn size(store: &Store, ids: &[ChainId]) -> Result<u64> {
    ids.iter().map(|id| store.layers().record(id).map(|record| record.size)).sum()
}

/// What is known of an image whose layers and documents are here.
///
/// # Errors
/// A layer is not.
pub fn record(
    store: &Store,
    name: String,
    config_text: &[u8],
    config: &Configuration,
    manifest: Digest,
    layers: Vec<ChainId>,
) -> Result<ImageRecord> {
    Ok(ImageRecord {
        name,
        id: Digest::of(config_text).into(),
        manifest: Some(manifest),
        repo_digest: None,
        size: size(store, &layers)?,
        layers,
        created: config.created.clone(),
        platform: config.platform(),
    })
}

/// The manifest for a configuration and layers that came without one. Docker's, which nobody refuses.
///
/// # Errors
/// It cannot be written as JSON.
pub fn manifest(config_text: &[u8], layers: Vec<Descriptor>) -> Result<Vec<u8>> {
    annotated_manifest(config_text, layers, &BTreeMap::new())
}

/// The same with annotations: OCI's, if there are any.
///
/// # Errors
/// It cannot be written as JSON.
pub fn annotated_manifest(
    config_text: &[u8],
    mut layers: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let (media_type, config_type) = match annotations.is_empty() {
        true => (DOCKER_MANIFEST, DOCKER_CONFIG),
        false => (OCI_MANIFEST, OCI_CONFIG),
    };
    if !annotations.is_empty() {
        for layer in &mut layers {
            layer.media_type = media_type::of_oci(&layer.media_type).to_string();
        }
    }
    let config = Descriptor {
        media_type: config_type.to_string(),
        digest: Digest::of(config_text),
        size: config_text.len() as u64,
        platform: None,
        annotations: Default::default(),
    };
    let (media_type, annotations) = (Some(media_type.to_string()), annotations.clone());
    let manifest = Manifest { schema_version: 2, media_type, config, layers, annotations };
    serde_json::to_vec_pretty(&manifest).map_err(|error| Error::invalid(format!("manifest: {error}")))
}

/// A layer as a manifest names it, by how it is compressed.
pub fn layer(digest: Digest, size: u64, beginning: &[u8]) -> Descriptor {
    let media_type = match beginning {
        [0x1f, 0x8b, ..] => media_type::DOCKER_LAYER,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => media_type::DOCKER_ZSTD_LAYER,
        _ => media_type::DOCKER_PLAIN_LAYER,
    };
    Descriptor {
        media_type: media_type.to_string(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    }
}
