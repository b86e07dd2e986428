//! volume: folders that outlive containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::confirmation::{FORCE, is_confirmed};
use super::container_flags::labels;
use super::documents::show_documents;
use super::filter::{Filters, is_labelled, is_named};
use super::format::{Format, Heads};
use super::prune_filter::{FILTER, PruneFilter};
use super::table::{human_size, list};
use super::template::LABELS;
use super::{Arguments, Command, Flag, Global, each, print, tell_broken};
use crate::container::{ContainerRecord, check_volume_name, is_volume_used};
use crate::error::{Error, Kind, Result};
use crate::inside::usage;
use crate::order::Collect;
use crate::store::{EventKind, Store, VolumeRecord, random_id};
use crate::time::rfc3339;

pub const CREATE: Command = Command {
    name: "volume create",
    aliases: &[],
    operands: "[NAME]",
    operand_count: 0..=1,
    help: "make a volume",
    flags: &[&[
        Flag { long: "label", short: None, value: Some("NAME=VALUE"), help: "whatever you like" },
        Flag {
            long: "driver",
            short: Some('d'),
            value: Some("DRIVER"),
            help: "local, which is the only one",
        },
        Flag {
            long: "opt",
            short: Some('o'),
            value: Some("NAME=VALUE"),
            help: "type=tmpfs, device=tmpfs, o=size=1m; or type=none, device=/folder, o=bind",
        },
    ]],
    ends_at_operand: false,
    run: create,
};

pub const LS: Command = Command {
    name: "volume ls",
    aliases: &["volume list"],
    operands: "",
    operand_count: 0..=0,
    help: "list volumes",
    flags: &[&[
        Flag { long: "quiet", short: Some('q'), value: None, help: "names alone" },
        Flag {
            long: "filter",
            short: Some('f'),
            value: Some("NAME=VALUE"),
            help: "dangling=true, name=…, label=… or driver=local",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.Name}}" },
    ]],
    ends_at_operand: false,
    run: ls,
};

pub const INSPECT: Command = Command {
    name: "volume inspect",
    aliases: &[],
    operands: "VOLUME …",
    operand_count: 1..=usize::MAX,
    help: "show everything that is known of volumes",
    flags: &[&[Flag {
        long: "format",
        short: Some('f'),
        value: Some("FORMAT"),
        help: "json, or fields as {{.Mountpoint}}",
    }]],
    ends_at_operand: false,
    run: inspect,
};

pub const RM: Command = Command {
    name: "volume rm",
    aliases: &["volume remove"],
    operands: "VOLUME …",
    operand_count: 1..=usize::MAX,
    help: "remove volumes that no container has",
    flags: &[&[Flag {
        long: "force",
        short: Some('f'),
        value: None,
        help: "one that is not there is no error",
    }]],
    ends_at_operand: false,
    run: rm,
};

pub const PRUNE: Command = Command {
    name: "volume prune",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "remove volumes without a name that no container has",
    flags: &[&[
        Flag { long: "all", short: Some('a'), value: None, help: "those with a name as well" },
        FORCE,
        FILTER,
    ]],
    ends_at_operand: false,
    run: prune,
};

fn create(global: &Global, arguments: &Arguments) -> Result<u8> {
    if let Some(other) = arguments.text("driver")?.filter(|driver| *driver != "local") {
        return Err(Error::invalid(format!("--driver {other}: must be local: there are no plugins")));
    }
    let store = global.store()?;
    let name = arguments.operand(0)?.filter(|name| !name.is_empty());
    name.map_or(Ok(()), check_volume_name)?;
    let record = store.volumes().make(VolumeRecord {
        is_anonymous: name.is_none(),
        labels: labels(arguments)?,
        options: options(arguments)?,
        ..VolumeRecord::new(&name.map_or_else(random_id, |name| Ok(name.to_string()))?)
    })?;
    print(&format!("{}\n", record.name))
}

/// `--opt NAME=VALUE`.
fn options(arguments: &Arguments) -> Result<BTreeMap<String, String>> {
    let split = |text: String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_string(), value.to_string())),
        None => Err(Error::invalid(format!("--opt {text}: must be NAME=VALUE"))),
    };
    arguments.texts("opt")?.into_iter().map(split).try_collect_map()
}

