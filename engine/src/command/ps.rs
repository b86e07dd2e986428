//! ps: which containers there are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::filter::{Filters, is_labelled};
use super::format::Format;
use super::table::{human_size, shortened, table};
use super::{Arguments, Command, Flag, Global, print, whole};
use crate::container::{
    ContainerRecord, ExposedPort, Health, HealthState, NetworkMode, Published, Status, arguments as program,
    disk_usage, exposed_ports, published, span,
};
use crate::error::{Kind, Result};
use crate::store::{ContainerFolder, Store};
use crate::time::{Moment, rfc3339};

pub const COMMAND: Command = Command {
    name: "ps",
    aliases: &["container ls", "container ps", "container list"],
    operands: "",
    operand_count: 0..=0,
    help: "list containers that run",
    flags: &[&[
        Flag { long: "all", short: Some('a'), value: None, help: "those as well that do not run" },
        Flag { long: "quiet", short: Some('q'), value: None, help: "ids alone" },
        Flag {
            long: "size",
            short: Some('s'),
            value: None,
            help: "what each takes of the disk, with its log",
        },
        Flag { long: "no-trunc", short: None, value: None, help: "nothing is shortened" },
        Flag { long: "last", short: Some('n'), value: Some("NUMBER"), help: "the last ones that were made" },
        Flag {
            long: "filter",
            short: Some('f'),
            value: Some("NAME=VALUE"),
            help: "name, id, status, exited, health, label, ancestor, volume or network, =…",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.ID}}" },
    ]],
    ends_at_operand: false,
    run: ps,
};

struct Row {
    /// Sorting moves rows.
    record: Box<ContainerRecord>,
    status: Status,
    /// As Docker shows them: `0.0.0.0:8080->80/tcp`, or `80/tcp` of one that is only exposed.
    ports: Vec<String>,
    health: Option<HealthState>,
    /// Bytes of the disk, if somebody wants to see them.
    size: u64,
}

fn ps(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let format = Format::parse(arguments.text("format")?)?;
    let last = arguments.number("last")?;
    let filters = Filters::parse(
        arguments,
        &["name", "id", "status", "exited", "health", "label", "ancestor", "volume", "network"],
    )?;
    filters.check_words("status", &Status::NAMES)?;
    filters.check_words("health", &["starting", "healthy", "unhealthy", "none"])?;
    filters.check("exited", "a status from 0 to 255", |value| value.parse::<u8>().is_ok())?;
    // Docker: whoever asks for a status means all that have it.
    let all = arguments.is_set("all") || last.is_some() || filters.has("status") || filters.has("exited");
    let mut rows = rows(&store, all)?;
    rows.retain(|row| is_wanted(row, &filters));
    rows.truncate(last.unwrap_or(usize::MAX));
    let with_sizes = arguments.is_set("size");
    if with_sizes {
        measure(&store, &mut rows)?;
    }
    let whole = arguments.is_set("no-trunc");
    let now = Moment::now();
    if arguments.is_set("quiet") {
        let ids = rows.iter().map(|row| format!("{}\n", id(row, whole)));
        return print(&ids.collect::<String>());
    }
    if format != Format::Table {
        let lines = rows.iter().map(|row| format.row(&fields(row, whole, now)));
        return print(&lines.collect::<Result<String>>()?);
    }
    let cells: Vec<[String; 7]> = rows.iter().map(|row| cells(row, whole, now)).collect();
    let heads = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    if !with_sizes {
        return print(&table(heads, &cells));
    }
    let cells = cells.into_iter().zip(&rows).map(|(cells, row)| {
        let [id, image, command, created, status, ports, names] = cells;
        [id, image, command, created, status, ports, names, human_size(row.size)]
    });
    let [id, image, command, created, status, ports, names] = heads;
    let heads = [id, image, command, created, status, ports, names, "SIZE"];
    print(&table(heads, &cells.collect::<Vec<_>>()))
}

fn measure(store: &Store, rows: &mut [Row]) -> Result<()> {
    for row in rows {
        row.size = match store.containers().find(&row.record.id).and_then(|folder| disk_usage(store, &folder))
        {
            // It has just gone.
            Err(error) if error.kind() == Kind::NotFound => 0,
            size => size?,
        };
    }
    Ok(())
}

