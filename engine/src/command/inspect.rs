//! inspect, port, rename: what is known of a container.

use serde_json::Value;

use super::documents::show_documents;
use super::{Arguments, Command, Flag, Global, image_inspect, network, print, volume};
use crate::container::{Published, inspect as document, published, rename as give_name};
use crate::error::{Error, Kind, Result};
use crate::store::Store;

const FORMAT: Flag = Flag {
    long: "format",
    short: Some('f'),
    value: Some("FORMAT"),
    help: "json, or fields as {{.State.Status}}",
};

pub const CONTAINER_INSPECT: Command = Command {
    name: "container inspect",
    aliases: &[],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "show everything that is known of containers",
    flags: &[&[FORMAT]],
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
        &[FORMAT],
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
    show_documents(arguments, |name| document(&store, &store.containers().find(name)?))
}

/// What has a name.
type Kinds = [(&'static str, fn(&Store, &str) -> Result<Value>); 4];

/// In Docker's order.
const KINDS: Kinds = [
    ("container", |store, name| document(store, &store.containers().find(name)?)),
    ("image", |store, name| image_inspect::describe(store, &store.find_image(name)?)),
    ("network", network::document),
    ("volume", volume::named_document),
];

fn inspect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let kind = arguments.text("type")?;
    if let Some(wrong) = kind.filter(|kind| KINDS.iter().all(|(known, _)| known != kind)) {
        return Err(Error::invalid(format!("--type {wrong}: must be container, image, network or volume")));
    }
    let store = global.store()?;
    show_documents(arguments, |name| {
        let mut wanted = KINDS.iter().filter(|(known, _)| kind.is_none_or(|kind| kind == *known));
        let found = wanted.find_map(|(_, find)| match find(&store, name) {
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
    ports.sort_by(|one, other| {
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
