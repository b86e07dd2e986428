//! `--metadata-file` of `build`: what has come out, in buildx's words.

use std::path::Path;

use serde_json::{Value, json};

use crate::build::Built;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{DOCUMENT_MAX, Document};
use crate::output::write_output;
use crate::reference::Reference;
use crate::store::Store;

/// Writes it: an empty object if no image has come out; `pushed` is the manifest's digest in a registry.
///
/// # Errors
/// The disk did not take it.
pub fn write_metadata(
    file: &Path,
    store: &Store,
    built: Option<&Built>,
    names: &[Reference],
    pushed: Option<Digest>,
) -> Result<()> {
    let mut told = json!({});
    if let Some(built) = built {
        told["containerimage.config.digest"] = json!(built.id);
    }
    if let Some(digest) = pushed.or(built.and_then(|built| built.record.manifest)) {
        told["containerimage.digest"] = json!(digest);
        told["containerimage.descriptor"] = descriptor(store, digest)?;
    }
    if built.is_some() && !names.is_empty() {
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        told["image.name"] = json!(names.join(","));
    }
    let text = serde_json::to_vec_pretty(&told).map_err(|error| Error::invalid(format!("JSON: {error}")))?;
    write_output("--metadata-file ", file, |out| Ok(out.write_all(&text)?))
}

fn descriptor(store: &Store, digest: Digest) -> Result<Value> {
    let text = store.blobs().read(&digest, DOCUMENT_MAX)?;
    let media_type = match Document::parse(&text)? {
        Document::Manifest(manifest) => manifest.media_type,
        Document::Index(index) => index.media_type,
    };
    Ok(json!({"mediaType": media_type, "digest": digest, "size": text.len()}))
}
