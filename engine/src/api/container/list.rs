//! `GET /containers/json`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::known::{Known, KnownContainers, Reading};
use crate::api::query::Filters;
use crate::command::{is_labelled, is_named};
use crate::container::{
    Binding, ContainerRecord, Endpoint, Health, HealthState, ImageNames, NetworkSettings, Status, arguments,
    disk_usage, inspect_mount, interfaces, network_name,
};
use crate::error::Context;
use crate::image::ImageId;
use crate::order::{self, Collect};
use crate::store::{ContainerFolder, ImageRecord, NetworkRecord, NetworkRecords, Store};
use crate::thread::by_shares;
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

/// About how many bytes a container takes in a list.
const USUAL_LENGTH: usize = 1024;

/// A container, as far as it has been looked at.
struct Row {
    known: Arc<Known>,
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
    let all = query.is_set("all") || limit.is_some() || filters.has("status");
    daemon.sweep_later();
    let store = &daemon.store;
    check(&filters)?;
    let images = ancestors(store, &filters)?;
    let bounds = Bounds::of(daemon, &filters)?;
    let reading = daemon.known.read(store)?;
    let mut rows = rows(store, &reading, all)?;
    rows.retain(|row| bounds.has(row) && is_wanted(row, &filters, &images));
    rows.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    let now = Moment::now();
    if query.is_set("size") {
        return Ok(Reply::Json(200, documents(store, &rows, now)?));
    }
    Ok(Reply::Written(200, write(store, &reading, &rows, now)?))
}

/// All of them with their sizes.
///
/// # Errors
/// A record cannot be read.
pub fn list_all(store: &Store, known: &KnownContainers) -> crate::Result<Value> {
    documents(store, &rows(store, &known.read(store)?, true)?, Moment::now())
}

/// With their sizes, as programs here need them.
fn documents(store: &Store, rows: &[Row], now: Moment) -> crate::Result<Value> {
    // Once for all of them.
    let networks = store.networks().list()?;
    let mut images = ImageNames::of(store);
    let mut document = |row: &Row| {
        let mut document = json!(Listed::of(store, &networks, lost_image(&mut images, row), row)?);
        let (own, whole) = sizes(store, &row.known.folder, &row.known.record);
        document["Status"] = json!(row.sentence(now));
        // As Docker has it: what is nothing is left out.
        for (name, size) in [("SizeRw", own), ("SizeRootFs", whole)].into_iter().filter(|(_, size)| *size > 0)
        {
            document[name] = json!(size);
        }
        Ok(document)
    };
    rows.iter().map(&mut document).collect()
}

/// The list as clients get it. What does not run is written once, and again when it has changed.
fn write(store: &Store, reading: &Reading, rows: &[Row], now: Moment) -> crate::Result<Vec<u8>> {
    let known: Vec<_> = rows.iter().map(|row| reading.text(&row.known).filter(|_| row.rests())).collect();
    let unknown: Vec<&Row> =
        rows.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(row, _)| row).collect();
    let networks = if unknown.is_empty() { Vec::new() } else { store.networks().list()? };
    let mut images = ImageNames::of(store);
    let unknown: Vec<_> = unknown.into_iter().map(|row| (row, lost_image(&mut images, row))).collect();
    let mut written = by_shares(&unknown, |(row, lost)| text(store, &networks, *lost, row)).into_iter();
    let mut list = Vec::with_capacity(rows.len() * USUAL_LENGTH);
    list.push(b'[');
    for (row, known) in rows.iter().zip(known) {
        if list.len() > 1 {
            list.push(b',');
        }
        if let Some(known) = known {
            list.extend_from_slice(&known);
        } else if let Some(text) = written.next().transpose()? {
            list.extend_from_slice(&text);
            if row.rests() {
                reading.keep_text(&row.known, &text);
            }
        }
        list.extend_from_slice(b",\"Status\":");
        append(&mut list, &row.sentence(now))?;
        list.push(b'}');
    }
    list.push(b']');
    Ok(list)
}

/// Everything but the sentence about its state, and the brace that closes it.
fn text(
    store: &Store,
    networks: &[NetworkRecord],
    lost: Option<&ImageId>,
    row: &Row,
) -> crate::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(USUAL_LENGTH);
    append(&mut text, &Listed::of(store, networks, lost, row)?)?;
    text.pop();
    Ok(text)
}

/// The id of its image, if the name that it was made by is not that one's any more.
fn lost_image<'r>(images: &mut ImageNames<'_>, row: &'r Row) -> Option<&'r ImageId> {
    let record = &row.known.record;
    images.lost(&record.image, record.image_id())
}

