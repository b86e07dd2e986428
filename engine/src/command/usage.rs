//! system df --verbose: what each image, container and volume takes of the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::images::{ago, repository_and_tag};
use super::table::{columns, human_size, shortened};
use super::whole;
use crate::container::{ContainerRecord, Status, arguments, disk_usage, span};
use crate::error::Result;
use crate::image::{ChainId, ImageId};
use crate::inside::usage;
use crate::store::Store;
use crate::time::Moment;

/// A table for each kind.
///
/// # Errors
/// Something cannot be read.
pub fn tables(store: &Store) -> Result<String> {
    let (images, containers, volumes) = (images(store)?, containers(store)?, volumes(store)?);
    Ok(format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\nLocal Volumes space usage:\n\n{volumes}"
    ))
}

fn line<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_string).to_vec()
}

/// Layers that other images have as well are shared.
fn images(store: &Store) -> Result<String> {
    let records = store.images().list()?;
    let mut holders: BTreeMap<ChainId, BTreeSet<ImageId>> = BTreeMap::new();
    for record in &records {
        for layer in &record.layers {
            holders.entry(*layer).or_default().insert(record.id);
        }
    }
    let containers = ContainerRecord::list(store)?;
    let now = Moment::now();
    let mut lines = vec![line([
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ])];
    for record in &records {
        let is_shared = |layer: &&ChainId| holders.get(layer).is_some_and(|holders| holders.len() > 1);
        let size = |layer: &ChainId| store.layers().record(layer).map_or(0, |record| record.size);
        let shared: u64 = record.layers.iter().filter(is_shared).map(size).sum();
        let users = containers.iter().filter(|container| container.image_id() == Some(&record.id)).count();
        let (repository, tag) = repository_and_tag(record);
        lines.push(vec![
            repository,
            tag,
            record.id.digest().short(),
            ago(record.moment(), now),
            human_size(record.size),
            human_size(shared),
            human_size(record.size.saturating_sub(shared)),
            users.to_string(),
        ]);
    }
    Ok(columns(&lines))
}

fn containers(store: &Store) -> Result<String> {
    let now = Moment::now();
    let heads = ["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"];
    let mut lines = vec![line(heads)];
    for folder in store.containers().list()? {
        let Some(Some(record)) = whole(&folder, ContainerRecord::read(&folder)) else { continue };
        let Some(size) = whole(&folder, disk_usage(store, &folder)) else { continue };
        let Some(status) = whole(&folder, Status::of(store, &folder)) else { continue };
        let command = arguments(&record.execution, &record.options).unwrap_or_default().join(" ");
        let age = Duration::from_nanos(now.0.saturating_sub(record.created.0));
        lines.push(vec![
            folder.id.short().to_string(),
            record.image.clone(),
            format!("{:?}", shortened(&command, 20)),
            record.options.volumes().count().to_string(),
            human_size(size),
            format!("{} ago", span(age)),
            status.sentence(now),
            record.name.clone(),
        ]);
    }
    Ok(columns(&lines))
}

fn volumes(store: &Store) -> Result<String> {
    let containers = ContainerRecord::list(store)?;
    let mut lines = vec![line(["VOLUME NAME", "LINKS", "SIZE"])];
    for record in store.volumes().list()? {
        let is_user = |container: &&ContainerRecord| container.options.has_volume(&record.name);
        let links = containers.iter().filter(is_user).count();
        let size = usage(store.maps(), &store.volumes().path(&record.name))?;
        lines.push(vec![record.name.clone(), links.to_string(), human_size(size)]);
    }
    Ok(columns(&lines))
}