fn ls(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let format = Format::parse(arguments.text("format")?)?;
    let filters = Filters::parse(arguments, &["dangling", "name", "label", "driver"])?;
    filters.check_words("dangling", &["true", "false", "1", "0"])?;
    tell_broken(&store.broken_volumes()?);
    let used = volumes_in_use(&store)?;
    let mut records = store.volumes().list()?;
    records.retain(|record| {
        filters.all("dangling", |value| matches!(value, "true" | "1") != used.contains(&record.name))
            && filters.any("name", |value| is_named(&record.name, value))
            && filters.all("label", |value| is_labelled(&record.labels, value))
            && filters.any("driver", |value| value == "local")
    });
    if arguments.is_set("quiet") {
        return print(&records.iter().map(|record| format!("{}\n", record.name)).collect::<String>());
    }
    let rows: Vec<Value> = records.iter().map(|record| row(&store, record)).collect();
    print(&format.show(&rows, HEADS, &["Driver", "Name"])?)
}

const HEADS: &Heads = &[
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

/// As lists show it: labels as one text.
fn row(store: &Store, record: &VolumeRecord) -> Value {
    let labels: Vec<String> = record.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut row = document(store, record);
    row[LABELS] = json!(record.labels);
    row["Labels"] = json!(labels.join(","));
    row
}

fn document(store: &Store, record: &VolumeRecord) -> Value {
    json!({
        "Name": record.name,
        "Driver": "local",
        "Mountpoint": store.volumes().path(&record.name),
        "CreatedAt": rfc3339(record.created),
        "Labels": record.labels,
        "Options": record.options,
        "Scope": "local",
    })
}

fn inspect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    show_documents(arguments, |name| named_document(&store, name))
}

/// Everything that is known of the volume of that name.
///
/// # Errors
/// There is none.
pub fn named_document(store: &Store, name: &str) -> Result<Value> {
    Ok(document(store, &find(store, name)?))
}

fn find(store: &Store, name: &str) -> Result<VolumeRecord> {
    check_volume_name(name)?;
    store.volumes().find(name)?.ok_or_else(|| Error::not_found(format!("volume {name}: there is none")))
}

/// The volumes that containers have, whether they run or not.
///
/// # Errors
/// A folder cannot be read.
pub fn volumes_in_use(store: &Store) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for record in ContainerRecord::list(store)? {
        names.extend(record.options.volumes().map(str::to_string));
    }
    Ok(names)
}

fn rm(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let remove = |name: &str| {
        find(&store, name)?;
        store.volumes().remove(name, || is_volume_used(&store, name))
    };
    each(arguments, |name| {
        // One that another command removes meanwhile is gone, as was wanted.
        let is_gone_well = arguments.is_set("force") || find(&store, name).is_ok();
        match remove(name) {
            Err(error) if error.kind() == Kind::NotFound && is_gone_well => Ok(()),
            removed => removed,
        }
    })
}

fn prune(global: &Global, arguments: &Arguments) -> Result<u8> {
    let (all, filter) = (arguments.is_set("all"), PruneFilter::parse(arguments)?);
    let what = if all { "all volumes" } else { "all volumes without a name" };
    if !is_confirmed(arguments, &format!("{what} that no container has"))? {
        return Ok(0);
    }
    let (names, freed) = prune_volumes(&global.store()?, all, &filter)?;
    print(&format!("{}Total reclaimed space: {}\n", list("Deleted Volumes", &names), human_size(freed)))
}

/// Removes volumes that no container has; their names, and how much that was.
///
/// # Errors
/// One cannot be removed.
pub fn prune_volumes(store: &Store, all: bool, filter: &PruneFilter) -> Result<(Vec<String>, u64)> {
    let used = volumes_in_use(store)?;
    let (mut names, mut freed) = (Vec::new(), 0);
    for record in store.volumes().list()? {
        let is_meant = (record.is_anonymous || all) && filter.accepts(record.created, &record.labels);
        let name = record.name;
        if !is_meant || used.contains(&name) {
            continue;
        }
        let size = usage(store.maps(), &store.volumes().path(&name));
        let removed = size.and_then(|size| {
            store.volumes().remove(&name, || is_volume_used(store, &name))?;
            Ok(size)
        });
        match removed {
            // Another command was faster, or has it for a container by now.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            removed => {
                freed += removed?;
                names.push(name);
            }
        }
    }
    store.events().note_prune(EventKind::Volume, freed);
    Ok((names, freed))
}
