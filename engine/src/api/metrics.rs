//! `/metrics`: figures for Prometheus.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::counters::Counters;
use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};
use crate::container::Status;

/// What Prometheus reads, if the daemon was told to show it.
pub fn metrics(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    if !daemon.has_metrics {
        return Err(Fault::no_page());
    }
    let store = &daemon.store;
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for folder in store.containers().list()? {
        let status = match Status::of(store, &folder) {
            Err(error) if error.kind() == crate::Kind::NotFound => continue,
            // As the list has one whose state is damaged.
            status => status.unwrap_or(Status::Lost),
        };
        *states.entry(status.name()).or_default() += 1;
    }
    let (images, volumes) = (store.images().list()?.len(), store.volumes().list()?.len());
    let Counters { good, refused, failed } = &daemon.counters;
    let mut text = String::new();
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        *text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    };
    head(&mut text, "boxd_requests_total", "counter", "Requests that were answered.");
    for (result, counter) in [("ok", good), ("refused", refused), ("failed", failed)] {
        text += &format!("boxd_requests_total{{result=\"{result}\"}} {}\n", counter.load(Ordering::Relaxed));
    }
    head(&mut text, "boxd_containers", "gauge", "Containers by their states.");
    for (state, count) in states {
        text += &format!("boxd_containers{{state=\"{state}\"}} {count}\n");
    }
    head(&mut text, "boxd_images", "gauge", "Names of images.");
    text += &format!("boxd_images {images}\n");
    head(&mut text, "boxd_volumes", "gauge", "Volumes.");
    text += &format!("boxd_volumes {volumes}\n");
    let mut stream = exchange.stream("text/plain; version=0.0.4; charset=utf-8")?;
    std::io::Write::write_all(&mut stream, text.as_bytes())?;
    exchange.end(stream)
}
