//! Changing a container's record while others read it.

use std::path::PathBuf;

use super::event::{Happening, note};
use super::name::check_name;
use super::neighbours::{announce, check_names_on_networks};
use super::record::ContainerRecord;
use crate::error::{Context, Result};
use crate::file;
use crate::store::{ContainerFolder, Lock, Sharing, Store};

/// The file that is locked meanwhile, in the folder of a container that was ever changed.
pub(super) const CHANGING: &str = "changing";

/// Gives a container another name.
///
/// # Errors
/// The name is taken, or cannot be one.
pub fn rename(store: &Store, folder: &ContainerFolder, name: &str) -> Result<()> {
    check_name(name)?;
    let containers = store.containers();
    let _lock = lock(folder)?;
    let mut record = ContainerRecord::of(folder)?;
    check_names_on_networks(name, &record.options)?;
    // What a command that was killed here has left.
    containers.disclaim_others(&record.name, &folder.id)?;
    containers.claim(name, &folder.id)?;
    let before = std::mem::replace(&mut record.name, name.to_string());
    if let Err(error) = record.write(folder) {
        containers.disclaim(name, &folder.id)?;
        return Err(folder.gone(error));
    }
    containers.disclaim(&before, &folder.id)?;
    note(store, &record, &Happening::Rename(before));
    announce(store, &record.options.network);
    Ok(())
}

/// Changes what is recorded of a container; of two commands at once one waits.
///
/// # Errors
/// `change` failed, or the disk did not take it: it is as before then.
pub fn change_record(
    folder: &ContainerFolder,
    change: impl FnOnce(&mut ContainerRecord) -> Result<()>,
) -> Result<()> {
    let _lock = lock(folder)?;
    let mut record = ContainerRecord::of(folder)?;
    change(&mut record)?;
    record.write(folder).map_err(|error| folder.gone(error))
}

/// Takes its names away from a container that goes: the one that is recorded and, if it was ever renamed, what is left of others.
///
/// # Errors
/// They cannot be removed.
pub fn disclaim_names(store: &Store, folder: &ContainerFolder, record: &ContainerRecord) -> Result<()> {
    let containers = store.containers();
    match lock_path(folder).exists() {
        true => containers.disclaim_all(&folder.id),
        false => containers.disclaim(&record.name, &folder.id),
    }
}

fn lock_path(folder: &ContainerFolder) -> PathBuf {
    folder.path().join(CHANGING)
}

/// The record itself is another file after each change.
pub(super) fn lock(folder: &ContainerFolder) -> Result<Lock> {
    let path = lock_path(folder);
    file::make(&path).context(|| path.display().to_string()).map_err(|error| folder.gone(error))?;
    let locked = Lock::at(&path, Sharing::Exclusive, &format!("container {}", folder.id.short()));
    locked.map_err(|error| folder.gone(error))
}
