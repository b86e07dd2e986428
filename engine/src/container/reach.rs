//! A container's files, whether it runs or not.

use std::time::Duration;

use super::options::{Access, Mount, MountSource};
use super::overlay::Overlay;
use super::record::ContainerRecord;
use super::root::RootFolders;
use super::status::{Status, open};
use crate::error::{Error, Result};
use crate::inside::{Bind, Ended, Place};
use crate::layer::Change;
use crate::order;
use crate::store::{ContainerFolder, Lock, Sharing, Store, VolumeDevice};

/// Where a container's root can be reached.
#[derive(Debug)]
pub struct Reached {
    /// As a process finds it.
    pub place: Place,
    /// As long as it is held, nobody starts the container: its overlay may be made once only.
    pub lock: Option<Lock>,
}

/// Finds the root of a container: through its first process, or as an overlay that is made for it.
///
/// # Errors
/// It is being started or removed, and does not come to an end.
pub fn reach(store: &Store, folder: &ContainerFolder) -> Result<Reached> {
    let record = ContainerRecord::of(folder)?;
    for _ in 0..400 {
        if Status::of(store, folder)?.is_alive()
            && let Some(container) = open(store, &folder.id)?
            && let (Ok(pidfd), Ok(pid)) = (container.pidfd(), container.pid())
        {
            return Ok(Reached { place: Place::Process { pid, ended: Ended::new(pidfd) }, lock: None });
        }
        if let Some(lock) = folder.try_lock(Sharing::Exclusive)? {
            if let Some(mount) = record.options.mounts.iter().find(|mount| mount.owners.is_some()) {
                return Err(Error::conflict(format!(
                    "container {0}: it does not run, and only there {1} has its owners (idmap): box start {0}",
                    record.name, mount.destination
                )));
            }
            let root = RootFolders::make(store, folder, &record)?;
            Overlay::await_end(root.work())?;
            let place = root.place(record.auto_remove, binds(store, &record.options.mounts));
            return Ok(Reached { place, lock: Some(lock) });
        }
        // It is about to run, or to end.
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error::conflict(format!("container {}: another command works on it", record.name)))
}

/// What is mounted in a container that does not run: what is the host's; memory is empty then.
fn binds(store: &Store, mounts: &[Mount]) -> Vec<Bind> {
    let mut binds: Vec<Bind> = mounts
        .iter()
        .filter_map(|Mount { source, destination, access, owners: _ }| match source {
            MountSource::Bind { path, .. } => Some(Bind {
                source: path.clone(),
                destination: destination.clone(),
                read_only: *access == Access::ReadOnly,
            }),
            MountSource::Volume { name, .. } => Some(Bind {
                source: match store.volumes().device(name) {
                    Ok(Some(VolumeDevice::Tmpfs { .. })) => return None,
                    Ok(Some(VolumeDevice::Bind { path, .. })) => path,
                    Ok(None) | Err(_) => store.volumes().path(name),
                },
                destination: destination.clone(),
                read_only: *access == Access::ReadOnly,
            }),
            MountSource::Tmpfs { .. } => None,
        })
        .collect();
    order::sort_by_key(&mut binds, |bind| {
        bind.destination.split('/').filter(|part| !part.is_empty()).count()
    });
    binds
}

/// What a container has changed in its image.
///
/// # Errors
/// A layer cannot be read.
pub fn changes(store: &Store, folder: &ContainerFolder) -> Result<Vec<Change>> {
    let record = ContainerRecord::of(folder)?;
    let root = RootFolders::make(store, folder, &record)?;
    crate::inside::changes(store.maps(), root.own_layer(&record.options))
}

/// How many bytes of the disk a container takes: what it has changed, and its log.
///
/// # Errors
/// [`Kind::NotFound`](crate::Kind::NotFound) if it is gone.
pub fn disk_usage(store: &Store, folder: &ContainerFolder) -> Result<u64> {
    ContainerRecord::of(folder)?;
    let mut sum = 0;
    for name in ["upper", "log"] {
        let path = folder.path().join(name);
        if path.exists() {
            sum += crate::inside::usage(store.maps(), &path)?;
        }
    }
    Ok(sum)
}
