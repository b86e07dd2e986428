//! `GET /system/df`: what everything takes of the disk.

use serde_json::{Value, json};

use super::container::list_all;
use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::Outcome;
use super::image::documents as image_documents;
use super::volume::document as volume_document;
use crate::container::ContainerRecord;
use crate::inside::usage;

/// Images, containers, volumes.
pub fn usage_of_all(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let store = &daemon.store;
    let kinds: Vec<&str> = exchange.head.query.texts("type").collect();
    let is_wanted = |kind: &str| kinds.is_empty() || kinds.contains(&kind);
    daemon.sweep();
    let mut document =
        json!({"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []});
    if is_wanted("image") {
        let layers = store.layers();
        let sizes =
            layers.list()?.into_iter().filter_map(|id| layers.record(&id).ok()).map(|layer| layer.size);
        document["LayersSize"] = json!(sizes.sum::<u64>());
        let mut images = image_documents(daemon, &store.images().list()?)?;
        images.iter_mut().for_each(|image| image["SharedSize"] = json!(0));
        document["Images"] = Value::Array(images);
    }
    if is_wanted("container") {
        document["Containers"] = list_all(store, &daemon.known)?;
    }
    if is_wanted("volume") {
        let records = ContainerRecord::list(store)?;
        let mut volumes = Vec::new();
        for volume in store.volumes().list()? {
            let users = records.iter().filter(|record| record.options.has_volume(&volume.name));
            let size = usage(store.maps(), &store.volumes().path(&volume.name)).unwrap_or(0);
            let mut document = volume_document(store, &volume);
            document["UsageData"] = json!({"Size": size, "RefCount": users.count()});
            volumes.push(document);
        }
        document["Volumes"] = Value::Array(volumes);
    }
    Ok(Reply::Json(200, document))
}
