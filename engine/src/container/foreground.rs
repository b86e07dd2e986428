//! A container that ends with its command: no monitor, one process from the command line to the program.

use std::time::Instant;

use pillbox::Root;

use super::event::{Happening, note_end, note_start};
use super::own::Own;
use super::prepare::{Prepared, prepare};
use super::streams::{Copying, ProgramStreams, connect};
use super::timeline::Timeline;
use crate::error::{Error, Result};
use crate::store::Store;

/// Runs a container until its program ends, with the caller's own streams, and passes signals on. The container is removed, however
/// it ends. The result is the program's status, or 128 + the signal that ended it.
///
/// # Errors
/// It could not be started.
pub fn run_in_foreground(
    store: &Store,
    own: Own,
    timeline: Option<&Timeline>,
    warn: &mut dyn FnMut(&pillbox::Warning),
) -> Result<u8> {
    let mut copying = Copying::default();
    let ended = run(store, &own, &mut copying, timeline, warn);
    let removed = Timeline::measure(timeline, "remove", || own.remove(store));
    // Last, because it takes as long as the readers do.
    copying.finish(warn);
    match (ended, removed) {
        (Ok(status), Ok(())) => Ok(status),
        (Err(error), _) => Err(error),
        (_, Err(error)) => Err(error),
    }
}

fn run(
    store: &Store,
    own: &Own,
    copying: &mut Copying,
    timeline: Option<&Timeline>,
    warn: &mut dyn FnMut(&pillbox::Warning),
) -> Result<u8> {
    let prepared = Timeline::measure(timeline, "prepare", || prepare(store, &own.folder, &own.record));
    let Prepared { bundle, mut options, account, overlay: _ } = prepared?;
    if let Some(timeline) = timeline.cloned() {
        options = options.observe(move |name, from| timeline.add(name, from));
    }
    let wanted = own.record.options.streams;
    if !wanted.terminal {
        let connected = connect(wanted.interactive, account)?;
        let ProgramStreams { stdin, stdout, stderr } = connected.0;
        *copying = connected.1;
        options = options.stdin(stdin).stdout(stdout).stderr(stderr);
    }
    let root = Root::at(&store.place().runtime);
    let id = pillbox::ContainerId::new(&own.record.id)?;
    note_start(store, &own.record);
    let begun = Instant::now();
    let ended = Timeline::measure(timeline, "run", || {
        pillbox::container::run(&root, &id, &bundle, &options, false, &mut |warning| warn(&warning))
    });
    let ended = ended.map(|ended| ended.status).map_err(Error::from);
    let status = ended.as_ref().map_or_else(Error::status, |status| *status);
    let end = Happening::Die(status, begun.elapsed().as_secs());
    note_end(store, &own.folder, &own.record, &[end]);
    ended
}
