//! An image from a registry into the store: checked from its manifest to its last file before a name leads to it.

use super::fetch::{Busy, Fetched, Wanted, fetch, fetch_document};
use super::observer::Observer;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{ChainId, Configuration, DOCUMENT_MAX, Document, LAYERS_MAX, Manifest, Platform};
use crate::reference::{Reference, Repository};
use crate::registries::Endpoint;
use crate::registry::{Access, Purpose, RawDocument, Registry};
use crate::store::{ImageRecord, Lock, Store};

/// What a pull has brought.
#[derive(Debug)]
pub struct Pulled {
    /// The image under its name.
    pub record: ImageRecord,
    /// What the name led to: the digest of an index, or of the manifest.
    pub digest: Digest,
    /// Whether the name led to it before.
    pub was_there: bool,
    /// Devices that an ordinary user's layers cannot have.
    pub devices_left_out: u64,
    /// Keep its layers from being removed.
    pub locks: Vec<Lock>,
}

/// A manifest on its way.
struct Found {
    /// From the name to the manifest, which is the last one.
    documents: Vec<RawDocument>,
    manifest: Manifest,
}

/// Pulls an image. `platform` is what was asked for; without, it is this machine's, or what there is if there is only one.
///
/// # Errors
/// It is not there, not for that platform, or not what its digests say. What has come of its layers stays to go on from.
pub fn pull(
    store: &Store,
    reference: &Reference,
    platform: Option<&Platform>,
    access: &Access,
    observer: &dyn Observer,
) -> Result<Pulled> {
    let named = || reference.familiar();
    let (registry, found) =
        anywhere(store, reference, access, observer, |registry| find(registry, reference, platform))?;
    let manifest = &found.manifest;
    let digests = found.documents.iter().map(|document| document.digest);
    let blobs = manifest.layers.iter().chain([&manifest.config]).map(|blob| blob.digest);
    let _lease = store.lease(&digests.chain(blobs).collect::<Vec<_>>())?;
    let config_text = fetch_document(&registry, &manifest.config, DOCUMENT_MAX).context(named)?;
    let config = Configuration::parse(&config_text).context(named)?;
    if let Some(platform) = platform.filter(|platform| !platform.accepts(&config.platform())) {
        return Err(Error::not_found(format!(
            "{}: it is for {}, and not for {platform}",
            named(),
            config.platform()
        )));
    }
    let ids = check_layers(manifest, &config).context(named)?;
    let wanted: Vec<Wanted<'_>> = manifest
        .layers
        .iter()
        .zip(&config.rootfs.diff_ids)
        .zip(&ids)
        .map(|((blob, diff_id), id)| Wanted { blob, diff_id: *diff_id, id: *id })
        .collect();
    let mut fetched = fetch(store, &registry, &wanted, Busy::Postponed, observer).context(named)?;
    let busy = std::mem::take(&mut fetched.busy);
    for document in &found.documents {
        store.blobs().write(&document.text)?;
    }
    let id = store.blobs().write(&config_text)?.into();
    let (mut locks, mut devices_left_out) = settle(store, fetched)?;
    for digest in busy {
        // One at a time, and nothing is locked that others may be waiting for.
        let layers: Vec<_> = wanted.iter().filter(|layer| layer.blob.digest == digest).cloned().collect();
        let fetched = fetch(store, &registry, &layers, Busy::WaitedFor, observer).context(named)?;
        let (held, devices) = settle(store, fetched)?;
        locks.extend(held);
        devices_left_out += devices;
    }
    let size =
        ids.iter().map(|id| store.layers().record(id).map(|record| record.size)).sum::<Result<u64>>()?;
    let digest = found.documents[0].digest;
    let record = ImageRecord {
        name: reference.to_string(),
        id,
        manifest: found.documents.last().map(|document| document.digest),
        repo_digest: Some(digest),
        layers: ids,
        size,
        created: config.created.clone(),
        platform: config.platform(),
    };
    // Nobody takes the name away meanwhile.
    let _beside = store.beside_removals()?;
    let before = store.images().find(&record.name)?;
    let was_there = before
        .as_ref()
        .is_some_and(|before| before.id == record.id && before.repo_digest == record.repo_digest);
    if before.as_ref() != Some(&record) {
        store.name_image(&record)?;
    }
    store.events().note_image(&record, "pull");
    Ok(Pulled { record, digest, was_there, devices_left_out, locks })
}

