//! Images into one tar, which is an OCI layout and Docker's format at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::{Value, json};

use super::contents::blob_path;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{DOCUMENT_MAX, Descriptor, Document, Manifest, media_type};
use crate::layer::tar::{Entry, EntryKind, Writer};
use crate::reference::Reference;
use crate::store::{ImageRecord, Store, WITHOUT_MANIFEST};

/// The annotations by which others find names in a layout.
pub const FULL_NAME: &str = "io.containerd.image.name";
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image that is to be written, with all its names.
struct Saved {
    digest: Digest,
    length: u64,
    manifest: Manifest,
    records: Vec<ImageRecord>,
}

/// Writes images with their names.
///
/// # Errors
/// A blob of one is not here; it could not be written.
pub fn save(store: &Store, records: &[ImageRecord], out: &mut dyn Write) -> Result<()> {
    let images = images(store, records)?;
    let blobs: BTreeSet<Digest> = images
        .iter()
        .flat_map(|image| {
            let parts = image.manifest.layers.iter().chain([&image.manifest.config]).map(|blob| blob.digest);
            parts.chain([image.digest])
        })
        .collect();
    let _lease = store.lease(&blobs.iter().copied().collect::<Vec<_>>())?;
    for blob in &blobs {
        if !store.blobs().has(blob) {
            return Err(Error::not_found(format!(
                "blob {blob}: it is not here: box pull the image again; one of an OCI layout: tar -C FOLDER -c . | box load"
            )));
        }
    }
    let file = |path: &str, size: u64| Entry::plain(path, EntryKind::File, 0o644, size);
    let mut tar = Writer::new(out);
    for folder in ["blobs", "blobs/sha256"] {
        tar.entry(&Entry::plain(folder, EntryKind::Folder, 0o755, 0))?;
    }
    for blob in &blobs {
        let content = store.blobs().open(blob)?;
        let length = content.metadata().context(|| format!("blob {blob}"))?.len();
        tar.file(&file(&blob_path(blob), length), content)?;
    }
    let documents = [
        ("index.json", index(&images)),
        ("manifest.json", docker_manifest(&images)),
        ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
    ];
    for (name, document) in documents {
        let text = document.to_string();
        tar.file(&file(name, text.len() as u64), text.as_bytes())?;
    }
    tar.finish()
}

fn images(store: &Store, records: &[ImageRecord]) -> Result<Vec<Saved>> {
    let mut images: Vec<Saved> = Vec::new();
    for record in records {
        let named = || format!("image {}", record.name);
        let digest =
            record.manifest.ok_or_else(|| Error::invalid(format!("{}: {WITHOUT_MANIFEST}", named())))?;
        if let Some(image) = images.iter_mut().find(|image| image.digest == digest) {
            image.records.push(record.clone());
            continue;
        }
        let text = store.blobs().read(&digest, DOCUMENT_MAX).context(named)?;
        let Document::Manifest(manifest) = Document::parse(&text).context(named)? else {
            return Err(Error::corrupt(format!("{}: its manifest is an index", named())));
        };
        images.push(Saved { digest, length: text.len() as u64, manifest, records: vec![record.clone()] });
    }
    Ok(images)
}

/// One entry for each name, and one for an image without any.
fn index(images: &[Saved]) -> Value {
    let entry = |image: &Saved, annotations: BTreeMap<String, String>| {
        let media_type =
            image.manifest.media_type.clone().unwrap_or_else(|| media_type::OCI_MANIFEST.to_string());
        let platform = image.records.first().map(|record| record.platform.clone());
        Descriptor { media_type, digest: image.digest, size: image.length, platform, annotations }
    };
    let mut manifests = Vec::new();
    for image in images {
        let names = image.records.iter().filter_map(ImageRecord::reference);
        // The index of a registry that another digest may be of is not here.
        let is_true = |name: &Reference| name.digest.is_none_or(|digest| digest == image.digest);
        let names: Vec<_> = names.filter(is_true).collect();
        for name in &names {
            let mut annotations = BTreeMap::from([(FULL_NAME.to_string(), name.to_string())]);
            annotations.extend(name.tag.clone().map(|tag| (REF_NAME.to_string(), tag)));
            manifests.push(entry(image, annotations));
        }
        if names.is_empty() {
            manifests.push(entry(image, BTreeMap::new()));
        }
    }
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests})
}

fn docker_manifest(images: &[Saved]) -> Value {
    let one = |image: &Saved| {
        let names = image.records.iter().filter_map(ImageRecord::reference);
        let tags: Vec<String> =
            names.filter(|name| name.digest.is_none()).map(|name| name.familiar()).collect();
        let layers: Vec<String> =
            image.manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
        json!({"Config": blob_path(&image.manifest.config.digest), "RepoTags": tags, "Layers": layers})
    };
    images.iter().map(one).collect()
}
