//! What killed commands and monitors have left.

use super::loss::record_loss;
use super::monitor::{adopt, start_again};
use super::own::{Own, discard};
use super::pause::go_on;
use super::record::{ContainerRecord, Progress, is_stopped};
use super::rootless::Rootless;
use super::rootless_ports::reopen_ports;
use super::status::Status;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{AtRest, ContainerFolder, Lock, Rest, Sharing, Store};

/// Puts away what killed commands have left: containers that were never complete, or that end with their command. What has ended
/// unseen is recorded, and started again if that is wanted. What cannot be put away is told, and keeps nobody from the rest.
///
/// The result is all containers.
///
/// # Errors
/// The folder of containers cannot be read.
pub fn sweep(store: &Store, warn: &mut dyn FnMut(&Error)) -> Result<Vec<Swept>> {
    store.sweep().unwrap_or_else(|error| warn(&error));
    if let Some(rootless) = Rootless::of(store) {
        rootless.replace_way_out().unwrap_or_else(|error| warn(&error.context("your networks")));
    }
    let mut all = Vec::new();
    let mut at_rest = AtRest::read(store.containers())?;
    for folder in store.containers().list()? {
        let found = at_rest.look(&folder);
        let swept = match found.was_at_rest {
            true => Ok(AsFound::AtRest(None)),
            false => look(store, &folder).context(|| format!("container {}", folder.id.short())),
        };
        let swept = swept.unwrap_or_else(|error| {
            warn(&error);
            AsFound::Changing(None)
        });
        let is_at_rest = matches!(swept, AsFound::AtRest(_));
        if is_at_rest {
            at_rest.note(&found);
        }
        let (AsFound::AtRest(progress) | AsFound::Changing(progress)) = swept;
        all.push(Swept { folder, progress, is_at_rest, rest: found.rest.filter(|_| is_at_rest) });
    }
    at_rest.keep();
    store.containers().sweep().unwrap_or_else(|error| warn(&error));
    Ok(all)
}

/// How a container was found, and how far it had come, if that was read and is still so.
enum AsFound {
    /// It is complete, and has ended or was never started.
    AtRest(Option<Progress>),
    /// Somebody has it in his hands, or something was done.
    Changing(Option<Progress>),
}

/// A container that was looked at.
#[derive(Debug)]
pub struct Swept {
    /// Its folder.
    pub folder: ContainerFolder,
    /// How far it had come, if it is still so: for lists, which would read it once more.
    pub progress: Option<Progress>,
    /// Whether it is complete, and has ended or was never started.
    pub is_at_rest: bool,
    /// In which state, if nothing more can happen in it: what is read of the container from now on is of that state or a later one.
    pub rest: Option<Rest>,
}

/// The same for one container.
///
/// # Errors
/// What is left of it cannot be put away.
pub fn sweep_one(store: &Store, folder: &ContainerFolder) -> Result<()> {
    look(store, folder).map(drop)
}

fn look(store: &Store, folder: &ContainerFolder) -> Result<AsFound> {
    let progress = Progress::read(folder)?;
    if !is_of_interest(folder, &progress) {
        return Ok(AsFound::AtRest(Some(progress)));
    }
    if progress.started.is_some() && progress.exit.is_none() {
        match go_on(store, folder) {
            // Whoever asks for its status is told.
            Err(error) if error.kind() == Kind::Corrupt => {}
            gone_on => gone_on?,
        }
        reopen_ports(store, folder)?;
    }
    match folder.try_lock(Sharing::Exclusive) {
        Ok(Some(lock)) => put_away(store, folder, lock).map(|()| AsFound::Changing(None)),
        _ => Ok(AsFound::Changing(Some(progress))),
    }
}

/// Nobody has it in his hands.
fn put_away(store: &Store, folder: &ContainerFolder, lock: Lock) -> Result<()> {
    let Some(record) = ContainerRecord::read(folder)? else { return discard(store, folder)?.delete() };
    // Now nobody changes it any more.
    let progress = Progress::read(folder)?;
    let is_restarting = progress.exit.as_ref().is_some_and(|exit| exit.is_restarting);
    if is_restarting && !is_stopped(folder) {
        return start_again(store, folder, &record, lock);
    }
    if progress.started.is_none() || (progress.exit.is_some() && !record.auto_remove) {
        return Ok(());
    }
    // What runs in the foreground ends with its command.
    if !record.is_foreground {
        match Status::of_own(store, folder) {
            // It runs, and its monitor was killed.
            Ok(status) if status.is_alive() => return adopt(store, folder, &record, lock),
            // The runtime's state is damaged: whoever asks for its status is told, and it goes by force alone.
            Err(error) if error.kind() == Kind::Corrupt => return Ok(()),
            status => drop(status?),
        }
    }
    if record.auto_remove {
        Own { folder: folder.clone(), record, lock }.remove(store)
    } else {
        let reason = "its monitor was killed with it, so that nobody knows how it ended";
        match record_loss(store, folder, &record, reason)?.is_restarting {
            true => start_again(store, folder, &record, lock),
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
