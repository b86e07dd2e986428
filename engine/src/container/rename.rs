//! Changing a container's record while others read it.

use super::event::{Happening, note};
use super::name::check_name;
use super::record::ContainerRecord;
use crate::error::{Context, Result};
use crate::store::{ContainerFolder, Lock, Sharing, Store};

/// Gives a container another name.
///
/// # Errors
/// The name is taken, or cannot be one.
pub fn rename(store: &Store, folder: &ContainerFolder, name: &str) -> Result<()> {
    check_name(name)?;
    let containers = store.containers();
    containers.claim(name, &folder.id)?;
    let mut before = String::new();
    let changed = change_record(folder, |record| {
        before = std::mem::replace(&mut record.name, name.to_string());
        Ok(())
    });
    match changed {
        Ok(()) => {
            containers.disclaim(&before, &folder.id)?;
            note(store, &ContainerRecord::of(folder)?, &Happening::Rename(before));
            Ok(())
        }
        Err(error) => {
            containers.disclaim(name, &folder.id)?;
            Err(error)
        }
    }
}

/// Changes what is recorded of a container; of two commands at once one waits.
///
/// # Errors
/// `change` failed, or the disk did not take it: it is as before then.
pub fn change_record(
    folder: &ContainerFolder,
    change: impl FnOnce(&mut ContainerRecord) -> Result<()>,
) -> Result<()> {
    // The record itself is another file after each change.
    let path = folder.path().join("changing");
    std::fs::File::options().create(true).append(true).open(&path).context(|| path.display().to_string())?;
    let _lock = Lock::at(&path, Sharing::Exclusive, &format!("container {}", folder.id.short()))?;
    let mut record = ContainerRecord::of(folder)?;
    change(&mut record)?;
    record.write(folder)
}
