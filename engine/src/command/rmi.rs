//! rmi: names of images, and what nothing leads to any more.

use std::collections::BTreeMap;

use super::images::repository_and_tag;
use super::{Arguments, Command, Flag, Global, print, say};
use crate::container::ContainerRecord;
use crate::error::{Error, Result};
use crate::image::ImageId;
use crate::order::Collect;
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
            Ok(gone) => {
                print(&gone.lines("Untagged"))?;
            }
            Err(error) if force && error.kind() == crate::Kind::NotFound => say(&error.to_string()),
            Err(error) => {
                say(&error.to_string());
                status = 1;
            }
        }
    }
    Ok(status)
}

/// What has been removed of images.
#[derive(Debug, Default)]
pub struct ImagesGone {
    /// Names.
    pub untagged: Vec<String>,
    /// Ids of images and layers.
    pub deleted: Vec<String>,
}

impl ImagesGone {
    /// A line for each, as Docker's; `untagged` is the word for names.
    pub fn lines(&self, untagged: &str) -> String {
        let names = self.untagged.iter().map(|name| format!("{untagged}: {name}\n"));
        names.chain(self.deleted.iter().map(|id| format!("Deleted: {id}\n"))).collect()
    }
}

/// Takes names of an image away and, unless it is to be kept, what nothing leads to then.
///
/// # Errors
/// There is none, or containers are made of it.
pub fn remove(store: &Store, text: &str, force: bool, keep: bool) -> Result<ImagesGone> {
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
    let mut gone = ImagesGone::default();
    for record in &going {
        store.images().unname(&record.name)?;
        store.events().note_image(record, "untag");
        let (repository, tag) = repository_and_tag(record);
        match record.reference() {
            Some(_) => gone.untagged.push(format!("{repository}:{tag}")),
            None => gone.untagged.push(record.name.clone()),
        }
        gone.untagged.extend(record.repo_digest.map(|digest| format!("{repository}@{digest}")));
    }
    if !keep {
        let collected = removals.collect_of(&going, || ContainerRecord::layers_in_use(store))?;
        gone.deleted = deleted(&collected, &going);
        note_deleted(store, &gone, &going);
    }
    Ok(gone)
}

/// Writes down which images are gone.
pub fn note_deleted(store: &Store, gone: &ImagesGone, records: &[ImageRecord]) {
    let images: BTreeMap<ImageId, &ImageRecord> =
        records.iter().map(|record| (record.id, record)).collect_map();
    for (id, record) in images {
        let id = id.to_string();
        if gone.deleted.contains(&id) {
            // It has no name any more.
            store.events().note_image(&ImageRecord { name: id, ..record.clone() }, "delete");
        }
    }
}

/// What is gone: images that have lost their last names, and layers.
pub fn deleted(collected: &Collected, records: &[ImageRecord]) -> Vec<String> {
    let ids = records.iter().map(|record| record.id).collect_set();
    let gone = ids.iter().filter(|id| collected.blobs.contains(id.digest()));
    gone.map(ToString::to_string).chain(collected.layers.iter().map(ToString::to_string)).collect()
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
