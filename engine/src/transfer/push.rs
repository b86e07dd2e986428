//! An image from the store into a registry, as it is: manifest and layers keep their digests, unless a layer is a plain tar.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::CONNECTIONS;
use super::compress::compress;
use super::observer::{Observer, Step};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{DOCUMENT_MAX, Descriptor, Document, media_type};
use crate::reference::Reference;
use crate::registry::{Access, Purpose, Registry, Uploaded};
use crate::store::{ImageRecord, Store, WITHOUT_MANIFEST};
use crate::thread::spawn;

/// Pushes an image, and notes what it is there. The result is the manifest's digest and length.
///
/// # Errors
/// The registry does not take it, or a layer is not here any more.
pub fn push(
    store: &Store,
    record: &ImageRecord,
    reference: &Reference,
    access: &Access,
    observer: &dyn Observer,
) -> Result<(Digest, u64)> {
    let named = || reference.familiar();
    let tag = reference.tag.as_ref().filter(|_| reference.digest.is_none());
    let tag = tag.ok_or_else(|| Error::invalid(format!("{}: a tag is pushed, and no digest", named())))?;
    let manifest =
        record.manifest.ok_or_else(|| Error::invalid(format!("{}: {WITHOUT_MANIFEST}", named())))?;
    let text = store.blobs().read(&manifest, DOCUMENT_MAX).context(named)?;
    let Document::Manifest(document) = Document::parse(&text).context(named)? else {
        return Err(Error::corrupt(format!("{}: its manifest is an index", named())));
    };
    let blobs = document.layers.iter().chain([&document.config]).map(|blob| blob.digest);
    let _lease = store.lease(&blobs.chain([manifest]).collect::<Vec<_>>())?;
    let compressed = compress(store, &document).context(named)?;
    let (document, text) = match &compressed {
        Some(compressed) => (&compressed.manifest, &compressed.text),
        None => (&document, &text),
    };
    let endpoint = access.registries.endpoint(reference)?;
    let registry = Registry::open_until(&endpoint, Purpose::Push, access, store.stop())?;
    let source = mount_source(store, record, reference)?;
    upload_layers(store, &registry, &document.layers, source.as_deref(), observer).context(named)?;
    let config = store.blobs().open(&document.config.digest)?;
    registry.upload(&document.config.digest, &config, source.as_deref(), &|_| Ok(())).context(named)?;
    let media_type = document.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
    let digest = registry.put_manifest(tag, media_type, text).context(named)?;
    note(store, record, digest)?;
    store.events().note_image(&ImageRecord { name: reference.to_string(), ..record.clone() }, "push");
    Ok((digest, text.len() as u64))
}

/// The manifest is another one where layers had to be compressed.
fn note(store: &Store, record: &ImageRecord, digest: Digest) -> Result<()> {
    // Whoever has taken the name away meanwhile, or given it to another image, is right.
    let _beside = store.beside_removals()?;
    match store.images().find(&record.name)?.filter(|now| now.id == record.id) {
        Some(now) => {
            store.name_image(&ImageRecord { manifest: Some(digest), repo_digest: Some(digest), ..now })
        }
        None => Ok(()),
    }
}

/// Another repository of the registry that the image came from: its blobs need not be sent once more.
fn mount_source(store: &Store, record: &ImageRecord, reference: &Reference) -> Result<Option<String>> {
    let names = store
        .images()
        .list()?
        .into_iter()
        .filter(|other| other.id == record.id && other.repo_digest.is_some());
    let repositories = names.filter_map(|other| other.reference()).map(|name| name.repository);
    let mut others = repositories.filter(|other| {
        other.registry == reference.repository.registry && other.path != reference.repository.path
    });
    Ok(others.next().map(|repository| repository.path))
}

fn upload_layers(
    store: &Store,
    registry: &Registry,
    layers: &[Descriptor],
    source: Option<&str>,
    observer: &dyn Observer,
) -> Result<()> {
    for layer in layers {
        observer.note(&layer.digest, Step::Waiting);
    }
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Ok(()));
    let work = || {
        while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let uploaded = upload_layer(store, registry, layer, source, observer);
            // What it says of an end is not the reason.
            if let Err(error) = store.stop().check().and(uploaded) {
                next.store(layers.len(), Ordering::Relaxed);
                let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                if outcome.is_ok() {
                    *outcome = Err(error);
                }
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = (0..CONNECTIONS.min(layers.len())).map_while(|_| spawn(scope, work).ok());
        if workers.count() == 0 {
            work();
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn upload_layer(
    store: &Store,
    registry: &Registry,
    layer: &Descriptor,
    source: Option<&str>,
    observer: &dyn Observer,
) -> Result<()> {
    let Descriptor { digest, size, .. } = layer;
    if !store.blobs().has(digest) {
        return match registry.has_blob(digest)? {
            true => {
                observer.note(digest, Step::Present);
                Ok(())
            }
            false => Err(Error::not_found(format!(
                "layer {digest}: it is unpacked here, but its blob is not: box pull the image again; one of an OCI layout: tar -C FOLDER -c . | box load"
            ))),
        };
    }
    let file = store.blobs().open(digest)?;
    let done = AtomicU64::new(0);
    let look = |length: u64| {
        let done = done.fetch_add(length, Ordering::Relaxed) + length;
        observer.note(digest, Step::Moving { done: done.min(*size), total: *size });
        store.stop().check()
    };
    let step = match registry.upload(digest, &file, source, &look)? {
        Uploaded::Already => Step::Present,
        Uploaded::Mounted => Step::Mounted,
        Uploaded::Sent => Step::Pushed,
    };
    observer.note(digest, step);
    Ok(())
}
