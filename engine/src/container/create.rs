//! A container's folder: made, looked at, removed.

use super::monitor::adopt;
use super::name::{check_name, random_name};
use super::options::Options;
use super::record::{ContainerRecord, Moment, Progress};
use super::source::Source;
use super::status::Status;
use crate::error::{Context, Error, Result};
use crate::store::{ContainerFolder, ContainerId, Lock, Sharing, Store};

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

/// How long a container is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until somebody removes it.
    Kept,
    /// Until its program ends.
    OfProgram,
    /// As long as the command that runs it.
    OfCommand,
}

/// When a container that is made is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// By the same command: if that is killed, what is removed when it ends is removed.
    Now,
    /// By another one.
    Later,
}

/// Makes a container.
///
/// # Errors
/// The name is taken, or cannot be one; the disk did not take it.
pub fn create(
    store: &Store,
    source: Source,
    name: Option<String>,
    options: Options,
    lifetime: Lifetime,
    start: Start,
) -> Result<Own> {
    // What is wrong with it is found before it is made.
    super::compile::arguments(&source.execution, &options)?;
    let name = match name {
        Some(name) => check_name(&name).map(|()| name)?,
        None => random_name()?,
    };
    let id = ContainerId::random()?;
    let (folder, lock) = store.containers().make(&id, &name)?;
    let Source { name: image, base, execution, locks } = source;
    let record = ContainerRecord {
        id: id.as_str().to_string(),
        name,
        image,
        base,
        execution,
        options,
        created: Moment::now(),
        auto_remove: lifetime != Lifetime::Kept,
        is_foreground: lifetime == Lifetime::OfCommand,
    };
    let own = Own { folder, record, lock };
    let begun = match start {
        Start::Now => Progress { started: Some(Moment::now()), exit: None }.write(&own.folder),
        Start::Later => Ok(()),
    };
    match begun.and_then(|()| own.record.write(&own.folder)) {
        Ok(()) => {
            // From here on the record keeps the layers.
            drop(locks);
            Ok(own)
        }
        Err(error) => {
            own.remove(store)?;
            Err(error)
        }
    }
}

impl Own {
    /// Removes it with its changes. What runs in it is ended first.
    ///
    /// # Errors
    /// Something of it cannot be removed; the next command goes on.
    pub fn remove(self, store: &Store) -> Result<()> {
        let Own { folder, record, lock } = self;
        discard(store, &folder)?;
        store.containers().disclaim(&record.name, &folder.id)?;
        drop(lock);
        Ok(())
    }
}

/// Ends what runs in a container, forgets its state, and deletes its folder. The caller holds its lock.
fn discard(store: &Store, folder: &ContainerFolder) -> Result<()> {
    forget_state(store, &folder.id)?;
    store.containers().remove(folder)
}

/// Ends what runs in a container, and removes what the runtime keeps of it.
///
/// # Errors
/// It could not be ended.
pub fn forget_state(store: &Store, id: &ContainerId) -> Result<()> {
    let root = pillbox::Root::at(&store.place().runtime);
    match pillbox::Container::open(&root, id.as_str()) {
        Ok(container) => container.delete(true).context(|| format!("container {}", id.short())),
        Err(error) if error.kind() == pillbox::Kind::NotFound => Ok(()),
        // What is left of one whose creation was killed.
        Err(_) => {
            let id = pillbox::ContainerId::new(id.as_str())?;
            Ok(pillbox::container::delete(&root, &id, true, &mut |_| {})?)
        }
    }
}

/// Puts away what killed commands have left: containers that were never complete, or that end with their command.
///
/// # Errors
/// Something cannot be put away.
pub fn sweep(store: &Store) -> Result<()> {
    let containers = store.containers();
    for folder in containers.list()? {
        let Ok(Some(lock)) = folder.try_lock(Sharing::Exclusive) else { continue };
        let Some(record) = ContainerRecord::read(&folder)? else {
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

/// The container that a command means, locked.
///
/// # Errors
/// There is none, or another command works on it.
pub fn take(store: &Store, reference: &str) -> Result<Own> {
    let folder = store.containers().find(reference)?;
    let locked = folder.try_lock(Sharing::Exclusive)?;
    let lock = locked.ok_or_else(|| Error::conflict(format!("container {reference}: it is running")))?;
    let record = ContainerRecord::of(&folder)?;
    Ok(Own { folder, record, lock })
}
