//! `GET /containers/json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::known::{Known, KnownContainers};
use crate::api::query::Filters;
use crate::command::{is_labelled, is_named};
use crate::container::{
    ContainerRecord, Health, HealthState, Status, arguments, disk_usage, inspect_mount, interfaces,
    network_name, network_settings,
};
use crate::store::{ContainerFolder, ImageRecord, NetworkRecord, NetworkRecords, Store};
use crate::time::Moment;

const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// A container, as far as it has been looked at.
struct Row {
    folder: ContainerFolder,
    known: Known,
    status: Status,
    health: Option<HealthState>,
}

impl Row {
    /// Whether all that is shown of it, but for the sentence about its state, stands in its folder.
    fn rests(&self) -> bool {
        matches!(self.status, Status::Created | Status::Exited(_))
    }

    fn sentence(&self, now: Moment) -> String {
        let health = match self.health {
            None => String::new(),
            Some(_) if matches!(self.status, Status::Paused { .. }) => String::new(),
            Some(HealthState::Starting) => " (health: starting)".to_string(),
            Some(state) => format!(" ({})", state.name()),
        };
        self.status.sentence(now) + &health
    }
}

/// Which containers there are, the newest first.
pub fn list(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let query = &exchange.head.query;
    let filters = query.filters(&FILTERS)?;
    let limit = query.number::<i64>("limit")?.filter(|limit| *limit > 0);
    let all = query.is_set("all") || limit.is_some() || filters.has("status") || filters.has("exited");
    daemon.sweep_later();
    let store = &daemon.store;
    check(&filters)?;
    let images = ancestors(store, &filters)?;
    let bounds = Bounds::of(daemon, &filters)?;
    let mut rows = rows(store, &daemon.known, all)?;
    rows.retain(|row| bounds.has(row) && is_wanted(row, &filters, &images));
    rows.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    let now = Moment::now();
    if query.is_set("size") {
        return Ok(Reply::Json(200, documents(store, &rows, now)?));
    }
    Ok(Reply::Written(200, write(store, &daemon.known, &rows, now)?))
}

/// All of them with their sizes.
///
/// # Errors
/// A record cannot be read.
pub fn list_all(store: &Store, known: &KnownContainers) -> crate::Result<Value> {
    documents(store, &rows(store, known, true)?, Moment::now())
}

/// With their sizes, as programs here need them.
fn documents(store: &Store, rows: &[Row], now: Moment) -> crate::Result<Value> {
    // Once for all of them.
    let networks = store.networks().list()?;
    let document = |row: &Row| {
        let mut document = document(store, &networks, row)?;
        let (own, whole) = sizes(store, &row.folder, &row.known.record);
        document["Status"] = json!(row.sentence(now));
        // As Docker has it: what is nothing is left out.
        for (name, size) in [("SizeRw", own), ("SizeRootFs", whole)].into_iter().filter(|(_, size)| *size > 0)
        {
            document[name] = json!(size);
        }
        Ok(document)
    };
    rows.iter().map(document).collect()
}

/// The list as clients get it. What does not run is written once, and again when it has changed.
fn write(store: &Store, known: &KnownContainers, rows: &[Row], now: Moment) -> crate::Result<Vec<u8>> {
    let mut networks = None;
    let mut list = vec![b'['];
    for row in rows {
        let text = match &row.known.text {
            Some(text) if row.rests() => text.clone(),
            _ => {
                if networks.is_none() {
                    networks = Some(store.networks().list()?);
                }
                let document = document(store, networks.as_deref().unwrap_or_default(), row)?.to_string();
                let text: Arc<str> = document.strip_suffix('}').unwrap_or(&document).into();
                if row.rests() {
                    known.keep_text(row.folder.id.as_str(), &row.known, text.clone());
                }
                text
            }
        };
        if list.len() > 1 {
            list.push(b',');
        }
        list.extend_from_slice(text.as_bytes());
        list.extend_from_slice(format!(",\"Status\":{}}}", Value::from(row.sentence(now))).as_bytes());
    }
    list.push(b']');
    Ok(list)
}

fn rows(store: &Store, known: &KnownContainers, all: bool) -> crate::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (folder, known) in known.read(store)? {
        // One that has gone meanwhile is none.
        let Ok(status) = Status::from(store, &folder, known.progress.clone()) else { continue };
        if !all && !status.is_alive() && !matches!(status, Status::Restarting(_)) {
            continue;
        }
        let health = if status.is_alive() { Health::of(&folder, &known.record)? } else { None };
        rows.push(Row { folder, known, status, health: health.map(|health| health.state) });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.known.record.created));
    Ok(rows)
}

/// Values that can be wrong.
fn check(filters: &Filters) -> Outcome<()> {
    let one_of = |name: &str, known: &[&str]| match filters.values(name).find(|value| !known.contains(value))
    {
        Some(value) => Err(Fault::invalid(format!("invalid filter '{name}={value}'"))),
        None => Ok(()),
    };
    one_of("status", &["created", "restarting", "running", "removing", "paused", "exited", "dead"])?;
    one_of("health", &["starting", "healthy", "unhealthy", "none"])?;
    match filters.values("exited").find(|value| value.parse::<i32>().is_err()) {
        Some(value) => Err(Fault::invalid(format!("invalid filter 'exited={value}'"))),
        None => Ok(()),
    }
}

/// The images that are meant by `ancestor`, by name or id.
fn ancestors(store: &Store, filters: &Filters) -> Outcome<Vec<ImageRecord>> {
    Ok(filters.values("ancestor").filter_map(|name| store.find_image(name).ok()).collect())
}

