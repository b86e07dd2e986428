//! system df, system check, info: the store and this machine as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::format::Format;
use super::table::human_size;
use super::usage::tables;
use super::volume::volumes_in_use;
use super::{Arguments, Command, Flag, Global, print, whole};
use crate::container::{ContainerRecord, Status, broken_containers, disk_usage, machine_memory};
use crate::error::{Error, Result};
use crate::ids::IdMaps;
use crate::image::ChainId;
use crate::inside::usage;
use crate::store::{Fault, Store, check};

const FORMAT: Flag =
    Flag { long: "format", short: Some('f'), value: Some("FORMAT"), help: "json, or fields as {{.Type}}" };

pub const DF: Command = Command {
    name: "system df",
    aliases: &["df"],
    operands: "",
    operand_count: 0..=0,
    help: "show what images, containers and volumes take of the disk",
    flags: &[&[
        FORMAT,
        Flag { long: "verbose", short: Some('v'), value: None, help: "each image, container and volume" },
    ]],
    ends_at_operand: false,
    run: df,
};

pub const INFO: Command = Command {
    name: "info",
    aliases: &["system info"],
    operands: "",
    operand_count: 0..=0,
    help: "show how box stands on this machine",
    flags: &[&[FORMAT]],
    ends_at_operand: false,
    run: info,
};

pub const CHECK: Command = Command {
    name: "system check",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "look whether everything in the store is whole",
    flags: &[&[Flag {
        long: "repair",
        short: None,
        value: None,
        help: "remove, mend or put aside what is not",
    }]],
    ends_at_operand: false,
    run: check_store,
};

const HEADS: &[(&str, &str); 5] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// What one kind of things takes.
struct Share {
    kind: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

fn df(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let store = global.store()?;
    if arguments.is_set("verbose") {
        return match format {
            Format::Table => print(&tables(&store)?),
            _ => Err(Error::invalid("--verbose: it has tables of its own: leave --format out")),
        };
    }
    let shares = [images(&store)?, containers(&store)?, volumes(&store)?, builds(&store)?];
    let reclaimable = |share: &Share| {
        let percent = (share.reclaimable * 100).checked_div(share.size).unwrap_or(0);
        format!("{} ({percent}%)", human_size(share.reclaimable))
    };
    let rows = shares.each_ref().map(|share| {
        json!({
            "Type": share.kind,
            "TotalCount": share.total.to_string(),
            "Active": share.active.to_string(),
            "Size": human_size(share.size),
            "Reclaimable": reclaimable(share),
        })
    });
    print(&format.show(&rows, HEADS, &HEADS.map(|(field, _)| field))?)
}

/// Layers that several images have count once.
fn images(store: &Store) -> Result<Share> {
    let records = store.images().list()?;
    let used: BTreeSet<_> =
        ContainerRecord::list(store)?.iter().filter_map(|container| container.image_id().copied()).collect();
    let ids: BTreeSet<_> = records.iter().map(|record| record.id).collect();
    let needed = ContainerRecord::layers_in_use(store)?;
    let (mut size, mut reclaimable) = (0, 0);
    let built = only_built(store)?;
    for layer in store.layers().list()?.into_iter().filter(|layer| !built.contains(layer)) {
        // One that is just going is nothing any more.
        let Ok(record) = store.layers().record(&layer) else { continue };
        size += record.size;
        reclaimable += if needed.contains(&layer) { 0 } else { record.size };
    }
    for blob in store.blobs().list()? {
        size += store.blobs().length(&blob).unwrap_or(0);
    }
    Ok(Share { kind: "Images", total: ids.len(), active: ids.intersection(&used).count(), size, reclaimable })
}

/// Layers that builds have kept, and that no image and no container has.
fn only_built(store: &Store) -> Result<BTreeSet<ChainId>> {
    let mut layers: BTreeSet<ChainId> =
        store.build_cache().list()?.into_iter().map(|(_, record)| record.layer).collect();
    for layer in store.images().list()?.into_iter().flat_map(|record| record.layers) {
        layers.remove(&layer);
    }
    let used = ContainerRecord::layers_in_use(store)?;
    layers.retain(|layer| !used.contains(layer));
    Ok(layers)
}

fn builds(store: &Store) -> Result<Share> {
    let (records, layers) = (store.build_cache().list()?, only_built(store)?);
    let active = records.iter().filter(|(_, record)| !layers.contains(&record.layer)).count();
    let mut share = Share { kind: "Build Cache", total: records.len(), active, size: 0, reclaimable: 0 };
    for layer in &layers {
        share.size += store.layers().record(layer).map_or(0, |record| record.size);
    }
    for folder in store.build_cache().mounts()? {
        share.total += 1;
        share.size += usage(store.maps(), &folder)?;
    }
    share.reclaimable = share.size;
    Ok(share)
}

fn containers(store: &Store) -> Result<Share> {
    let mut share = Share { kind: "Containers", total: 0, active: 0, size: 0, reclaimable: 0 };
    for folder in store.containers().list()? {
        let Some(size) = whole(&folder, disk_usage(store, &folder)) else { continue };
        let Some(status) = whole(&folder, Status::of(store, &folder)) else { continue };
        share.total += 1;
        share.size += size;
        match status.is_alive() {
            true => share.active += 1,
            false => share.reclaimable += size,
        }
    }
    Ok(share)
}

fn volumes(store: &Store) -> Result<Share> {
    let used = volumes_in_use(store)?;
    let mut share = Share { kind: "Local Volumes", total: 0, active: 0, size: 0, reclaimable: 0 };
    for record in store.volumes().list()? {
        let size = usage(store.maps(), &store.volumes().path(&record.name))?;
        share.total += 1;
        share.size += size;
        match used.contains(&record.name) {
            true => share.active += 1,
            false => share.reclaimable += size,
        }
    }
    Ok(share)
}

fn info(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let store = global.store()?;
    let document = describe(&store)?;
    if format != Format::Table {
        return print(&format.row(&document)?);
    }
    let mut text = String::new();
    for (name, value) in document.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            value => value.to_string(),
        };
        text += &format!("{name}: {value}\n");
    }
    print(&text)
}

