//! What killed commands and monitors have left.

use super::monitor::adopt;
use super::own::{Own, discard};
use super::record::{ContainerRecord, Progress};
use super::status::Status;
use crate::error::Result;
use crate::store::{Sharing, Store};

/// Puts away what killed commands have left: containers that were never complete, or that end with their command.
///
/// # Errors
/// Something cannot be put away.
pub fn sweep(store: &Store) -> Result<()> {
    store.sweep()?;
    let containers = store.containers();
    for folder in containers.list()? {
        let Ok(Some(lock)) = folder.try_lock(Sharing::Exclusive) else { continue };
        let Some(record) = ContainerRecord::read(&folder)? else {
            containers.disclaim_all(&folder.id)?;
            discard(store, &folder)?;
            continue;
        };
        let progress = Progress::read(&folder)?;
        if progress.started.is_none() || (progress.exit.is_some() && !record.auto_remove) {
            continue;
        }
        // It runs, and its monitor was killed; what runs in the foreground ends with its command.
        if !record.is_foreground && Status::of(store, &folder)?.is_alive() {
            adopt(store, &folder, lock)?;
        } else if record.auto_remove {
            Own { folder, record, lock }.remove(store)?;
        }
    }
    containers.sweep()
}
