//! A container that ends with its command: no monitor, one process from the command line to the program.

use std::time::Instant;

use pillbox::Root;
use rustix::process::Pid;

use super::event::{Happening, note_end, note_start};
use super::own::Own;
use super::prepare::{Prepared, prepare};
use super::streams::{Copying, ProgramStreams, connect};
use super::timeline::Timeline;
use crate::error::{Error, Result};
use crate::store::{Leftover, Store};

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
    let removed = Timeline::measure(timeline, "remove", || {
        let volumes = own.volumes();
        own.set_aside(store, volumes)
    });
    // It takes as long as the readers do.
    copying.finish(warn);
    let removed = removed.and_then(delete);
    match (ended, removed) {
        (Ok(status), Ok(())) => Ok(status),
        (Err(error), _) => Err(error),
        (_, Err(error)) => Err(error),
    }
}

/// Nobody waits for it, unless it is to be done by a process with threads, or by one whose end is that of all others.
fn delete(leftover: Leftover) -> Result<()> {
    let mut leftover = Some(leftover);
    let is_first = rustix::process::getpid() == Pid::INIT;
    let mut delete = || leftover.take().map_or(Ok(()), Leftover::delete);
    // What cannot be deleted there is told by the next command, which goes on with it.
    let begun = !is_first && pillbox::in_background(pillbox::Open::Nothing, || drop(delete())).is_ok();
    if begun { Ok(()) } else { delete() }
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
