//! ps: which containers there are.

use serde_json::{Value, json};

use super::filter::{Filters, is_labelled, is_named};
use super::format::{Format, Heads};
use super::port_list;
use super::table::{columns, human_size, shortened};
use super::template::LABELS;
use super::{Arguments, Command, Flag, Global, print, say, whole};
use crate::container::{
    ContainerRecord, Health, HealthState, ImageNames, NetworkMode, Progress, Published, Status, Summary,
    Swept, disk_usage, published, span,
};
use crate::error::{Error, Kind, Result};
use crate::image::ImageId;
use crate::order;
use crate::store::{ContainerFolder, ContainerId, Rest, Store, Summaries};
use crate::thread::by_shares;
use crate::time::{Moment, spoken};

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
        Flag { long: "latest", short: Some('l'), value: None, help: "the last one that was made" },
        Flag {
            long: "filter",
            short: Some('f'),
            value: Some("NAME=VALUE"),
            help: "name, id, status, exited, health, label, ancestor, volume, network, before, since, publish or expose, =…",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.ID}}" },
    ]],
    ends_at_operand: false,
    run: ps,
};

/// Those of a table come first, in their order.
const HEADS: &Heads = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("CreatedAt", "CREATED AT"),
    ("State", "STATE"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

struct Row {
    id: ContainerId,
    /// Sorting moves rows.
    summary: Box<Summary>,
    status: Status,
    /// As Docker shows them: `0.0.0.0:8080->80/tcp`, or `80/tcp` of one that is only exposed.
    ports: String,
    health: Option<HealthState>,
    /// Bytes of the disk, if somebody wants to see them.
    size: u64,
    /// Of one at rest, and whether its summary is not known in this state.
    rest: Option<(Rest, Freshness)>,
}

/// Where a summary comes from.
#[derive(Clone, Copy, PartialEq)]
enum Freshness {
    Known,
    Read,
}

fn ps(global: &Global, arguments: &Arguments) -> Result<u8> {
    let (store, swept) = global.store_and_containers()?;
    let format = Format::parse(arguments.text("format")?)?;
    let last = match arguments.number::<i64>("last")? {
        _ if arguments.is_set("latest") => Some(1),
        // Docker: all.
        Some(-1) | None => None,
        Some(number) => Some(usize::try_from(number).map_err(|_| {
            Error::invalid(format!("--last {number}: must be a number of containers, or -1 for all"))
        })?),
    };
    let filters = Filters::parse(
        arguments,
        &[
            "name", "id", "status", "exited", "health", "label", "ancestor", "volume", "network", "before",
            "since", "publish", "expose",
        ],
    )?;
    filters.check_words("status", &Status::NAMES)?;
    filters.check_words("health", &["starting", "healthy", "unhealthy", "none"])?;
    filters.check("exited", "a status from 0 to 255", |value| value.parse::<u8>().is_ok())?;
    // Docker: whoever asks for a state means all that have it.
    let all = arguments.is_set("all") || last.is_some() || filters.has("status");
    let mut rows = rows(&store, &swept, all);
    for name in ["publish", "expose"] {
        filters.check(name, "as 80, 80/udp or 8000-8010", |value| ports_of(value).is_some())?;
    }
    let neighbours = Neighbours::parse(&store, &filters)?;
    let ancestors: Vec<_> = filters
        .values("ancestor")
        .filter_map(|value| store.find_image(value).ok())
        .map(|image| image.id)
        .collect();
    rows.retain(|row| is_wanted(row, &filters, &ancestors) && neighbours.accept(row));
    rows.truncate(last.unwrap_or(usize::MAX));
    let with_sizes = arguments.is_set("size");
    // What takes time is done for those alone who want to see it.
    if with_sizes || arguments.text("format")?.is_some_and(|text| text.contains(".Size")) {
        measure(&store, &mut rows)?;
    }
    let whole = arguments.is_set("no-trunc");
    let now = Moment::now();
    if arguments.is_set("quiet") {
        let ids = rows.iter().map(|row| format!("{}\n", id(row, whole)));
        return print(&ids.collect::<String>());
    }
    let mut names = ImageNames::of(&store);
    for Row { summary, .. } in &mut rows {
        if let Some(id) = names.lost(&summary.image, summary.image_id.as_ref()) {
            summary.image = if whole { id.to_string() } else { id.digest().short() };
        }
    }
    if format == Format::Table {
        let mut heads = HEADS[..7].iter().map(|(_, head)| head.to_string()).collect::<Vec<_>>();
        heads.extend(with_sizes.then(|| "SIZE".to_string()));
        let lines = rows.iter().map(|row| {
            let mut cells = cells(row, whole, now).to_vec();
            cells.extend(with_sizes.then(|| human_size(row.size)));
            cells
        });
        return print(&columns(&std::iter::once(heads).chain(lines).collect::<Vec<_>>()));
    }
    let rows: Vec<Value> = rows.iter().map(|row| fields(row, whole, now)).collect();
    print(&format.show(&rows, HEADS, &[])?)
}

fn measure(store: &Store, rows: &mut [Row]) -> Result<()> {
    for row in rows {
        row.size =
            match store.containers().find(row.id.as_str()).and_then(|folder| disk_usage(store, &folder)) {
                // It has just gone.
                Err(error) if error.kind() == Kind::NotFound => 0,
                size => size?,
            };
    }
    Ok(())
}

/// The newest first.
fn rows(store: &Store, swept: &[Swept], all: bool) -> Vec<Row> {
    let mut rows: Vec<Row> = match all {
        true => {
            let summaries = Summaries::read(&store.containers());
            let row = |swept: &Swept| known(store, &summaries, swept).or_else(|| read(store, swept));
            let rows: Vec<Row> = by_shares(swept, row).into_iter().flatten().collect();
            summaries.keep(rows.iter().filter_map(noted).collect());
            rows
        }
        false => {
            let awake: Vec<&Swept> = swept.iter().filter(|swept| !swept.is_at_rest).collect();
            let rows = by_shares(&awake, |swept| read(store, swept)).into_iter().flatten();
            rows.filter(|row| row.status.is_alive()).collect()
        }
    };
    order::sort_by_key(&mut rows, |row| std::cmp::Reverse(row.summary.created));
    rows
}

/// What is kept of a row for the next list.
fn noted(row: &Row) -> Option<(Rest, Option<Vec<u8>>)> {
    let (rest, freshness) = row.rest?;
    let text = (freshness == Freshness::Read).then(|| serde_json::to_vec(&row.summary));
    Some((rest, text.transpose().ok()?))
}

/// That of one at rest whose summary is known.
fn known(store: &Store, summaries: &Summaries, swept: &Swept) -> Option<Row> {
    let rest = swept.rest?;
    let summary: Summary = serde_json::from_slice(summaries.find(&rest)?).ok()?;
    let status = Status::from(store, &swept.folder, summary.progress.clone()).ok()?;
    Some(Row {
        id: swept.folder.id.clone(),
        summary: Box::new(summary),
        status,
        ports: String::new(),
        health: None,
        size: 0,
        rest: Some((rest, Freshness::Known)),
    })
}

/// `None` of one that is gone meanwhile, or was never complete.
fn read(store: &Store, swept: &Swept) -> Option<Row> {
    let Swept { folder, progress, is_at_rest: _, rest } = swept;
    let progress = progress.clone().or_else(|| whole(folder, Progress::read(folder)))?;
    let status = whole(folder, Status::from(store, folder, progress.clone()))?;
    let Some(Some(record)) = whole(folder, ContainerRecord::read(folder)) else {
        if ContainerRecord::is_there(folder) {
            say(&format!("warning: {}", ContainerRecord::torn(folder)));
        }
        return None;
    };
    let ports = if status.is_alive() { whole(folder, published_ports(store, folder, &record)) } else { None };
    let health = if status.is_alive() { whole(folder, Health::of(folder, &record)) } else { None };
    let has_own = !matches!(record.options.network.mode, NetworkMode::Host | NetworkMode::Container(_));
    let summary = Box::new(Summary::of(record, progress));
    Some(Row {
        id: folder.id.clone(),
        ports: ports
            .map(|ports| port_list::shown(&ports, if has_own { &summary.exposed } else { &[] }))
            .unwrap_or_default(),
        summary,
        // What has been started since was never at rest with these.
        rest: rest.filter(|_| !status.is_alive()).map(|rest| (rest, Freshness::Read)),
        status,
        health: health.flatten().map(|health| health.state),
        size: 0,
    })
}

fn published_ports(
    store: &Store,
    folder: &ContainerFolder,
    record: &ContainerRecord,
) -> Result<Vec<Published>> {
    let network = &record.options.network;
    match network.published.is_empty() && !network.publish_all {
        true => Ok(Vec::new()),
        false => published(store, folder),
    }
}

fn is_wanted(row: &Row, filters: &Filters, ancestors: &[ImageId]) -> bool {
    let Row { id, summary, status, health, .. } = row;
    let exited = match status {
        Status::Exited(exit) => Some(exit.status.to_string()),
        _ => None,
    };
    let is_one = |all: &[String], value: &str| all.iter().any(|one| one == value);
    let is_mounted = |value: &str| is_one(&summary.volumes, value) || is_one(&summary.destinations, value);
    let is_made_of = |value: &str| match &summary.image_id {
        Some(id) => ancestors.contains(id),
        None => summary.image == value,
    };
    let is_published = |wanted: &str| summary.published.iter().any(|port| overlap(port, wanted));
    let is_exposed = |wanted: &str| summary.exposed.iter().any(|port| overlap(port, wanted));
    filters.any("name", |value| is_named(&summary.name, value))
        && filters.any("id", |value| id.as_str().starts_with(value))
        && filters.any("status", |value| status.name() == value)
        && filters.any("exited", |value| exited.as_deref() == Some(value))
        && filters.any("health", |value| health.map_or("none", HealthState::name) == value)
        && filters.all("label", |value| is_labelled(&summary.labels, value))
        && filters.any("ancestor", is_made_of)
        && filters.any("volume", is_mounted)
        && filters.any("network", |value| is_one(&summary.networks, value))
        && filters.any("publish", is_published)
        && filters.any("expose", |value| is_exposed(value) || is_published(value))
}

/// Whether ports of a container, as a flag publishes them or an image exposes them, are among those of a filter.
fn overlap(port: &str, wanted: &str) -> bool {
    match (ports_of(port), ports_of(wanted)) {
        (Some(one), Some(other)) => {
            one.protocol == other.protocol && one.first <= other.last && other.first <= one.last
        }
        _ => false,
    }
}

/// Ports of a container.
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

/// The container's side of `127.0.0.1:8080-8081:80-81/tcp`.
fn ports_of(text: &str) -> Option<Ports> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let inside = ports.rsplit(':').next()?;
    let (first, last) = inside.split_once('-').unwrap_or((inside, inside));
    Some(Ports {
        first: first.parse().ok()?,
        last: last.parse().ok()?,
        protocol: protocol.to_ascii_lowercase(),
    })
}

