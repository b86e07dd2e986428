//! network ls: which networks there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filter::{Filters, is_labelled, is_named};
use super::format::{Format, Heads};
use super::network::{OWN, networks_in_use};
use super::template::LABELS;
use super::{Arguments, Command, Flag, Global, print, tell_broken};
use crate::error::Result;
use crate::store::{NetworkRecord, Store};
use crate::time::{Moment, rfc3339};

pub const COMMAND: Command = Command {
    name: "network ls",
    aliases: &["network list"],
    operands: "",
    operand_count: 0..=0,
    help: "list networks",
    flags: &[&[
        Flag { long: "quiet", short: Some('q'), value: None, help: "ids alone" },
        Flag { long: "no-trunc", short: None, value: None, help: "nothing is shortened" },
        Flag {
            long: "filter",
            short: Some('f'),
            value: Some("NAME=VALUE"),
            help: "driver, id, label, name, scope, type or dangling, =…",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.Name}}" },
    ]],
    ends_at_operand: false,
    run: ls,
};

const HEADS: &Heads = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

/// A network, whoever has made it.
struct Row {
    /// Those that are always there have none.
    id: Option<String>,
    name: String,
    driver: String,
    internal: bool,
    labels: BTreeMap<String, String>,
    created: Option<Moment>,
    is_used: bool,
}

fn ls(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let filters = Filters::parse(arguments, &["driver", "id", "label", "name", "scope", "type", "dangling"])?;
    filters.check_words("type", &["custom", "builtin"])?;
    filters.check_words("dangling", &["true", "false", "1", "0"])?;
    let store = global.store()?;
    tell_broken(&store.broken_networks()?);
    let mut rows = rows(&store)?;
    rows.retain(|row| is_wanted(row, &filters));
    let whole = arguments.is_set("no-trunc");
    if arguments.is_set("quiet") {
        let ids = rows.iter().filter(|row| row.id.is_some()).map(|row| shown_id(row, whole) + "\n");
        return print(&ids.collect::<String>());
    }
    let rows: Vec<Value> = rows.iter().map(|row| fields(row, whole)).collect();
    print(&format.show(&rows, HEADS, &["ID", "Name", "Driver"])?)
}

fn rows(store: &Store) -> Result<Vec<Row>> {
    let used = networks_in_use(store)?;
    let own = OWN.iter().map(|(name, driver)| Row {
        id: None,
        name: name.to_string(),
        driver: driver.to_string(),
        internal: false,
        labels: BTreeMap::new(),
        created: None,
        is_used: true,
    });
    let named = store.networks().list()?.into_iter().map(|record| {
        let (driver, is_used) = (record.driver.name().to_string(), used.contains(&record.name));
        let NetworkRecord { id, name, internal, labels, created, .. } = record;
        Row { id: Some(id), name, driver, internal, labels, created: Some(created), is_used }
    });
    Ok(own.chain(named).collect())
}

fn is_wanted(row: &Row, filters: &Filters) -> bool {
    let kind = if row.id.is_some() { "custom" } else { "builtin" };
    filters.any("driver", |value| row.driver == value)
        && filters.any("id", |value| row.id.as_ref().is_some_and(|id| id.contains(value)))
        && filters.all("label", |value| is_labelled(&row.labels, value))
        && filters.any("name", |value| is_named(&row.name, value))
        && filters.any("scope", |value| value == "local")
        && filters.any("type", |value| value == kind)
        // Docker: what is always there dangles never.
        && filters.all("dangling", |value| {
            matches!(value, "true" | "1") == !row.is_used
        })
}

fn shown_id(row: &Row, whole: bool) -> String {
    match &row.id {
        Some(id) if whole => id.clone(),
        Some(id) => id[..12].to_string(),
        None => "-".repeat(12),
    }
}

fn fields(row: &Row, whole: bool) -> Value {
    let labels = row.labels.iter().map(|(name, value)| format!("{name}={value}"));
    json!({
        "ID": shown_id(row, whole),
        "Name": row.name,
        "Driver": row.driver,
        "Scope": "local",
        "Internal": row.internal.to_string(),
        "CreatedAt": row.created.map_or(String::new(), rfc3339),
        LABELS: row.labels,
        "Labels": labels.collect::<Vec<_>>().join(","),
    })
}
