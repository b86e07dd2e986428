//! What killed commands and monitors have left.

use super::loss::record_loss;
use super::monitor::{adopt, start_again};
use super::own::{Own, discard};
use super::pause::go_on;
use super::record::{ContainerRecord, Progress, is_stopped};
use super::status::Status;
use crate::error::{Context, Error, Result};
use crate::store::{ContainerFolder, Sharing, Store};

/// Puts away what killed commands have left: containers that were never complete, or that end with their command. What has ended
/// unseen is recorded, and started again if that is wanted. What cannot be put away is told, and keeps nobody from the rest.
///
/// # Errors
/// The folder of containers cannot be read.
pub fn sweep(store: &Store, warn: &mut dyn FnMut(&Error)) -> Result<()> {
    let mut told = |swept: Result<()>| swept.unwrap_or_else(|error| warn(&error));
    told(store.sweep());
    for folder in store.containers().list()? {
        told(sweep_one(store, &folder).context(|| format!("container {}", folder.id.short())));
    }
    told(store.containers().sweep());
    Ok(())
}

/// The same for one container.
///
/// # Errors
/// What is left of it cannot be put away.
pub fn sweep_one(store: &Store, folder: &ContainerFolder) -> Result<()> {
    let progress = Progress::read(folder)?;
    if !is_of_interest(folder, &progress) {
        return Ok(());
    }
    if progress.started.is_some() && progress.exit.is_none() {
        go_on(store, folder)?;
    }
    let Ok(Some(lock)) = folder.try_lock(Sharing::Exclusive) else { return Ok(()) };
    let Some(record) = ContainerRecord::read(folder)? else { return discard(store, folder) };
    // Now nobody changes it any more.
    let progress = Progress::read(folder)?;
    let is_restarting = progress.exit.as_ref().is_some_and(|exit| exit.is_restarting);
    if is_restarting && !is_stopped(folder) {
        start_again(store, folder, lock)
    } else if progress.started.is_none() || (progress.exit.is_some() && !record.auto_remove) {
        Ok(())
    } else if !record.is_foreground && Status::of_own(store, folder)?.is_alive() {
        // It runs, and its monitor was killed; what runs in the foreground ends with its command.
        adopt(store, folder, lock)
    } else if record.auto_remove {
        Own { folder: folder.clone(), record, lock }.remove(store)
    } else {
        let reason = "its monitor was killed with it, so that nobody knows how it ended";
        match record_loss(store, folder, &record, reason)?.is_restarting {
            true => start_again(store, folder, lock),
            false => Ok(()),
        }
    }
}

/// Most containers are complete, and have ended or were never started: that is seen without a lock.
fn is_of_interest(folder: &ContainerFolder, progress: &Progress) -> bool {
    match (&progress.started, &progress.exit) {
        (None, _) => !ContainerRecord::is_there(folder),
        (Some(_), Some(exit)) => exit.is_restarting || !progress.is_kept,
        (Some(_), None) => true,
    }
}
