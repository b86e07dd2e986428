//! A container is made: its folder, its name, what was asked for.

use std::collections::BTreeMap;

use super::name::{check_name, random_name};
use super::options::{Mount, MountSource, Options};
use super::own::Own;
use super::record::{ContainerRecord, Progress};
use super::source::Source;
use crate::error::Result;
use crate::image::Execution;
use crate::store::{ContainerId, Store};
use crate::time::Moment;

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
    let mut options = options;
    make_volumes(store, &execution, &mut options)?;
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
        Start::Now => {
            Progress { started: Some(Moment::now()), is_kept: !own.record.auto_remove, ..Progress::default() }
                .write(&own.folder)
        }
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

/// Makes the volumes that are named, and those that have no name: of the command line and of the image.
fn make_volumes(store: &Store, execution: &Execution, options: &mut Options) -> Result<()> {
    for path in execution.volumes.keys() {
        let is_there = options
            .mounts
            .iter()
            .any(|mount| mount.destination.trim_end_matches('/') == path.trim_end_matches('/'));
        if !is_there {
            options.mounts.push(Mount::of_volume(String::new(), path.clone()));
        }
    }
    for mount in &mut options.mounts {
        if let MountSource::Volume { name, is_anonymous, .. } = &mut mount.source {
            if name.is_empty() {
                *name = store.volumes().make_anonymous()?.name;
                *is_anonymous = true;
            } else {
                store.volumes().make(name, &BTreeMap::new())?;
            }
        }
    }
    Ok(())
}