fn append(list: &mut Vec<u8>, value: &impl Serialize) -> crate::Result<()> {
    serde_json::to_writer(list, value).map_err(std::io::Error::from).context(|| "list of containers")
}

fn rows(store: &Store, reading: &Reading, all: bool) -> crate::Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(reading.containers.len());
    for known in &reading.containers {
        let status = match Status::from(store, &known.folder, known.progress.clone()) {
            // One that has gone meanwhile is none.
            Err(error) if error.kind() == crate::Kind::NotFound => continue,
            // Of one whose state is damaged the list says that it is no good, and `inspect` why.
            status => status.unwrap_or(Status::Lost),
        };
        if !all && !status.is_alive() && !matches!(status, Status::Restarting(_)) {
            continue;
        }
        let health = if status.is_alive() { Health::of(&known.folder, &known.record)? } else { None };
        rows.push(Row { known: known.clone(), status, health: health.map(|health| health.state) });
    }
    order::sort_by_key(&mut rows, |row| std::cmp::Reverse(row.known.record.created));
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
    let is_mounted =
        |value: &str| record.options.has_volume(value) || mounts().any(|mount| mount.destination == value);
    filters.any("name", |value| is_named(&record.name, value))
        && filters.any("id", |value| record.id.starts_with(value))
        && filters.any("status", |value| status.name() == value)
        && filters.any("exited", |value| exited.as_deref() == Some(value))
        && filters.any("health", |value| health.map_or("none", HealthState::name) == value)
        && filters.all("label", |value| is_labelled(&labels(record), value))
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
fn labels(record: &ContainerRecord) -> BTreeMap<&str, &str> {
    let all = record.execution.labels.iter().chain(&record.options.labels);
    all.map(|(name, value)| (name.as_str(), value.as_str())).collect_map()
}

/// Everything but the sentence about its state.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    id: &'a str,
    names: [String; 1],
    image: Cow<'a, str>,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: u64,
    ports: Vec<Port>,
    labels: BTreeMap<&'a str, &'a str>,
    state: &'static str,
    host_config: ListedHostConfig,
    network_settings: ListedNetworks,
    mounts: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedHostConfig {
    network_mode: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNetworks {
    networks: BTreeMap<String, Endpoint>,
}

/// A port of the container's, at one address of the host's if it is published.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    private_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_port: Option<u16>,
    r#type: String,
}

impl<'a> Listed<'a> {
    fn of(
        store: &Store,
        networks: &[NetworkRecord],
        lost: Option<&ImageId>,
        row: &'a Row,
    ) -> crate::Result<Listed<'a>> {
        let Row { known, status, .. } = row;
        let record = &known.record;
        // What does not run has none.
        let interfaces = if status.is_alive() { interfaces(store, &record.id)? } else { Vec::new() };
        let named = |name: &str| NetworkRecords::find_in(networks, name).cloned();
        let settings = NetworkSettings::of(record, &interfaces, &named);
        Ok(Listed {
            id: &record.id,
            names: [format!("/{}", record.name)],
            image: match lost {
                Some(id) => Cow::Owned(id.to_string()),
                None => Cow::Borrowed(&record.image),
            },
            image_id: record.image_id().map(ToString::to_string).unwrap_or_default(),
            command: shell_words(&arguments(&record.execution, &record.options).unwrap_or_default()),
            created: record.created.0 / 1_000_000_000,
            ports: ports(settings.ports),
            labels: labels(record),
            state: status.name(),
            host_config: ListedHostConfig { network_mode: network_name(&record.options.network.mode) },
            network_settings: ListedNetworks { networks: settings.networks },
            mounts: record.options.mounts.iter().map(|mount| inspect_mount(store, mount)).collect(),
        })
    }
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
fn ports(all: BTreeMap<String, Option<Vec<Binding>>>) -> Vec<Port> {
    let mut ports = Vec::new();
    for (port, bindings) in all {
        let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        let entry = |address: Option<String>, public_port: Option<u16>| Port {
            address,
            private_port: number.parse().unwrap_or(0),
            public_port,
            r#type: protocol.to_string(),
        };
        match bindings.unwrap_or_default() {
            none if none.is_empty() => ports.push(entry(None, None)),
            bindings => ports
                .extend(bindings.into_iter().map(|one| entry(Some(one.host_ip), one.host_port.parse().ok()))),
        }
    }
    ports
}
