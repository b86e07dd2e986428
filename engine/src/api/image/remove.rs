//! `DELETE /images/NAME` and `prune`.

use serde_json::{Value, json};

use crate::api::daemon::{Daemon, no_image};
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::command::{ImagesGone, prune_images, remove_image};
use crate::error::Kind;

/// Takes a name away, and what nothing leads to any more.
pub fn remove(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let name = exchange.parameter(0);
    let query = &exchange.head.query;
    let (force, keep) = (query.is_set("force"), query.is_set("noprune"));
    let gone = remove_image(&daemon.store, name, force, keep).map_err(|error| match error.kind() {
        Kind::NotFound => no_image(name, error),
        Kind::Conflict => Fault::conflict(match name.strip_prefix("sha256:").unwrap_or(name) {
            id if id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                format!("conflict: unable to delete {} (must be forced) - {error}", &id[..12])
            }
            _ => {
                format!("conflict: unable to remove repository reference \"{name}\" (must force) - {error}")
            }
        }),
        _ => error.into(),
    })?;
    Ok(Reply::Json(200, Value::Array(documents(&gone))))
}

fn documents(gone: &ImagesGone) -> Vec<Value> {
    let untagged = gone.untagged.iter().map(|name| json!({"Untagged": name}));
    untagged.chain(gone.deleted.iter().map(|id| json!({"Deleted": id}))).collect()
}

/// Removes images that nobody needs.
pub fn prune(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let filters = exchange.head.query.filters(&["dangling", "until", "label", "label!"])?;
    let all = filters.flag("dangling")? == Some(false);
    let (gone, freed) = prune_images(&daemon.store, all, &filters.prune_filter()?)?;
    let documents = documents(&gone);
    let deleted = if documents.is_empty() { Value::Null } else { Value::Array(documents) };
    Ok(Reply::Json(200, json!({"ImagesDeleted": deleted, "SpaceReclaimed": freed})))
}