/// The newest first.
fn rows(store: &Store, all: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for folder in store.containers().list()? {
        let Some(status) = whole(&folder, Status::of(store, &folder)) else { continue };
        if !all && !status.is_alive() {
            continue;
        }
        // One that is gone meanwhile, or was never complete, is none.
        let Some(Some(record)) = whole(&folder, ContainerRecord::read(&folder)) else { continue };
        let ports = if status.is_alive() { whole(&folder, ports(store, &folder, &record)) } else { None };
        let ports = ports.unwrap_or_default();
        let health = if status.is_alive() { whole(&folder, Health::of(&folder, &record)) } else { None };
        let health = health.flatten();
        let record = Box::new(record);
        rows.push(Row { record, status, ports, health: health.map(|health| health.state), size: 0 });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.record.created));
    Ok(rows)
}

fn ports(store: &Store, folder: &ContainerFolder, record: &ContainerRecord) -> Result<Vec<String>> {
    let network = &record.options.network;
    let has_own = !matches!(network.mode, NetworkMode::Host | NetworkMode::Container(_));
    // An image may say what is none.
    let mut exposed = match has_own {
        true => exposed_ports(&record.execution, network).unwrap_or_default(),
        false => BTreeSet::new(),
    };
    let published = match network.published.is_empty() && !network.publish_all {
        true => Vec::new(),
        false => published(store, folder)?,
    };
    let inside = |port: &Published| format!("{}/{}", port.port, port.protocol);
    exposed.retain(|port| published.iter().all(|one| inside(one) != port.to_string()));
    let exposed = exposed.iter().map(ExposedPort::to_string);
    Ok(published.iter().map(Published::to_string).chain(exposed).collect())
}

fn is_wanted(row: &Row, filters: &Filters) -> bool {
    let Row { record, status, health, .. } = row;
    let exited = match status {
        Status::Exited(exit) => Some(exit.status.to_string()),
        _ => None,
    };
    let networks = networks(record);
    let is_mounted = |value: &str| {
        record.options.has_volume(value)
            || record.options.mounts.iter().any(|mount| mount.destination == value)
    };
    let image = record.image.as_str();
    filters.any("name", |value| record.name.contains(value.trim_start_matches('/')))
        && filters.any("id", |value| record.id.starts_with(value))
        && filters.any("status", |value| status.name() == value)
        && filters.any("exited", |value| exited.as_deref() == Some(value))
        && filters.any("health", |value| health.map_or("none", HealthState::name) == value)
        && filters.all("label", |value| is_labelled(&record.options.labels, value))
        && filters.any("ancestor", |value| image == value || image.strip_suffix(":latest") == Some(value))
        && filters.any("volume", is_mounted)
        && filters.any("network", |value| networks.iter().any(|name| name == value))
}

/// The names of its networks, or of what it has instead.
fn networks(record: &ContainerRecord) -> Vec<String> {
    let connections = record.options.network.connections();
    match &record.options.network.mode {
        NetworkMode::None => vec!["none".to_string()],
        NetworkMode::Host => vec!["host".to_string()],
        NetworkMode::Container(name) => vec![name.clone()],
        NetworkMode::Default | NetworkMode::Named(_) => {
            connections.into_iter().map(|connection| connection.network).collect()
        }
    }
}

fn id(row: &Row, whole: bool) -> &str {
    if whole { &row.record.id } else { &row.record.id[..12] }
}

/// What the table shows, in its order.
fn cells(row: &Row, whole: bool, now: Moment) -> [String; 7] {
    let Row { record, status, ports, health, size: _ } = row;
    let health = match health {
        None => String::new(),
        Some(HealthState::Starting) => " (health: starting)".to_string(),
        Some(state) => format!(" ({})", state.name()),
    };
    let command = program(&record.execution, &record.options).unwrap_or_default().join(" ");
    let command = if whole { command } else { shortened(&command, 20) };
    let age = std::time::Duration::from_nanos(now.0.saturating_sub(record.created.0));
    [
        id(row, whole).to_string(),
        record.image.clone(),
        // Line ends and a terminal's commands are shown, not obeyed.
        format!("{command:?}"),
        format!("{} ago", span(age)),
        status.sentence(now) + &health,
        ports.join(", "),
        record.name.clone(),
    ]
}

fn fields(row: &Row, whole: bool, now: Moment) -> Value {
    let Row { record, status, ports: _, health: _, size } = row;
    let [id, image, command, created, sentence, ports, name] = cells(row, whole, now);
    json!({
        "ID": id,
        "Image": image,
        "Command": command,
        "CreatedAgo": created,
        "Status": sentence,
        "State": status.name(),
        "Ports": ports,
        "Names": name,
        "Networks": networks(record).join(","),
        "Size": human_size(*size),
        "CreatedAt": rfc3339(record.created),
        "Mounts": record.options.mounts.iter().map(|mount| mount.destination.as_str()).collect::<Vec<_>>().join(","),
        "Labels": record.options.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
    })
}
