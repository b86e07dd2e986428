//! inspect, port, rename: what is known of a container.

use serde_json::Value;

use super::documents::show_documents;
use super::{Arguments, Command, Flag, Global, image_inspect, network_inspect, print, volume};
use crate::container::{
    Base, ContainerRecord, Published, disk_usage, inspect as document, published, rename as give_name,
};
use crate::error::{Error, Kind, Result};
use crate::order;
use crate::store::Store;

const FORMAT: Flag = Flag {
    long: "format",
    short: Some('f'),
    value: Some("FORMAT"),
    help: "json, or fields as {{.State.Status}}",
};

const SIZE: Flag = Flag {
    long: "size",
    short: Some('s'),
    value: None,
    help: "and how much of the disk a container takes: SizeRw, SizeRootFs",
};

pub const CONTAINER_INSPECT: Command = Command {
    name: "container inspect",
    aliases: &[],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "show everything that is known of containers",
    flags: &[&[FORMAT, SIZE]],
    ends_at_operand: false,
    run: inspect_containers,
};

pub const INSPECT: Command = Command {
    name: "inspect",
    aliases: &[],
    operands: "NAME …",
    operand_count: 1..=usize::MAX,
    help: "show everything that is known of containers, images, networks and volumes",
    flags: &[
        &[FORMAT, SIZE],
        &[Flag {
            long: "type",
            short: None,
            value: Some("KIND"),
            help: "container, image, network or volume; otherwise whichever has the name",
        }],
    ],
    ends_at_operand: false,
    run: inspect,
};

pub const PORT: Command = Command {
    name: "port",
    aliases: &["container port"],
    operands: "CONTAINER [PORT[/PROTOCOL]]",
    operand_count: 1..=2,
    help: "show which ports of the host's lead to a container",
    flags: &[],
    ends_at_operand: false,
    run: port,
};

pub const RENAME: Command = Command {
    name: "rename",
    aliases: &["container rename"],
    operands: "CONTAINER NAME",
    operand_count: 2..=2,
    help: "give a container another name",
    flags: &[],
    ends_at_operand: false,
    run: rename,
};

fn inspect_containers(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let sized = arguments.is_set("size");
    show_documents(arguments, |name| container_document(&store, name, sized))
}

fn container_document(store: &Store, name: &str, sized: bool) -> Result<Value> {
    let folder = store.containers().find(name)?;
    let mut found = document(store, &folder)?;
    if sized {
        let own = disk_usage(store, &folder)?;
        let layers = match ContainerRecord::of(&folder)?.base {
            Base::Image { layers, .. } => layers,
            Base::Folder(_) => Vec::new(),
        };
        let sizes = layers.iter().map(|layer| store.layers().record(layer).map(|record| record.size));
        found["SizeRw"] = own.into();
        found["SizeRootFs"] = (own + sizes.sum::<Result<u64>>()?).into();
    }
    Ok(found)
}

/// What has a name.
type Kinds = [(&'static str, fn(&Store, &str) -> Result<Value>); 4];

/// In Docker's order.
const KINDS: Kinds = [
    ("container", |store, name| container_document(store, name, false)),
    ("image", |store, name| image_inspect::describe(store, &store.find_image(name)?)),
    ("network", network_inspect::document),
    ("volume", volume::named_document),
];

fn inspect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let kind = arguments.text("type")?;
    if let Some(wrong) = kind.filter(|kind| KINDS.iter().all(|(known, _)| known != kind)) {
        return Err(Error::invalid(format!("--type {wrong}: must be container, image, network or volume")));
    }
    let store = global.store()?;
    let sized = arguments.is_set("size");
    show_documents(arguments, |name| {
        let mut wanted = KINDS.iter().filter(|(known, _)| kind.is_none_or(|kind| kind == *known));
        let found = wanted.find_map(|(known, find)| match find(&store, name) {
            Ok(_) if sized && *known == "container" => Some(container_document(&store, name, true)),
            // What cannot be a name of one kind may be one of another.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => None,
            found => Some(found),
        });
        found
            .unwrap_or_else(|| Err(Error::not_found(format!("No such {}: {name}", kind.unwrap_or("object")))))
    })
}

fn port(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let name = arguments.operand(0)?.unwrap_or_default();
    let mut ports = published(&store, &store.containers().find(name)?)?;
    order::sort_by(&mut ports, |one, other| {
        (&one.port, &one.protocol, &one.host).cmp(&(&other.port, &other.protocol, &other.host))
    });
    let inside = |port: &Published| format!("{}/{}", port.port, port.protocol);
    let Some(wanted) = arguments.operand(1)? else {
        let lines = ports.iter().map(|port| format!("{} -> {}\n", inside(port), port.host));
        return print(&lines.collect::<String>());
    };
    let wanted = if wanted.contains('/') { wanted.to_string() } else { format!("{wanted}/tcp") };
    let lines: Vec<String> =
        ports.iter().filter(|port| inside(port) == wanted).map(|port| format!("{}\n", port.host)).collect();
    match lines.is_empty() {
        true => {
            let text = format!("container {name}: no port of the host's leads to {wanted}");
            Err(Error::not_found(text).with_status(1))
        }
        false => print(&lines.concat()),
    }
}

fn rename(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store: Store = global.store()?;
    let (old, new) = (arguments.operand(0)?.unwrap_or_default(), arguments.operand(1)?.unwrap_or_default());
    let folder = store.containers().find(old)?;
    give_name(&store, &folder, new.trim_start_matches('/')).map(|()| 0).map_err(|error| error.with_status(1))
}