/// `--filter before=CONTAINER`, `--filter since=CONTAINER`.
struct Neighbours {
    before: Vec<Moment>,
    since: Vec<Moment>,
}

impl Neighbours {
    fn parse(store: &Store, filters: &Filters) -> Result<Neighbours> {
        let moment = |name: &str| Ok(ContainerRecord::of(&store.containers().find(name)?)?.created);
        let moments = |name: &str| {
            filters
                .values(name)
                .map(moment)
                .collect::<Result<Vec<Moment>>>()
                .map_err(|error| error.context(format!("--filter {name}")))
        };
        Ok(Neighbours { before: moments("before")?, since: moments("since")? })
    }

    fn accept(&self, row: &Row) -> bool {
        let created = row.summary.created;
        self.before.iter().all(|limit| created < *limit) && self.since.iter().all(|limit| created > *limit)
    }
}

fn id(row: &Row, whole: bool) -> &str {
    if whole { row.id.as_str() } else { row.id.short() }
}

/// What the table shows, in its order.
fn cells(row: &Row, whole: bool, now: Moment) -> [String; 7] {
    let Row { summary, status, ports, health, .. } = row;
    let health = match health {
        None => "",
        Some(HealthState::Starting) => " (health: starting)",
        Some(state) => &format!(" ({})", state.name()),
    };
    let command = if whole { summary.command.clone() } else { shortened(&summary.command, 20) };
    let age = std::time::Duration::from_nanos(now.0.saturating_sub(summary.created.0));
    [
        id(row, whole).to_string(),
        summary.image.clone(),
        // Line ends and a terminal's commands are shown, not obeyed.
        format!("{command:?}"),
        span(age) + " ago",
        status.sentence(now) + health,
        ports.clone(),
        summary.name.clone(),
    ]
}

fn fields(row: &Row, whole: bool, now: Moment) -> Value {
    let Row { summary, status, size, .. } = row;
    let [id, image, command, created, sentence, ports, name] = cells(row, whole, now);
    json!({
        "ID": id,
        "Image": image,
        "Command": command,
        "RunningFor": created,
        "Status": sentence,
        "State": status.name(),
        "Ports": ports,
        "Names": name,
        "Networks": summary.networks.join(","),
        "Size": human_size(*size),
        "CreatedAt": spoken(summary.created.whole_second()),
        "Mounts": summary.destinations.join(","),
        "LocalVolumes": summary.volumes.len().to_string(),
        // Those of the image are shown by inspect.
        LABELS: summary.labels,
        "Labels": summary.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
    })
}