/// Everything that is known of the store and its machine.
///
/// # Errors
/// A record cannot be read.
pub fn describe(store: &Store) -> Result<Value> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for folder in store.containers().list()? {
        let Some(status) = whole(&folder, Status::of(store, &folder)) else { continue };
        *counts.entry(status.name()).or_default() += 1;
    }
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let total: usize = counts.values().sum();
    let system = rustix::system::uname();
    let images: BTreeSet<_> = store.images().list()?.into_iter().map(|record| record.id).collect();
    let ids = match store.maps() {
        None => "all (root)".to_string(),
        Some(maps) if maps.is_squashed() => {
            "your own alone: entries in /etc/subuid and /etc/subgid, with newuidmap, would give more"
                .to_string()
        }
        Some(IdMaps { users, .. }) => {
            format!("{} (root is you)", users.iter().map(|range| u64::from(range.count)).sum::<u64>())
        }
    };
    let network = if store.maps().is_none() { "bridge" } else { "pasta" };
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    Ok(json!({
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Containers": total,
        "ContainersRunning": count("running"),
        "ContainersPaused": count("paused"),
        "ContainersStopped": total - count("running") - count("paused"),
        "Images": images.len(),
        "Driver": "overlay",
        "Rootless": store.maps().is_some(),
        "Ids": ids,
        "DefaultNetwork": network,
        "CgroupControllers": controllers.split_whitespace().collect::<Vec<_>>(),
        "KernelVersion": system.release().to_string_lossy(),
        "Architecture": std::env::consts::ARCH,
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": machine_memory()?,
        "DataRoot": store.place().data,
        "ExecRoot": store.place().runtime,
    }))
}

fn check_store(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let repair = arguments.is_set("repair");
    let mut found = check(&store)?;
    found.extend(broken_containers(&store)?.into_iter().map(Fault::Record));
    let mut is_whole = true;
    for fault in &found {
        // What cannot be mended does not keep the rest from it.
        let done = match repair.then(|| fault.repair(&store)) {
            None => String::new(),
            Some(Ok(done)) => done,
            Some(Err(error)) => {
                is_whole = false;
                format!(": it cannot be mended: {error}")
            }
        };
        print(&format!("{}\n", crate::message::line(&format!("{fault}{done}"))))?;
    }
    match (found.is_empty(), repair) {
        (true, _) => print("Everything is whole.\n"),
        (false, true) => Ok(u8::from(!is_whole)),
        (false, false) => {
            super::say("box system check --repair removes, mends or puts aside what is broken");
            Ok(1)
        }
    }
}
