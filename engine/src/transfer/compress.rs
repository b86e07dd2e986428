//! Layers that are here as plain tars, as `load` and `import` may bring them, become gzip before they go to a registry.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::{Context, Error, Result};
use crate::image::{Descriptor, Manifest, media_type};
use crate::store::{BlobBatch, CompleteBlob, Lease, Store};

/// A manifest whose plain layers have been replaced by compressed ones, which are here now, and what keeps those.
pub struct Compressed {
    /// It as it is to be.
    pub manifest: Manifest,
    /// It as it is written.
    pub text: Vec<u8>,
    _lease: Lease,
}

/// Compresses the layers of a manifest that are not; `None` if all are.
///
/// # Errors
/// A layer is not here, or the disk did not take it.
pub fn compress(store: &Store, manifest: &Manifest) -> Result<Option<Compressed>> {
    if !manifest.layers.iter().any(|layer| media_type::compressed(&layer.media_type).is_some()) {
        return Ok(None);
    }
    let mut manifest = manifest.clone();
    let (batch, mut blobs) = (store.blobs().begin_batch()?, Vec::new());
    for layer in &mut manifest.layers {
        if let Some(media_type) = media_type::compressed(&layer.media_type) {
            let blob = compress_blob(store, &batch, layer)?;
            (layer.digest, layer.size) = (blob.digest(), blob.length());
            layer.media_type = media_type.to_string();
            blobs.push(blob);
        }
    }
    let text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| Error::invalid(format!("manifest: {error}")))?;
    let mut digests: Vec<_> = manifest.layers.iter().map(|layer| layer.digest).collect();
    digests.push(crate::Digest::of(&text));
    let lease = store.lease(&digests)?;
    store.sync()?;
    for blob in blobs {
        blob.name()?;
    }
    store.blobs().sync_names()?;
    store.blobs().write(&text)?;
    Ok(Some(Compressed { manifest, text, _lease: lease }))
}

fn compress_blob(store: &Store, batch: &BlobBatch, layer: &Descriptor) -> Result<CompleteBlob> {
    let named = || format!("compress the layer {}", layer.digest);
    let mut plain = store.blobs().open(&layer.digest)?;
    let mut encoder = GzEncoder::new(batch.begin()?, Compression::default());
    std::io::copy(&mut store.stop().over(&mut plain), &mut encoder).context(named)?;
    encoder.flush().and_then(|()| encoder.finish()).context(named).map(|blob| blob.complete())
}
