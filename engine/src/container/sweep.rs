//! What killed commands and monitors have left.

use super::loss::record_loss;
use super::monitor::{adopt, start_again};
use super::own::{Own, discard};
use super::record::{ContainerRecord, Progress, is_stopped};
use super::status::Status;
use crate::error::Result;
use crate::store::{ContainerFolder, Sharing, Store};

/// Puts away what killed commands have left: containers that were never complete, or that end with their command. What has ended
/// unseen is recorded, and started again if that is wanted.
///
/// # Errors
/// Something cannot be put away.
pub fn sweep(store: &Store) -> Result<()> {
    store.sweep()?;
    let containers = store.containers();
    for folder in containers.list()? {
        let progress = Progress::read(&folder)?;
        if !is_of_interest(&folder, &progress) {
            continue;
        }
        let Ok(Some(lock)) = folder.try_lock(Sharing::Exclusive) else { continue };
        let Some(record) = ContainerRecord::read(&folder)? else {
            containers.disclaim_all(&folder.id)?;
            discard(store, &folder)?;
            continue;
        };
        // Now nobody changes it any more.
        let progress = Progress::read(&folder)?;
        let is_restarting = progress.exit.as_ref().is_some_and(|exit| exit.is_restarting);
        if is_restarting && !is_stopped(&folder) {
            start_again(store, &folder, lock)?;
        } else if progress.started.is_none() || (progress.exit.is_some() && !record.auto_remove) {
            continue;
        } else if !record.is_foreground && Status::of(store, &folder)?.is_alive() {
            // It runs, and its monitor was killed; what runs in the foreground ends with its command.
            adopt(store, &folder, lock)?;
        } else if record.auto_remove {
            Own { folder, record, lock }.remove(store)?;
        } else {
            let reason = "its monitor was killed with it, so that nobody knows how it ended";
            if record_loss(store, &folder, &record, reason)?.is_restarting {
                start_again(store, &folder, lock)?;
            }
        }
    }
    containers.sweep()
}

/// Most containers are complete, and have ended or were never started: that is seen without a lock.
fn is_of_interest(folder: &ContainerFolder, progress: &Progress) -> bool {
    match (&progress.started, &progress.exit) {
        (None, _) => !ContainerRecord::is_there(folder),
        (Some(_), Some(exit)) => exit.is_restarting || !progress.is_kept,
        (Some(_), None) => true,
    }
}
