//! events: what happens to containers and volumes.

use serde_json::{Value, json};

use super::filter::Filters;
use super::format::Format;
use super::stdout::print_while_read;
use super::{Arguments, Command, Flag, Global};
use crate::container::size::parse_time;
use crate::error::{Error, Result};
use crate::message;
use crate::store::{Event, EventKind};
use crate::time::{Moment, parse_rfc3339, rfc3339};

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
            help: "type=…, event=…, container=…, image=…, volume=…, label=…",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.Action}}" },
    ]],
    ends_at_operand: false,
    run: events,
};

fn events(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let filters = Filters::parse(arguments, &["type", "event", "container", "image", "volume", "label"])?;
    let since = arguments.text("since")?.map(|text| moment("--since", text)).transpose()?;
    let until = arguments.text("until")?.map(|text| moment("--until", text)).transpose()?;
    let store = global.store()?;
    // Before the look at what is there: nothing is missed.
    let mut reader = store.events().follow()?;
    let mut last = Moment::now();
    if let Some(since) = since {
        let all = store.events().read()?;
        last = all.last().map_or(last, |event| event.time);
        let mut wanted = all
            .into_iter()
            .filter(|event| event.time >= since && until.is_none_or(|until| event.time <= until));
        if !wanted.try_fold(true, |read, event| Ok::<_, Error>(read && show(&event, &filters, &format)?))? {
            return Ok(0);
        }
    }
    while let Some(events) = reader.next_events(until)? {
        for event in events.into_iter().filter(|event| since.is_none() || event.time > last) {
            if !show(&event, &filters, &format)? {
                return Ok(0);
            }
        }
    }
    Ok(0)
}

/// A date, seconds since 1970, or so long ago.
fn moment(flag: &str, text: &str) -> Result<Moment> {
    if let Some(moment) = parse_rfc3339(text) {
        return Ok(moment);
    }
    if let Ok(seconds) = text.parse::<f64>()
        && seconds > 1e6
    {
        return Ok(Moment((seconds * 1e9) as u64));
    }
    let wrong = || {
        Error::invalid(format!(
            "{flag} {text}: must be 2006-01-02T15:04:05Z, seconds since 1970, or a time ago as 10m"
        ))
    };
    let ago = parse_time(flag, text).map_err(|_| wrong())?;
    Ok(Moment(Moment::now().0.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))))
}

/// False if nobody reads any more.
fn show(event: &Event, filters: &Filters, format: &Format) -> Result<bool> {
    if !is_wanted(event, filters) {
        return Ok(true);
    }
    let text = match format {
        Format::Table => line(event),
        format => format.row(&document(event))?,
    };
    print_while_read(&text)
}

fn is_wanted(event: &Event, filters: &Filters) -> bool {
    let is_it = |kind: EventKind, value: &str| {
        let name = event.attributes.get("name").is_some_and(|name| name == value);
        event.kind == kind && (name || event.id.starts_with(value))
    };
    filters.any("type", |value| event.kind.name() == value)
        && filters
            .any("event", |value| event.action.split(':').next() == Some(value) || event.action == value)
        && filters.any("container", |value| is_it(EventKind::Container, value))
        && filters.any("volume", |value| is_it(EventKind::Volume, value))
        && filters.any("image", |value| event.attributes.get("image").is_some_and(|image| image == value))
        && filters.all("label", |value| super::filter::is_labelled(&event.attributes, value))
}

fn line(event: &Event) -> String {
    let Event { time, kind, action, id, attributes } = event;
    let attributes: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let attributes = attributes.join(", ");
    let text = format!("{} {} {action} {id} ({attributes})", rfc3339(*time), kind.name());
    format!("{}\n", message::line(&text))
}

fn document(event: &Event) -> Value {
    let Event { time, kind, action, id, attributes } = event;
    json!({
        "Type": kind.name(),
        "Action": action,
        "Actor": {"ID": id, "Attributes": attributes},
        "scope": "local",
        "Time": time.0 / 1_000_000_000,
        "TimeNano": time.0,
        "ID": id,
        "Status": action,
    })
}
