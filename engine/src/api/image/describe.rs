//! What is known of images: `json`, `history`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::query::Filters;
use crate::command::{ImageFilter, describe_image};
use crate::image::ImageId;
use crate::order;
use crate::store::{ImageRecord, Store};
use crate::thread::by_shares;
use crate::time::parse_rfc3339;

/// Which images there are.
pub fn list(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let query = &exchange.head.query;
    let filters = query.filters(&["before", "since", "reference", "label", "dangling", "until", "label!"])?;
    let accepted = accepted(&daemon.store, &filters, query.text("filter"))?;
    let mut images = documents(daemon, &accepted)?;
    order::sort_by_key(&mut images, |image| std::cmp::Reverse(image["Created"].as_i64()));
    Ok(Reply::Json(200, Value::Array(images)))
}

/// The images that filters mean.
fn accepted(store: &Store, filters: &Filters, pattern: Option<&str>) -> Outcome<Vec<ImageRecord>> {
    if let Some(name) = ["until", "label!"].into_iter().find(|name| filters.has(name)) {
        return Err(Fault::invalid(format!("invalid filter '{name}': images are listed without it")));
    }
    filters.flag("dangling")?;
    let texts: Vec<String> = ["before", "since", "reference", "label", "dangling"]
        .into_iter()
        .flat_map(|name| filters.values(name).map(move |value| format!("{name}={value}")))
        .collect();
    let filter = ImageFilter::parse(store, &texts, pattern)?;
    let mut accepted = Vec::new();
    for record in store.images().list()? {
        // One that was made from a file for a single container has no name and no manifest.
        if filter.accepts(store, &record)? {
            accepted.push(record);
        }
    }
    Ok(accepted)
}

/// An entry for each image, with all its names.
///
/// # Errors
/// A record cannot be read.
pub fn documents(daemon: &Daemon, records: &[ImageRecord]) -> crate::Result<Vec<Value>> {
    let Daemon { store, known, .. } = daemon;
    let mut by_id: BTreeMap<ImageId, Vec<&ImageRecord>> = BTreeMap::new();
    for record in records {
        by_id.entry(record.id).or_default().push(record);
    }
    let mut containers: BTreeMap<ImageId, u64> = BTreeMap::new();
    for container in known.read(store)?.containers {
        if let Some(id) = container.record.image_id() {
            *containers.entry(*id).or_default() += 1;
        }
    }
    let document = |(id, records): &(ImageId, Vec<&ImageRecord>)| {
        let (tags, digests) = names(records.iter().copied());
        let first = records[0];
        let labels = store.load(first).map(|image| image.config.config.labels).unwrap_or_default();
        json!({
            "Id": id,
            "ParentId": "",
            "RepoTags": tags,
            "RepoDigests": digests,
            "Created": first.moment().map_or(0, |moment| moment.0 / 1_000_000_000),
            "Size": first.size,
            "SharedSize": -1,
            "Containers": containers.get(id).copied().unwrap_or(0),
            "Labels": labels,
        })
    };
    Ok(by_shares(&by_id.into_iter().collect::<Vec<_>>(), document))
}

/// Tags and digests by which an image is found.
fn names<'r>(records: impl Iterator<Item = &'r ImageRecord>) -> (Vec<String>, BTreeSet<String>) {
    let (mut tags, mut digests) = (Vec::new(), BTreeSet::new());
    for record in records {
        let Some(name) = record.reference() else { continue };
        if name.tag.is_some() && name.digest.is_none() {
            tags.push(name.familiar());
        }
        digests.extend(record.repo_digest.map(|digest| format!("{}@{digest}", name.repository.familiar())));
    }
    (tags, digests)
}

/// Everything that is known of one.
pub fn inspect(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let record = daemon.image(exchange.parameter(0))?;
    let mut document = describe_image(&daemon.store, &record)?;
    let comment = daemon.store.load(&record)?.config.history.last().and_then(|step| step.comment.clone());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let layers = document["GraphDriver"]["Data"]["Layers"].as_array().cloned().unwrap_or_default();
    let lower: Vec<&str> = layers.iter().rev().filter_map(Value::as_str).collect();
    document["GraphDriver"] = json!({"Name": "overlay2", "Data": {"LowerDir": lower.join(":")}});
    document["Comment"] = json!(comment.unwrap_or_default());
    document["Parent"] = json!("");
    document["DockerVersion"] = json!("");
    document["Metadata"] = json!({"LastTagTime": record.created});
    if let Some(members) = document.as_object_mut() {
        members.remove("Manifest");
        members.retain(|name, value| name != "Variant" || !value.is_null());
    }
    if let Some(digest) = record.manifest {
        let size = daemon.store.blobs().length(&digest).unwrap_or(0);
        document["Descriptor"] = json!({"mediaType": media_type, "digest": digest, "size": size});
    }
    Ok(Reply::Json(200, document))
}

/// How it was made, the last step first.
pub fn history(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let store = &daemon.store;
    let record = daemon.image(exchange.parameter(0))?;
    let config = store.load(&record)?.config;
    let mut layers = record.layers.iter();
    let mut steps = Vec::new();
    for step in &config.history {
        let layer = if step.empty_layer { None } else { layers.next() };
        let size = layer.map_or(Ok(0), |layer| store.layers().record(layer).map(|record| record.size))?;
        let created = step.created.as_deref().and_then(parse_rfc3339);
        steps.push(json!({
            "Id": "<missing>",
            "Created": created.map_or(0, |moment| moment.0 / 1_000_000_000),
            "CreatedBy": step.created_by.clone().unwrap_or_default(),
            "Tags": null,
            "Size": size,
            "Comment": step.comment.clone().unwrap_or_default(),
        }));
    }
    steps.reverse();
    if let Some(first) = steps.first_mut() {
        let records = store.images().list()?;
        let (tags, _) = names(records.iter().filter(|other| other.id == record.id));
        first["Id"] = json!(record.id);
        first["Tags"] = json!(tags);
    }
    Ok(Reply::Json(200, Value::Array(steps)))
}
