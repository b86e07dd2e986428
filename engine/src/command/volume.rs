//! volume: folders that outlive containers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::container_flags::labels;
use super::format::Format;
use super::table::table;
use super::{Arguments, Command, Flag, Global, each, print};
use crate::container::{ContainerRecord, MountSource, check_volume_name};
use crate::error::{Error, Kind, Result};
use crate::store::{Store, VolumeRecord};
use crate::time::rfc3339;

pub const CREATE: Command = Command {
    name: "volume create",
    aliases: &[],
    operands: "[NAME]",
    operand_count: 0..=1,
    help: "make a volume",
    flags: &[&[Flag { long: "label", short: None, value: Some("NAME=VALUE"), help: "whatever you like" }]],
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
    help: "show volumes as JSON",
    flags: &[],
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
        Flag {
            long: "force",
            short: Some('f'),
            value: None,
            help: "taken for Docker's sake: box does not ask",
        },
    ]],
    ends_at_operand: false,
    run: prune,
};

fn create(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let record = match arguments.operand(0)? {
        None => store.volumes().make_anonymous()?,
        Some(name) => {
            check_volume_name(name)?;
            store.volumes().make(name, &labels(arguments)?)?
        }
    };
    print(&format!("{}\n", record.name))
}

fn ls(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let format = Format::parse(arguments.text("format")?)?;
    let records = store.volumes().list()?;
    if arguments.is_set("quiet") {
        return print(&records.iter().map(|record| format!("{}\n", record.name)).collect::<String>());
    }
    if format != Format::Table {
        let lines = records.iter().map(|record| format.row(&document(&store, record)));
        return print(&lines.collect::<Result<String>>()?);
    }
    let cells: Vec<[String; 2]> =
        records.into_iter().map(|record| ["local".to_string(), record.name]).collect();
    print(&table(["DRIVER", "VOLUME NAME"], &cells))
}

fn document(store: &Store, record: &VolumeRecord) -> Value {
    json!({
        "Name": record.name,
        "Driver": "local",
        "Mountpoint": store.volumes().path(&record.name),
        "CreatedAt": rfc3339(record.created),
        "Labels": record.labels,
        "Scope": "local",
    })
}

fn inspect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let mut documents = Vec::new();
    for name in arguments.operands_from(0)? {
        documents.push(document(&store, &find(&store, &name)?));
    }
    print(&format!("{:#}\n", Value::Array(documents)))
}

fn find(store: &Store, name: &str) -> Result<VolumeRecord> {
    check_volume_name(name)?;
    store.volumes().find(name)?.ok_or_else(|| Error::not_found(format!("volume {name}: there is none")))
}

/// The volumes that containers have, whether they run or not.
fn used(store: &Store) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        names.extend(record.options.mounts.into_iter().filter_map(|mount| match mount.source {
            MountSource::Volume { name, .. } => Some(name),
            _ => None,
        }));
    }
    Ok(names)
}

fn rm(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let used = used(&store)?;
    each(arguments, |name| match find(&store, name) {
        Err(error) if error.kind() == Kind::NotFound && arguments.is_set("force") => Ok(()),
        Err(error) => Err(error),
        Ok(_) if used.contains(name) => {
            Err(Error::conflict(format!("volume {name}: a container has it: remove that first")))
        }
        Ok(_) => store.volumes().remove(name),
    })
}

fn prune(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let used = used(&store)?;
    for record in store.volumes().list()? {
        let is_meant = record.is_anonymous || arguments.is_set("all");
        if is_meant && !used.contains(&record.name) {
            store.volumes().remove(&record.name)?;
            print(&format!("{}\n", record.name))?;
        }
    }
    Ok(0)
}
