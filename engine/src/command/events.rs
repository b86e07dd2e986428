//! events: what happens to containers, images, networks and volumes.

use serde_json::{Value, json};

use super::filter::Filters;
use super::format::Format;
use super::moment::moment_of;
use super::stdout::print_while_read;
use super::{Arguments, Command, Flag, Global};
use crate::error::Result;
use crate::store::{Event, EventKind};
use crate::time::{Moment, rfc3339};

pub const COMMAND: Command = Command {
    name: "events",
    aliases: &["system events"],
    operands: "",
    operand_count: 0..=0,
    help: "show what happens, as it happens",
    flags: &[&[
        Flag {
            long: "since",
            short: None,
            value: Some("TIME"),
            help: "and what has happened: 10m, a date, seconds",
        },
        Flag { long: "until", short: None, value: Some("TIME"), help: "no longer than that" },
        Flag {
            long: "filter",
            short: Some('f'),
            value: Some("NAME=VALUE"),
            help: "type=…, event=…, container=…, image=…, volume=…, network=…, label=…",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.Action}}" },
    ]],
    ends_at_operand: false,
    run: events,
};

fn events(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let filters =
        Filters::parse(arguments, &["type", "event", "container", "image", "volume", "network", "label"])?;
    let (since, until) = (moment_of(arguments, "since")?, moment_of(arguments, "until")?);
    let store = global.store()?;
    let mut reader = store.events().watch(since, until)?;
    while let Some(events) = reader.next_events()? {
        for event in &events {
            if !show(event, &filters, &format)? {
                return Ok(0);
            }
        }
    }
    Ok(0)
}

/// False if nobody reads any more.
fn show(event: &Event, filters: &Filters, format: &Format) -> Result<bool> {
    if !is_wanted(event, filters) {
        return Ok(true);
    }
    let text = match format {
        Format::Table => line(event),
        Format::Json => format!("{}\n", message(event)),
        format => format.row(&document(event))?,
    };
    print_while_read(&text)
}

fn is_wanted(event: &Event, filters: &Filters) -> bool {
    EVENT_FILTERS.iter().all(|name| filters.any(name, |value| is_meant(event, name, value)))
        && filters.all("label", |value| super::filter::is_labelled(&event.attributes, value))
}

/// Filters of which one value must fit.
pub const EVENT_FILTERS: [&str; 6] = ["type", "event", "container", "image", "volume", "network"];

/// Whether a value of one of these filters fits.
pub fn is_meant(event: &Event, filter: &str, value: &str) -> bool {
    let is_called = |attribute: &str| event.attributes.get(attribute).is_some_and(|name| name == value);
    let is_it = |kind| event.kind == kind && (is_called("name") || event.id.starts_with(value));
    match filter {
        "type" => event.kind.name() == value,
        "event" => event.action.split(':').next() == Some(value) || event.action == value,
        "container" => is_it(EventKind::Container),
        "volume" => is_it(EventKind::Volume),
        "network" => is_it(EventKind::Network),
        // Also what happens to containers that are made of it.
        "image" if event.kind == EventKind::Image => event.id == value || is_called("name"),
        "image" => is_called("image"),
        _ => false,
    }
}

fn line(event: &Event) -> String {
    let Event { time, kind, action, id, attributes } = event;
    let attributes: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let attributes = attributes.join(", ");
    let text = format!("{} {} {action} {id} ({attributes})", rfc3339(*time), kind.name());
    format!("{}\n", crate::message::line(&text))
}

/// What templates are filled with.
fn document(event: &Event) -> Value {
    let Event { time, kind, action, id, attributes } = event;
    json!({
        "Type": kind.name(),
        "Action": action,
        "Actor": {"ID": id, "Attributes": attributes},
        "Scope": "local",
        "Time": seconds(*time),
        "TimeNano": time.0,
        "ID": id,
        "From": attributes.get("image").map_or("", String::as_str),
        "Status": action,
    })
}

/// As Docker's clients get it, with what older ones read.
pub fn message(event: &Event) -> Value {
    let Event { time, kind, action, id, attributes } = event;
    let mut message = json!({
        "Type": kind.name(),
        "Action": action,
        "Actor": {"ID": id, "Attributes": attributes},
        "scope": "local",
        "time": seconds(*time),
        "timeNano": time.0,
    });
    if matches!(kind, EventKind::Container | EventKind::Image) {
        (message["status"], message["id"]) = (json!(action), json!(id));
    }
    if *kind == EventKind::Container {
        message["from"] = json!(attributes.get("image"));
    }
    message
}

fn seconds(time: Moment) -> u64 {
    time.0 / 1_000_000_000
}
