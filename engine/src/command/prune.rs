//! container prune, system prune: what is not needed any more goes.

use super::builder::prune_builds;
use super::confirmation::{FORCE, is_confirmed};
use super::image_prune::{prune_images, said as said_of_images};
use super::network::prune_networks;
use super::prune_filter::{FILTER, PruneFilter};
use super::table::{human_size, list};
use super::volume::prune_volumes;
use super::{Arguments, Command, Flag, Global, print, whole};
use crate::container::{ContainerRecord, Own, Status, disk_usage};
use crate::error::{Result, unless_gone};
use crate::store::{EventKind, Sharing, Store};

pub const CONTAINERS: Command = Command {
    name: "container prune",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "remove all containers that do not run",
    flags: &[&[FORCE, FILTER]],
    ends_at_operand: false,
    run: prune_containers_command,
};

pub const SYSTEM: Command = Command {
    name: "system prune",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "remove containers that do not run, images and networks that nothing needs, and what builds have kept",
    flags: &[&[
        FORCE,
        FILTER,
        Flag { long: "all", short: Some('a'), value: None, help: "all images that no container is made of" },
        Flag {
            long: "volumes",
            short: None,
            value: None,
            help: "and volumes without a name that no container has",
        },
    ]],
    ends_at_operand: false,
    run: prune_system,
};

fn prune_containers_command(global: &Global, arguments: &Arguments) -> Result<u8> {
    let filter = PruneFilter::parse(arguments)?;
    if !is_confirmed(arguments, "all containers that do not run")? {
        return Ok(0);
    }
    let (said, freed) = prune_containers(&global.store()?, &filter)?;
    print(&format!("{said}Total reclaimed space: {}\n", human_size(freed)))
}

fn prune_containers(store: &Store, filter: &PruneFilter) -> Result<(String, u64)> {
    let (mut ids, mut freed) = (Vec::new(), 0);
    for folder in store.containers().list()? {
        let Some(Some(record)) = whole(&folder, ContainerRecord::read(&folder)) else { continue };
        let is_meant = filter.accepts(record.created, &record.options.labels);
        let Some(status) = whole(&folder, Status::of(store, &folder)) else { continue };
        if !is_meant || status.is_alive() || matches!(status, Status::Restarting(_)) {
            continue;
        }
        // One that somebody starts or copies from is not to go.
        let Ok(Some(lock)) = folder.try_lock(Sharing::Exclusive) else { continue };
        let (id, size) = (record.id.clone(), unless_gone(disk_usage(store, &folder))?.unwrap_or(0));
        if unless_gone(Own { folder, record, lock }.remove(store))?.is_some() {
            freed += size;
            ids.push(id);
        }
    }
    store.events().note_prune(EventKind::Container, freed);
    Ok((list("Deleted Containers", &ids), freed))
}

fn prune_system(global: &Global, arguments: &Arguments) -> Result<u8> {
    let filter = PruneFilter::parse(arguments)?;
    let (all, volumes) = (arguments.is_set("all"), arguments.is_set("volumes"));
    let what = format!(
        "all containers that do not run, all networks without containers{}, {}, and what builds have kept",
        if volumes { ", all volumes without a name that no container has" } else { "" },
        if all { "all images that no container is made of" } else { "all images without a name" },
    );
    if !is_confirmed(arguments, &what)? {
        return Ok(0);
    }
    let store = global.store()?;
    let (mut said, mut freed) = prune_containers(&store, &filter)?;
    said += &list("Deleted Networks", &prune_networks(&store, &filter)?);
    if volumes {
        let (names, bytes) = prune_volumes(&store, false, &filter)?;
        said += &list("Deleted Volumes", &names);
        freed += bytes;
    }
    // First, because its layers are nobody's then.
    let (builds, of_mounts) = prune_builds(&store)?;
    said += &list("Deleted build cache objects", &builds);
    let (images, bytes) = prune_images(&store, all, &filter)?;
    let images = said_of_images(&images);
    print(&format!("{said}{images}Total reclaimed space: {}\n", human_size(freed + of_mounts + bytes)))
}
