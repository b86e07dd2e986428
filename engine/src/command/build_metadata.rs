//! `--metadata-file` of `build`: what has come out, in buildx's words.

use std::path::Path;

use serde_json::{Value, json};

use crate::build::Built;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{DOCUMENT_MAX, Document};
use crate::reference::Reference;
use crate::store::Store;

/// Writes it; `pushed` is the manifest's digest in a registry.
///
/// # Errors
/// The disk did not take it.
pub fn write_metadata(
    file: &Path,
    store: &Store,
    built: &Built,
    names: &[Reference],
    pushed: Option<Digest>,
) -> Result<()> {
    let mut told = json!({ "containerimage.config.digest": built.id });
    if let Some(digest) = pushed.or(built.record.manifest) {
        told["containerimage.digest"] = json!(digest);
        told["containerimage.descriptor"] = descriptor(store, digest)?;
    }
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        told["image.name"] = json!(names.join(","));
    }
    let text = serde_json::to_vec_pretty(&told).map_err(|error| Error::invalid(format!("JSON: {error}")))?;
    std::fs::write(file, text).context(|| format!("--metadata-file {}", file.display()))
}

fn descriptor(store: &Store, digest: Digest) -> Result<Value> {
    let text = store.blobs().read(&digest, DOCUMENT_MAX)?;
    let media_type = match Document::parse(&text)? {
        Document::Manifest(manifest) => manifest.media_type,
        Document::Index(index) => index.media_type,
    };
    Ok(json!({"mediaType": media_type, "digest": digest, "size": text.len()}))
}
