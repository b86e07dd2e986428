//! The end of a program that nobody has seen, because its monitor was killed with it or before it.

use super::event::{Happening, note_end};
use super::neighbours::announce;
use super::own::forget_state;
use super::record::{ContainerRecord, Exit, Progress, is_stopped};
use super::status::open;
use crate::error::{Kind, Result};
use crate::store::{ContainerFolder, Store};
use crate::time::Moment;

/// The status of a program whose parent was killed, where the kernel tells nobody else.
pub const UNKNOWN: u8 = 255;

/// Records it, and gives back what the container has of the host: its ports, its addresses. The caller holds its lock.
///
/// # Errors
/// Something of it cannot be removed; the disk did not take the record.
pub fn record_loss(
    store: &Store,
    folder: &ContainerFolder,
    record: &ContainerRecord,
    reason: &str,
) -> Result<Exit> {
    // What has gone with the machine is started again when the machine has started: box boot.
    let is_of_this_boot = match open(store, &folder.id) {
        // Nobody knows; it is put away by what the runtime has noted besides.
        Err(error) if error.kind() == Kind::Corrupt => false,
        found => found?.is_some(),
    };
    forget_state(store, &folder.id)?;
    announce(store, &record.options.network);
    let progress = Progress::read(folder)?;
    let is_wanted = record.options.restart.wants(UNKNOWN, progress.restarts) && !is_stopped(folder);
    let is_restarting = is_of_this_boot && is_wanted;
    let error = Some(reason.to_string());
    let exit =
        Exit { status: UNKNOWN, finished: Moment::now(), error, is_restarting, is_out_of_memory: false };
    let seconds = exit.seconds_since(progress.started);
    Progress { exit: Some(exit.clone()), ..progress }.write(folder)?;
    note_end(store, folder, record, &[Happening::Die(UNKNOWN, seconds)]);
    Ok(exit)
}
