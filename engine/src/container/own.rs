//! A container that a command has in its hands.

use std::time::{Duration, Instant};

use super::event::{Happening, note};
use super::record::ContainerRecord;
use super::rename::{CHANGING, disclaim_names};
use super::rootless::Rootless;
use super::status::Status;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{ContainerFolder, ContainerId, Leftover, Lock, Sharing, Store};

/// A container of this process: it holds the lock.
#[derive(Debug)]
pub struct Own {
    /// Its folder.
    pub folder: ContainerFolder,
    /// What was asked for.
    pub record: ContainerRecord,
    /// As long as it is held, nobody else works on the container.
    pub lock: Lock,
}

/// What becomes of the volumes that were made for a container alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    /// They go with it.
    Go,
    /// They stay.
    Stay,
}

impl Own {
    /// Removes it with its changes. What runs in it is ended first.
    ///
    /// # Errors
    /// Something of it cannot be removed; the next command goes on.
    pub fn remove(self, store: &Store) -> Result<()> {
        let volumes = self.volumes();
        self.set_aside(store, volumes)?.delete()
    }

    /// What becomes of its volumes if nobody says so.
    pub fn volumes(&self) -> Volumes {
        if self.record.auto_remove { Volumes::Go } else { Volumes::Stay }
    }

    /// Removes it, but for deleting its files, which may take long.
    ///
    /// # Errors
    /// As for [`Own::remove`].
    pub fn set_aside(self, store: &Store, volumes: Volumes) -> Result<Leftover> {
        let Own { folder, record, lock } = self;
        forget_state(store, &folder.id)?;
        // Without the container nobody would know whose they were.
        if volumes == Volumes::Go {
            remove_volumes(store, &record)?;
        }
        let leftover = set_aside_folder(store, &folder, Some(&record))?;
        drop(lock);
        note(store, &record, &Happening::Destroy);
        Ok(leftover)
    }
}

/// Removes the volumes that were made for a container, unless another one has them as well.
///
/// # Errors
/// One cannot be removed.
pub fn remove_volumes(store: &Store, record: &ContainerRecord) -> Result<()> {
    for name in record.options.anonymous_volumes() {
        let is_used = || {
            let others = ContainerRecord::list(store)?;
            let mut others = others.iter().filter(|other| other.id != record.id);
            Ok(others.any(|other| other.options.has_volume(name)))
        };
        match store.volumes().remove(name, is_used) {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Whether a container has a volume, whether it runs or not.
///
/// # Errors
/// The folder of containers cannot be read.
pub fn is_volume_used(store: &Store, name: &str) -> Result<bool> {
    Ok(ContainerRecord::list(store)?.iter().any(|record| record.options.has_volume(name)))
}

/// Removes a container that no record tells about: one that was never complete, or is broken. The caller holds its lock.
///
/// # Errors
/// It is still there.
pub fn discard(store: &Store, folder: &ContainerFolder) -> Result<Leftover> {
    forget_state(store, &folder.id)?;
    set_aside_folder(store, folder, None)
}

/// Removes a container's names and its folder.
///
/// # Errors
/// Something of it cannot be removed; the next command goes on.
pub fn remove_folder(
    store: &Store,
    folder: &ContainerFolder,
    record: Option<&ContainerRecord>,
) -> Result<()> {
    set_aside_folder(store, folder, record)?.delete()
}

/// Makes a container's folder gone, which is the last thing of it, and right before that its names: without the folder nobody would know
/// that they are free, and what could not be removed until then keeps them.
///
/// # Errors
/// It is still there.
pub fn set_aside_folder(
    store: &Store,
    folder: &ContainerFolder,
    record: Option<&ContainerRecord>,
) -> Result<Leftover> {
    match record {
        Some(record) => disclaim_names(store, folder, record)?,
        None => store.containers().disclaim_all(&folder.id)?,
    }
    let leftover = store.containers().set_aside(folder)?;
    // A rename at the same moment may have given it one more.
    if leftover.has(CHANGING) {
        store.containers().disclaim_all(&folder.id)?;
    }
    Ok(leftover)
}

/// Ends what runs in a container, and removes what the runtime keeps of it.
///
/// # Errors
/// It could not be ended.
pub fn forget_state(store: &Store, id: &ContainerId) -> Result<()> {
    let root = pillbox::Root::at(&store.place().runtime);
    // By force also what is left of one whose creation was killed; one that is not there is no error.
    let deleted =
        pillbox::container::delete(&root, &pillbox::ContainerId::new(id.as_str())?, true, &mut |_| {});
    deleted.context(|| format!("container {}", id.short()))?;
    let Some(rootless) = Rootless::of(store) else { return Ok(()) };
    rootless.await_closed_ports(id.as_str())?;
    // Its network may have been removed while it was to be started again.
    rootless.end_if_unused(store)
}

/// How long whoever has recorded a container's end may take to let go of it, and who is about to start it until it runs.
pub(super) const HANDOVER: Duration = Duration::from_secs(2);

/// A container that is to be started.
#[derive(Debug)]
pub enum Taken {
    /// It is this command's now.
    Own(Box<Own>),
    /// It runs already.
    Running(ContainerFolder),
}

/// The container that a command means, locked unless it runs.
///
/// # Errors
/// There is none; all its processes are stopped; another command works on it, and does not come to an end.
pub fn take(store: &Store, reference: &str) -> Result<Taken> {
    let folder = store.containers().find(reference)?;
    let began = Instant::now();
    while began.elapsed() < HANDOVER {
        if let Some(lock) = folder.try_lock(Sharing::Exclusive)? {
            let record = ContainerRecord::of(&folder)?;
            return Ok(Taken::Own(Box::new(Own { folder, record, lock })));
        }
        match Status::of(store, &folder)? {
            Status::Running { .. } | Status::Restarting(_) => return Ok(Taken::Running(folder)),
            Status::Paused { .. } => {
                let text = format!("container {reference}: it is paused: box unpause {reference}");
                return Err(Error::conflict(text));
            }
            // It is about to run, or to end.
            Status::Created | Status::Exited(_) | Status::Lost => {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    Err(Error::conflict(format!("container {reference}: another command works on it")))
}
