//! What builds have kept: `du` and `prune`.

use super::message::{DiskUsageResponse, PruneRequest, UsageRecord};
use super::status::Status;
use crate::command::prune_builds;
use crate::container::ContainerRecord;
use crate::inside::usage;
use crate::store::Store;

/// Everything that is kept.
///
/// # Errors
/// A filter is given, or the disk does not say.
pub fn list(store: &Store, filters: &[String]) -> Result<DiskUsageResponse, Status> {
    refuse_filters(filters)?;
    let cache = store.build_cache();
    let mut records = Vec::new();
    for (key, step) in cache.list()? {
        records.push(UsageRecord {
            id: key.hex(),
            size: step.size.cast_signed(),
            created: Some(step.created.into()),
            last_used: None,
            description: step.text,
            kind: "regular".to_string(),
        });
    }
    for folder in cache.mounts()? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        records.push(UsageRecord {
            id: name.to_string(),
            size: usage(store.maps(), &folder)?.cast_signed(),
            created: None,
            last_used: None,
            description: "a cache that RUN mounts".to_string(),
            kind: "exec.cachemount".to_string(),
        });
    }
    Ok(DiskUsageResponse { records })
}

/// Removes it; the result is what has gone.
///
/// # Errors
/// Something is to stay, or cannot be removed.
pub fn prune(store: &Store, request: &PruneRequest) -> Result<Vec<UsageRecord>, Status> {
    refuse_filters(&request.filters)?;
    let limits = [
        ("--filter until", request.keep_duration),
        ("--keep-storage or --reserved-space", request.reserved_space),
        ("--max-used-space", request.max_used_space),
        ("--min-free-space", request.min_free_space),
    ];
    if let Some((name, value)) = limits.iter().find(|(_, value)| *value != 0) {
        return Err(Status::invalid(format!(
            "{name} {value}: everything that builds have kept goes, or nothing"
        )));
    }
    let before = list(store, &[])?.records;
    prune_builds(store)?;
    let removals = store.removals()?;
    removals.collect_all(|| ContainerRecord::layers_in_use(store))?;
    let left = list(store, &[])?.records;
    Ok(before.into_iter().filter(|one| left.iter().all(|other| other.id != one.id)).collect())
}

fn refuse_filters(filters: &[String]) -> Result<(), Status> {
    // Clients send one without anything in it.
    match filters.iter().find(|filter| !filter.is_empty()) {
        Some(filter) => {
            Err(Status::invalid(format!("--filter {filter}: everything that builds have kept is meant")))
        }
        None => Ok(()),
    }
}
