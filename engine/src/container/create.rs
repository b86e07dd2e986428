//! A container is made: its folder, its name, what was asked for.

use super::name::{check_name, random_name};
use super::options::Options;
use super::own::Own;
use super::record::{ContainerRecord, Progress};
use super::source::Source;
use crate::error::Result;
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
