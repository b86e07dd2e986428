//! rmi: names of images, and what nothing leads to any more.

use std::collections::BTreeSet;

use super::images::repository_and_tag;
use super::{Arguments, Command, Flag, Global, print, say};
use crate::container::ContainerRecord;
use crate::error::{Error, Result};
use crate::image::ImageId;
use crate::store::{Collected, FoundBy, ImageRecord, Store};

pub const COMMAND: Command = Command {
    name: "rmi",
    aliases: &["image rm", "image remove"],
    operands: "IMAGE …",
    operand_count: 1..=usize::MAX,
    help: "remove images",
    flags: &[&[
        Flag {
            long: "force",
            short: Some('f'),
            value: None,
            help: "names of images that containers use, and all names of an id",
        },
        Flag { long: "no-prune", short: None, value: None, help: "take the names away alone" },
    ]],
    ends_at_operand: false,
    run: rmi,
};

fn rmi(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let (force, keep) = (arguments.is_set("force"), arguments.is_set("no-prune"));
    let mut status = 0;
    for name in arguments.operands_from(0)? {
        match remove(&store, &name, force, keep) {
            Ok(()) => {}
            Err(error) if force && error.kind() == crate::Kind::NotFound => say(&error.to_string()),
            Err(error) => {
                say(&error.to_string());
                status = 1;
            }
        }
    }
    Ok(status)
}

fn remove(store: &Store, text: &str, force: bool, keep: bool) -> Result<()> {
    let removals = store.removals()?;
    let (record, found_by) = store.look_up_image(text)?;
    let mut names = store.images().list()?;
    names.retain(|other| other.id == record.id);
    let by_name = found_by == FoundBy::Name;
    let going: Vec<ImageRecord> = if by_name { vec![record.clone()] } else { names.clone() };
    if !by_name && going.len() > 1 && !force {
        return Err(Error::conflict(format!(
            "{text}: it has {} names: name one of them, or --force",
            going.len()
        )));
    }
    let is_last = going.len() == names.len();
    if is_last && !force {
        check_unused(store, &record, text)?;
    }
    let mut said = String::new();
    for record in &going {
        store.images().unname(&record.name)?;
        let (repository, tag) = repository_and_tag(record);
        match record.reference() {
            Some(_) => said += &format!("Untagged: {repository}:{tag}\n"),
            None => said += &format!("Untagged: {}\n", record.name),
        }
        if let Some(digest) = record.repo_digest {
            said += &format!("Untagged: {repository}@{digest}\n");
        }
    }
    if !keep {
        let collected = removals.collect_of(&going, || ContainerRecord::layers_in_use(store))?;
        said += &deleted(&collected, &going);
    }
    print(&said).map(|_| ())
}

/// Lines for what is gone, as Docker's: images that have lost their last names, and layers.
pub fn deleted(collected: &Collected, records: &[ImageRecord]) -> String {
    let ids: BTreeSet<ImageId> = records.iter().map(|record| record.id).collect();
    let gone = ids.iter().filter(|id| collected.blobs.contains(id.digest()));
    let images = gone.map(|id| format!("Deleted: {id}\n"));
    images.chain(collected.layers.iter().map(|layer| format!("Deleted: {layer}\n"))).collect()
}

fn check_unused(store: &Store, record: &ImageRecord, text: &str) -> Result<()> {
    let containers = ContainerRecord::list(store)?;
    match containers.iter().find(|container| container.image_id() == Some(&record.id)) {
        Some(container) => Err(Error::conflict(format!(
            "{text}: container {} is made of it: remove that first (box rm {}), or --force, which leaves it its layers",
            container.name, container.name
        ))),
        None => Ok(()),
    }
}
