//! `/volumes`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};
use crate::command::{is_labelled, is_named, prune_volumes, volumes_in_use};
use crate::container::{ContainerRecord, check_volume_name, is_volume_used};
use crate::error::Kind;
use crate::store::{Store, VolumeRecord, random_id};
use crate::time::rfc3339;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: String,
    driver: String,
    driver_opts: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// A volume as Docker describes it.
pub fn document(store: &Store, record: &VolumeRecord) -> Value {
    let mut labels = record.labels.clone();
    if record.is_anonymous {
        labels.insert("com.docker.volume.anonymous".into(), String::new());
    }
    json!({
        "Name": record.name,
        "Driver": "local",
        "Mountpoint": store.volumes().path(&record.name),
        "CreatedAt": rfc3339(record.created),
        "Labels": labels,
        "Options": if record.options.is_empty() { Value::Null } else { json!(record.options) },
        "Scope": "local",
    })
}

fn find(daemon: &Daemon, name: &str) -> Outcome<VolumeRecord> {
    let missing = || Fault::missing(format!("get {name}: no such volume"));
    check_volume_name(name).map_err(|_| missing())?;
    daemon.store.volumes().find(name)?.ok_or_else(missing)
}

/// Which volumes there are.
pub fn list(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let filters = exchange.head.query.filters(&["dangling", "driver", "label", "name"])?;
    let is_dangling = filters.flag("dangling")?;
    let used = volumes_in_use(&daemon.store)?;
    let mut records = daemon.store.volumes().list()?;
    records.retain(|record| {
        is_dangling.is_none_or(|wanted| wanted != used.contains(&record.name))
            && filters.any("name", |value| is_named(&record.name, value))
            && filters.all("label", |value| is_labelled(&record.labels, value))
            && filters.any("driver", |value| value == "local")
    });
    let documents: Vec<Value> = records.iter().map(|record| document(&daemon.store, record)).collect();
    Ok(Reply::Json(200, json!({"Volumes": documents, "Warnings": null})))
}

/// Everything that is known of one.
pub fn inspect(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    Ok(Reply::Json(200, document(&daemon.store, &find(daemon, exchange.parameter(0))?)))
}

/// Makes one, unless it is there.
pub fn create(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let body: CreateBody = exchange.document_if_any()?.unwrap_or_default();
    if !matches!(body.driver.as_str(), "" | "local") {
        return Err(Fault::missing(format!(
            "error looking up volume plugin {}: plugin not found",
            body.driver
        )));
    }
    let CreateBody { name, driver: _, driver_opts, labels } = body;
    let is_anonymous = name.is_empty();
    if !is_anonymous {
        check_volume_name(&name)?;
    }
    let name = if is_anonymous { random_id()? } else { name };
    let record = VolumeRecord { is_anonymous, labels, options: driver_opts, ..VolumeRecord::new(&name) };
    let record = daemon.store.volumes().make(record)?;
    Ok(Reply::Json(201, document(&daemon.store, &record)))
}

/// Removes one.
pub fn remove(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let name = exchange.parameter(0);
    let found = find(daemon, name);
    if found.is_err() && exchange.head.query.is_set("force") {
        return Ok(Reply::Empty(204));
    }
    found?;
    let users: Vec<String> = ContainerRecord::list(&daemon.store)?
        .into_iter()
        .filter(|record| record.options.has_volume(name))
        .map(|record| record.id)
        .collect();
    if !users.is_empty() {
        return Err(Fault::conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
    }
    match daemon.store.volumes().remove(name, || is_volume_used(&daemon.store, name)) {
        // Somebody else was faster.
        Err(error) if error.kind() == Kind::NotFound => {}
        removed => removed?,
    }
    Ok(Reply::Empty(204))
}

/// Removes those that no container has.
pub fn prune(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let filters = exchange.head.query.filters(&["all", "label", "label!"])?;
    let all = filters.flag("all")?.unwrap_or(false);
    let (names, freed) = prune_volumes(&daemon.store, all, &filters.prune_filter()?)?;
    Ok(Reply::Json(200, json!({"VolumesDeleted": names, "SpaceReclaimed": freed})))
}