/// Moments between which a container was made.
struct Bounds {
    before: Option<Moment>,
    since: Option<Moment>,
}

impl Bounds {
    fn of(daemon: &Daemon, filters: &Filters) -> Outcome<Bounds> {
        let moment = |name: &str| {
            let find = |value: &str| Ok::<_, Fault>(ContainerRecord::of(&daemon.container(value)?)?.created);
            filters.values(name).next().map(find).transpose()
        };
        Ok(Bounds { before: moment("before")?, since: moment("since")? })
    }

    fn has(&self, row: &Row) -> bool {
        let created = row.known.record.created;
        self.before.is_none_or(|before| created < before) && self.since.is_none_or(|since| created > since)
    }
}

fn is_wanted(row: &Row, filters: &Filters, ancestors: &[ImageRecord]) -> bool {
    let Row { known, status, health, .. } = row;
    let record = &known.record;
    let exited = match status {
        Status::Exited(exit) => Some(exit.status.to_string()),
        _ => None,
    };
    let labels = labels(record);
    let ports = |name: &str| {
        filters.any(name, |value| {
            let wanted = if value.contains('/') { value.to_string() } else { format!("{value}/tcp") };
            match name {
                "expose" => record.execution.exposed_ports.contains_key(&wanted),
                _ => record
                    .options
                    .network
                    .published
                    .iter()
                    .any(|port| port == &wanted || port.ends_with(&format!(":{wanted}"))),
            }
        })
    };
    let mounts = || record.options.mounts.iter();
    let is_mounted = |value: &str| {
        record.options.volumes().any(|name| name == value) || mounts().any(|mount| mount.destination == value)
    };
    filters.any("name", |value| is_named(&record.name, value))
        && filters.any("id", |value| record.id.starts_with(value))
        && filters.any("status", |value| status.name() == value)
        && filters.any("exited", |value| exited.as_deref() == Some(value))
        && filters.any("health", |value| health.map_or("none", HealthState::name) == value)
        && filters.all("label", |value| is_labelled(&labels, value))
        && filters.any("ancestor", |_| ancestors.iter().any(|image| Some(&image.id) == record.image_id()))
        && filters.any("volume", is_mounted)
        && filters.any("network", |value| {
            let network = &record.options.network;
            network_name(&network.mode) == value || network.names().iter().any(|name| name == value)
        })
        && filters.any("is-task", |value| value == "false")
        && ports("expose")
        && ports("publish")
}

/// Those of the image, and the container's own.
fn labels(record: &ContainerRecord) -> BTreeMap<String, String> {
    let all = record.execution.labels.iter().chain(&record.options.labels);
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Everything but the sentence about its state.
fn document(store: &Store, networks: &[NetworkRecord], row: &Row) -> crate::Result<Value> {
    let Row { known: Known { record, .. }, status, .. } = row;
    // What does not run has none.
    let interfaces = if status.is_alive() { interfaces(store, &record.id)? } else { Vec::new() };
    let named = |name: &str| NetworkRecords::find_in(networks, name).cloned();
    let settings = network_settings(record, &interfaces, &named);
    let command = arguments(&record.execution, &record.options).unwrap_or_default();
    Ok(json!({
        "Id": record.id,
        "Names": [format!("/{}", record.name)],
        "Image": record.image,
        "ImageID": record.image_id().map(ToString::to_string).unwrap_or_default(),
        "Command": shell_words(&command),
        "Created": record.created.0 / 1_000_000_000,
        "Ports": ports(&settings),
        "Labels": labels(record),
        "State": status.name(),
        "HostConfig": {"NetworkMode": network_name(&record.options.network.mode)},
        "NetworkSettings": {"Networks": settings["Networks"]},
        "Mounts": record.options.mounts.iter().map(|mount| inspect_mount(store, mount)).collect::<Value>(),
    }))
}

/// As Docker shows a command: words with blanks in quotes.
fn shell_words(words: &[String]) -> String {
    let quoted = words.iter().enumerate().map(|(index, word)| match index > 0 && word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Bytes of its own, and with those of its image.
pub fn sizes(store: &Store, folder: &ContainerFolder, record: &ContainerRecord) -> (u64, u64) {
    // One that is just going has none.
    let own = disk_usage(store, folder).unwrap_or(0);
    (own, own + image_size(store, record))
}

fn image_size(store: &Store, record: &ContainerRecord) -> u64 {
    let layers = match &record.base {
        crate::container::Base::Image { layers, .. } => layers.as_slice(),
        crate::container::Base::Folder(_) => &[],
    };
    layers.iter().filter_map(|layer| store.layers().record(layer).ok()).map(|layer| layer.size).sum()
}

/// One entry for each address of the host's.
fn ports(settings: &Value) -> Vec<Value> {
    let mut ports = Vec::new();
    for (port, bindings) in settings["Ports"].as_object().into_iter().flatten() {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let private = number.parse::<u16>().unwrap_or(0);
        let bindings = bindings.as_array().map(Vec::as_slice).unwrap_or_default();
        if bindings.is_empty() {
            ports.push(json!({"PrivatePort": private, "Type": protocol}));
        }
        for binding in bindings {
            let public = binding["HostPort"].as_str().and_then(|port| port.parse::<u16>().ok());
            ports.push(json!({"IP": binding["HostIp"], "PrivatePort": private, "PublicPort": public, "Type": protocol}));
        }
    }
    ports
}
