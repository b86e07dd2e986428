//! ps: which containers there are.

use serde_json::{Value, json};

use super::format::Format;
use super::table::{shortened, table};
use super::{Arguments, Command, Flag, Global, print};
use crate::container::{
    ContainerRecord, Health, HealthState, Published, Status, arguments as program, published, span,
};
use crate::error::Result;
use crate::store::Store;
use crate::time::Moment;

pub const COMMAND: Command = Command {
    name: "ps",
    aliases: &["container ls", "container ps", "container list"],
    operands: "",
    operand_count: 0..=0,
    help: "list containers that run",
    flags: &[&[
        Flag { long: "all", short: Some('a'), value: None, help: "those as well that do not run" },
        Flag { long: "quiet", short: Some('q'), value: None, help: "ids alone" },
        Flag { long: "no-trunc", short: None, value: None, help: "nothing is shortened" },
        Flag { long: "last", short: Some('n'), value: Some("NUMBER"), help: "the last ones that were made" },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.ID}}" },
    ]],
    ends_at_operand: false,
    run: ps,
};

struct Row {
    record: ContainerRecord,
    status: Status,
    ports: Vec<Published>,
    health: Option<HealthState>,
}

fn ps(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let format = Format::parse(arguments.text("format")?)?;
    let last = arguments.number("last")?;
    let mut rows = rows(&store, arguments.is_set("all") || last.is_some())?;
    rows.truncate(last.unwrap_or(usize::MAX));
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
    let cells: Vec<[String; 7]> = rows
        .iter()
        .map(|row| {
            let fields = fields(row, whole, now);
            ["ID", "Image", "Command", "CreatedAgo", "Status", "Ports", "Names"]
                .map(|name| fields[name].as_str().unwrap_or_default().to_string())
        })
        .collect();
    print(&table(["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"], &cells))
}

/// The newest first.
fn rows(store: &Store, all: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for folder in store.containers().list()? {
        let status = Status::of(store, &folder)?;
        if !all && !status.is_alive() {
            continue;
        }
        // One that is gone meanwhile, or was never complete, is none.
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        let has_ports = status.is_alive() && !record.options.network.published.is_empty();
        let ports = if has_ports { published(store, &folder)? } else { Vec::new() };
        let health = if status.is_alive() { Health::of(&folder, &record)? } else { None };
        rows.push(Row { record, status, ports, health: health.map(|health| health.state) });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.record.created));
    Ok(rows)
}

fn id(row: &Row, whole: bool) -> &str {
    if whole { &row.record.id } else { &row.record.id[..12] }
}

fn fields(row: &Row, whole: bool, now: Moment) -> Value {
    let Row { record, status, ports, health } = row;
    let health = match health {
        None => String::new(),
        Some(HealthState::Starting) => " (health: starting)".to_string(),
        Some(state) => format!(" ({})", state.name()),
    };
    let command = program(&record.execution, &record.options).unwrap_or_default().join(" ");
    let command = if whole { command } else { shortened(&command, 20) };
    let age = std::time::Duration::from_nanos(now.0.saturating_sub(record.created.0));
    json!({
        "ID": id(row, whole),
        "Image": record.image,
        "Command": format!("\"{command}\""),
        "CreatedAgo": format!("{} ago", span(age)),
        "Status": status.sentence(now) + &health,
        "State": status.name(),
        "Ports": ports.iter().map(Published::to_string).collect::<Vec<_>>().join(", "),
        "Names": record.name,
        "Labels": record.options.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
    })
}
