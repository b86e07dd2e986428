//! What containers use, and may use: `top`, `stats`, `update`, `prune`.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Resources, RestartPolicy};
use super::host_config::{limits, restart};
use super::{named, running};
use crate::api::daemon::Daemon;
use crate::api::exchange::has_gone;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::command::{processes_table, remove_container};
use crate::container::{
    ContainerRecord, PERIOD, Restart, Sample, Status, Update, Volumes, disk_usage, update as change,
};
use crate::error::Kind;
use crate::store::{ContainerFolder, EventKind};
use crate::time::{Moment, rfc3339};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Its processes.
pub fn top(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, _) = running(daemon, exchange)?;
    let wanted = exchange.head.query.text("ps_args").unwrap_or_default();
    let wanted: Vec<String> = wanted.split_whitespace().map(str::to_string).collect();
    // The client's usual words show what box shows by itself.
    let wanted = if wanted == ["-ef"] { Vec::new() } else { wanted };
    let (titles, processes) = processes_table(&daemon.store, &folder, &wanted)?;
    Ok(Reply::Json(200, json!({"Titles": titles, "Processes": processes})))
}

/// A look at a container, with what the machine had used until then.
struct Look {
    sample: Option<Sample>,
    system: u64,
    time: Moment,
}

fn look(daemon: &Daemon, folder: &ContainerFolder, record: &ContainerRecord) -> Look {
    // One that does not run uses nothing.
    let sample = Sample::take(&daemon.store, folder, record).ok();
    Look { sample, system: machine_time(), time: Moment::now() }
}

/// Nanoseconds of processors that the machine has used and not used, as Docker adds them up.
fn machine_time() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: u64 =
        line.split_whitespace().skip(1).take(7).filter_map(|count| count.parse::<u64>().ok()).sum();
    ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// What it uses, once or every second.
pub fn stats(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let query = &exchange.head.query;
    let (stream, once) = (query.is_on("stream", true), query.is_set("one-shot"));
    let connection = exchange.connection();
    let mut before = None;
    if !stream && !once {
        before = Some(look(daemon, &folder, &record));
        std::thread::sleep(INTERVAL);
    }
    let now = look(daemon, &folder, &record);
    if !stream {
        return Ok(Reply::Json(200, document(&record, &now, before.as_ref())));
    }
    let mut out = exchange.stream("application/json")?;
    let mut now = now;
    loop {
        out.document(&document(&record, &now, before.as_ref()))?;
        before = Some(now);
        let due = Instant::now() + INTERVAL;
        if has_gone(connection.as_fd()) || !ContainerRecord::is_there(&folder) {
            return exchange.end(out);
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        now = look(daemon, &folder, &record);
    }
}

fn document(record: &ContainerRecord, now: &Look, before: Option<&Look>) -> Value {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = |look: Option<&Look>| match look.and_then(|look| Some((look, look.sample?))) {
        Some((look, sample)) => json!({
            "cpu_usage": {
                "total_usage": u64::try_from(sample.cpu.as_nanos()).unwrap_or(u64::MAX),
                "usage_in_kernelmode": 0,
                "usage_in_usermode": 0,
            },
            "system_cpu_usage": look.system,
            "online_cpus": processors,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }),
        None => json!({
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }),
    };
    let mut document = json!({
        "name": format!("/{}", record.name),
        "id": record.id,
        "read": rfc3339(now.time),
        "preread": before.map_or("0001-01-01T00:00:00Z".to_string(), |before| rfc3339(before.time)),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(Some(now)),
        "precpu_stats": cpu(before),
        "pids_stats": {},
        "memory_stats": {},
        "blkio_stats": {"io_service_bytes_recursive": null},
    });
    if let Some(sample) = &now.sample {
        let Sample { memory, memory_max, network: (received, sent), blocks: (read, written), pids, .. } =
            sample;
        document["pids_stats"] = json!({"current": pids});
        document["memory_stats"] =
            json!({"usage": memory, "limit": memory_max, "stats": {"inactive_file": 0}});
        document["networks"] = json!({"eth0": {
            "rx_bytes": received, "rx_packets": 0, "rx_errors": 0, "rx_dropped": 0,
            "tx_bytes": sent, "tx_packets": 0, "tx_errors": 0, "tx_dropped": 0,
        }});
        document["blkio_stats"]["io_service_bytes_recursive"] = json!([
            {"major": 0, "minor": 0, "op": "read", "value": read},
            {"major": 0, "minor": 0, "op": "write", "value": written},
        ]);
    }
    document
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateBody {
    restart_policy: RestartPolicy,
    #[serde(flatten)]
    resources: Resources,
}

/// Other limits, and another answer to its end.
pub fn update(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let body: UpdateBody = exchange.document()?;
    let is_asked = !body.restart_policy.name.is_empty();
    let policy = if is_asked { Some(restart(&body.restart_policy)?) } else { None };
    if record.auto_remove && policy.is_some_and(|policy| policy != Restart::No) {
        return Err(Fault::invalid(
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ));
    }
    let mut limits = limits(&body.resources)?;
    if body.resources.nano_cpus > 0 {
        // Processors are parts of this, whatever the container has had.
        limits.cpu_period = Some(PERIOD);
    }
    change(&daemon.store, &folder, &Update { limits, restart: policy })?;
    Ok(Reply::Json(200, json!({"Warnings": null})))
}

/// Removes those that do not run.
pub fn prune(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let filters = exchange.head.query.filters(&["until", "label", "label!"])?;
    daemon.sweep();
    let limit = filters.values("until").next().map(until).transpose()?;
    let store = &daemon.store;
    let (mut deleted, mut freed) = (Vec::new(), 0);
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        // One that has gone meanwhile, or of which nobody knows whether it runs.
        let Ok(status) = Status::of(store, &folder) else { continue };
        let is_over = !status.is_alive() && !matches!(status, Status::Restarting(_));
        let labels = &record.options.labels;
        let is_meant = limit.is_none_or(|limit| record.created < limit)
            && filters.all("label", |value| crate::command::is_labelled(labels, value))
            && filters.all("label!", |value| !crate::command::is_labelled(labels, value));
        if !is_over || !is_meant {
            continue;
        }
        let size = disk_usage(store, &folder).unwrap_or(0);
        match remove_container(store, &record.id, false, Volumes::Stay) {
            // It has just been started, or is gone.
            Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => continue,
            removed => removed?.delete()?,
        }
        freed += size;
        deleted.push(record.id);
    }
    store.events().note_prune(EventKind::Container, freed);
    let deleted = if deleted.is_empty() { Value::Null } else { json!(deleted) };
    Ok(Reply::Json(200, json!({"ContainersDeleted": deleted, "SpaceReclaimed": freed})))
}

/// A moment, or so long ago.
pub fn until(text: &str) -> Outcome<Moment> {
    if let Ok(Some(moment)) = super::logs::moment(Some(text)) {
        return Ok(moment);
    }
    let ago = pillbox::text::time::parse_duration(text).ok_or_else(|| {
        Fault::invalid(format!("invalid filter 'until={text}': must be a moment, or a time ago as 24h"))
    })?;
    Ok(Moment(Moment::now().0.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))))
}