/// Pulls all images of a repository, one after the other.
///
/// # Errors
/// There is no such repository, or it has none; one of them cannot be pulled: those before it are there.
pub fn pull_all(
    store: &Store,
    repository: &Repository,
    platform: Option<&Platform>,
    access: &Access,
    observer: &dyn Observer,
) -> Result<Vec<Pulled>> {
    let named = |tag: String| Reference { repository: repository.clone(), tag: Some(tag), digest: None };
    // Which mirrors it has does not depend on the tag.
    let tags = anywhere(store, &named("latest".into()), access, observer, Registry::tags)?.1;
    if tags.is_empty() {
        return Err(Error::not_found(format!("{}: it has no tags", repository.familiar())));
    }
    tags.into_iter()
        .map(|tag| {
            let reference = Reference::parse(&named(tag).to_string())?;
            observer.begin(&reference);
            pull(store, &reference, platform, access, observer)
        })
        .collect()
}

/// Syncs what has come, and then gives it its names.
fn settle(store: &Store, fetched: Fetched) -> Result<(Vec<Lock>, u64)> {
    let Fetched { mut held, layers, blobs, busy: _ } = fetched;
    if layers.is_empty() && blobs.is_empty() {
        return Ok((held, 0));
    }
    store.sync()?;
    for blob in blobs {
        blob.name()?;
    }
    let devices = layers.iter().map(|(_, layer)| layer.devices_left_out).sum();
    for (id, layer) in layers {
        held.push(layer.name(&id)?);
    }
    store.blobs().sync_names()?;
    store.layers().sync_names()?;
    Ok((held, devices))
}

/// At the first of the mirrors where `find` finds something, or else at the registry itself.
fn anywhere<T>(
    store: &Store,
    reference: &Reference,
    access: &Access,
    observer: &dyn Observer,
    find: impl Fn(&Registry) -> Result<T>,
) -> Result<(Registry, T)> {
    let look = |endpoint: &Endpoint| -> Result<(Registry, T)> {
        let registry = Registry::open_until(endpoint, Purpose::Pull, access, store.stop())?;
        let found = find(&registry).context(|| reference.familiar())?;
        Ok((registry, found))
    };
    let sources = access.registries.sources(reference)?;
    let (last, mirrors) = sources.split_last().ok_or_else(|| Error::invalid("no registry"))?;
    for mirror in mirrors {
        match look(mirror) {
            Ok(found) => return Ok(found),
            Err(error) => observer.remark(&format!("mirror {}: {error}", mirror.repository)),
        }
    }
    look(last)
}

/// From the name to the manifest, through one index or two.
fn find(registry: &Registry, reference: &Reference, platform: Option<&Platform>) -> Result<Found> {
    let machine = Platform::of_machine();
    let mut documents = vec![registry.manifest(&reference.target())?];
    loop {
        let Some(last) = documents.last() else { return Err(Error::invalid("no document")) };
        match Document::parse(&last.text)? {
            Document::Manifest(manifest) => {
                manifest.check_formats()?;
                return Ok(Found { documents, manifest });
            }
            Document::Index(index) if documents.len() < 3 => {
                let chosen = index.select(platform.unwrap_or(&machine))?;
                documents.push(registry.manifest(&chosen.digest.to_string())?);
            }
            Document::Index(_) => return Err(Error::corrupt("an index of an index of an index")),
        }
    }
}

fn check_layers(manifest: &Manifest, config: &Configuration) -> Result<Vec<ChainId>> {
    let (found, wanted) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if found != wanted {
        return Err(Error::corrupt(format!("its manifest has {found} layers, its configuration {wanted}")));
    }
    if found > LAYERS_MAX {
        return Err(Error::invalid(format!("{found} layers: overlayfs takes {LAYERS_MAX} at most")));
    }
    Ok(ChainId::of_layers(&config.rootfs.diff_ids))
}
