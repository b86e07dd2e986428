//! Images that lie where caches do: in layouts, and in stores of clients.

use std::sync::Arc;

use super::Shelf;
use super::import::{FoundLayer, Need, bring, read_document};
use crate::error::{Context, Error, Result};
use crate::image::{ChainId, Configuration, Document, Manifest, Platform};
use crate::store::{ImageRecord, Store};

/// An image of a layout for a platform, by its id.
///
/// # Errors
/// There is none, or it is not what its digests say.
pub fn import_image(store: &Store, shelf: Arc<dyn Shelf>, platform: &Platform) -> Result<ImageRecord> {
    let name = shelf.name();
    import(store, shelf, platform).context(|| name)
}

fn import(store: &Store, shelf: Arc<dyn Shelf>, platform: &Platform) -> Result<ImageRecord> {
    let (text, manifest) = manifest(&*shelf, platform)?;
    let config_text = read_document(&*shelf, &manifest.config)?;
    let config = Configuration::parse(&config_text)?;
    let (found, wanted) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if found != wanted {
        return Err(Error::corrupt(format!("its manifest has {found} layers, its configuration {wanted}")));
    }
    let _lease = store.lease(&[crate::Digest::of(&text), crate::Digest::of(&config_text)])?;
    let layers = ChainId::of_layers(&config.rootfs.diff_ids);
    let mut brought = Vec::new();
    for ((blob, diff_id), chain) in manifest.layers.iter().zip(&config.rootfs.diff_ids).zip(&layers) {
        let (blob, shelf) = (blob.clone(), shelf.clone());
        let layer = FoundLayer { diff_id: *diff_id, chain: *chain, blob, shelf };
        brought.push(bring(store, &layer, Need::ThisBlob, &|| false)?);
    }
    let manifest = store.blobs().write(&text)?;
    let id = store.blobs().write(&config_text)?;
    let size =
        layers.iter().map(|id| store.layers().record(id).map(|record| record.size)).sum::<Result<u64>>()?;
    let record = ImageRecord {
        name: id.to_string(),
        id: id.into(),
        manifest: Some(manifest),
        repo_digest: None,
        size,
        layers,
        created: config.created.clone(),
        platform: config.platform(),
    };
    store.name_image(&record)?;
    Ok(record)
}

/// Through one index or two.
fn manifest(shelf: &dyn Shelf, platform: &Platform) -> Result<(Vec<u8>, Manifest)> {
    let mut text = shelf.document(None)?;
    for _ in 0..3 {
        match Document::parse(&text)? {
            Document::Manifest(manifest) => {
                manifest.check_formats()?;
                return Ok((text, manifest));
            }
            Document::Index(index) => text = shelf.document(Some(index.select(platform)?))?,
        }
    }
    Err(Error::corrupt("an index of an index of an index"))
}
