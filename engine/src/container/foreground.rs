//! A container that ends with its command: no monitor, one process from the command line to the program.

use pillbox::{Root, Stdio};

use super::event::{Happening, note};
use super::own::Own;
use super::prepare::{Prepared, prepare};
use crate::error::{Error, Result};
use crate::store::Store;

/// Runs a container until its program ends, with the caller's own streams, and passes signals on. The container is removed, however
/// it ends. The result is the program's status, or 128 + the signal that ended it.
///
/// # Errors
/// It could not be started.
pub fn run_in_foreground(store: &Store, own: Own, warn: &mut dyn FnMut(&pillbox::Warning)) -> Result<u8> {
    let ended = run(store, &own, warn);
    let removed = own.remove(store);
    match (ended, removed) {
        (Ok(status), Ok(())) => Ok(status),
        (Err(error), _) => Err(error),
        (_, Err(error)) => Err(error),
    }
}

fn run(store: &Store, own: &Own, warn: &mut dyn FnMut(&pillbox::Warning)) -> Result<u8> {
    let Prepared { bundle, mut options, root: _ } = prepare(store, &own.folder, &own.record)?;
    if !own.record.options.streams.interactive {
        options = options.stdin(Stdio::Null);
    }
    let root = Root::at(&store.place().runtime);
    let id = pillbox::ContainerId::new(&own.record.id)?;
    note(store, &own.record, &Happening::Start);
    let ended = pillbox::container::run(&root, &id, &bundle, &options, false, &mut |warning| warn(&warning));
    let status = ended.map(|ended| ended.status).map_err(Error::from)?;
    note(store, &own.record, &Happening::Die(status));
    Ok(status)
}
