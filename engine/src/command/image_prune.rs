//! image prune: what nothing leads to, and what has no name; with --all, all that no container uses.

use std::collections::BTreeSet;

use super::confirmation::{FORCE, is_confirmed};
use super::prune_filter::{FILTER, PruneFilter};
use super::rmi::{ImagesGone, deleted, note_deleted};
use super::table::human_size;
use super::{Arguments, Command, Flag, Global, print};
use crate::container::ContainerRecord;
use crate::error::Result;
use crate::image::ImageId;
use crate::store::{EventKind, ImageRecord, Store};
use crate::time::Moment;

pub const COMMAND: Command = Command {
    name: "image prune",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "remove images that have no name, and what broken pulls have left",
    flags: &[&[
        Flag { long: "all", short: Some('a'), value: None, help: "all images that no container is made of" },
        FORCE,
        FILTER,
    ]],
    ends_at_operand: false,
    run: prune,
};

fn prune(global: &Global, arguments: &Arguments) -> Result<u8> {
    let (all, filter) = (arguments.is_set("all"), PruneFilter::parse(arguments)?);
    let what = if all { "all images that no container is made of" } else { "all images without a name" };
    if !is_confirmed(arguments, what)? {
        return Ok(0);
    }
    let (gone, freed) = prune_images(&global.store()?, all, &filter)?;
    print(&format!("{}Total reclaimed space: {}\n", said(&gone), human_size(freed)))
}

/// What is said of it.
pub fn said(gone: &ImagesGone) -> String {
    match gone.lines("untagged").as_str() {
        "" => String::new(),
        lines => format!("Deleted Images:\n{lines}\n"),
    }
}

/// Removes images that nobody needs; which, and how much that was.
///
/// # Errors
/// Something cannot be removed.
pub fn prune_images(store: &Store, all: bool, filter: &PruneFilter) -> Result<(ImagesGone, u64)> {
    let removals = store.removals()?;
    let used: BTreeSet<ImageId> =
        ContainerRecord::list(store)?.iter().filter_map(|container| container.image_id().copied()).collect();
    let mut going = store.images().list()?;
    // Labels are in the configuration, which a broken image may have lost.
    let is_meant = |record: &ImageRecord| {
        let labels = || store.load(record).map(|image| image.config.config.labels);
        let created = || record.moment().unwrap_or(Moment(0));
        filter.is_empty() || labels().is_ok_and(|labels| filter.accepts(created(), &labels))
    };
    going.retain(|record| {
        !used.contains(&record.id) && (all || record.reference().is_none()) && is_meant(record)
    });
    let mut gone = ImagesGone::default();
    for record in &going {
        store.images().unname(&record.name)?;
        if record.reference().is_some() {
            store.events().note_image(record, "untag");
        }
        gone.untagged.push(record.reference().map_or(record.name.clone(), |name| name.familiar()));
    }
    let collected = removals.collect_all(|| ContainerRecord::layers_in_use(store))?;
    let partial = store.blobs().discard_partial()?;
    gone.deleted = deleted(&collected, &going);
    note_deleted(store, &gone, &going);
    store.events().note_prune(EventKind::Image, collected.bytes + partial);
    Ok((gone, collected.bytes + partial))
}
