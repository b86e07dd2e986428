//! `GET /events`: what happens, as it happens.

use std::os::fd::AsFd;

use super::container::moment;
use super::daemon::Daemon;
use super::exchange::{Exchange, Reply, Stream};
use super::fault::{Fault, Outcome};
use super::query::Filters;
use crate::command::{EVENT_FILTERS, describe_event, is_labelled, is_meant};
use crate::store::Event;

const FILTERS: [&str; 15] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
    "reference",
];

/// Shows what happens until the client goes, or until a moment.
pub fn events(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let query = &exchange.head.query;
    let filters = query.filters(&FILTERS)?;
    let (since, until) = (moment(query.text("since"))?, moment(query.text("until"))?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Fault::invalid("`since` time cannot be after `until` time"));
    }
    let connection = exchange.connection();
    let mut reader = daemon.store.events().watch(since, until)?;
    // At once: clients do not wait for the first one.
    let mut stream = exchange.stream("application/json")?;
    while let Some(events) = reader.next_events_for(Some(connection.as_fd()))? {
        events.iter().try_for_each(|event| show(event, &filters, &mut stream))?;
    }
    exchange.end(stream)
}

fn show(event: &Event, filters: &Filters, stream: &mut Stream<'_>) -> Outcome<()> {
    if is_wanted(event, filters) {
        let line = describe_event(event).to_string() + "\n";
        std::io::Write::write_all(stream, line.as_bytes())?;
    }
    Ok(())
}

fn is_wanted(event: &Event, filters: &Filters) -> bool {
    let none_of = ["config", "daemon", "node", "plugin", "secret", "service"];
    EVENT_FILTERS.iter().all(|name| filters.any(name, |value| is_meant(event, name, value)))
        && filters.all("label", |value| is_labelled(&event.attributes, value))
        && filters.any("scope", |value| value == "local")
        && none_of.iter().all(|name| !filters.has(name))
}
