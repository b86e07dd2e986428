//! rm: containers and their changes go.

use super::{Arguments, Command, Flag, Global, each};
use crate::container::{ContainerRecord, Own, Status, Volumes, discard, end};
use crate::error::{Error, Kind, Result};
use crate::store::{ContainerFolder, Leftover, Sharing, Store};

pub const COMMAND: Command = Command {
    name: "rm",
    aliases: &["container rm"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "remove containers with everything that they changed",
    flags: &[&[
        Flag { long: "force", short: Some('f'), value: None, help: "end it if it runs; none is no error" },
        Flag {
            long: "volumes",
            short: Some('v'),
            value: None,
            help: "and the volumes that were made for it alone",
        },
    ]],
    ends_at_operand: false,
    run: rm,
};

fn rm(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let (force, volumes) = (arguments.is_set("force"), arguments.is_set("volumes"));
    let volumes = if volumes { Volumes::Go } else { Volumes::Stay };
    each(arguments, |name| {
        // One that another command removes meanwhile is gone, as was wanted.
        let is_gone_well = force || store.containers().find(name).is_ok();
        match remove(&store, name, force, volumes) {
            Err(error) if is_gone_well && error.kind() == Kind::NotFound => Ok(()),
            removed => removed?.delete(),
        }
    })
}

/// Removes a container; with `force` one that runs is ended first. What is left is to be deleted, which may take long.
///
/// # Errors
/// It runs, or there is none.
pub fn remove(store: &Store, name: &str, force: bool, volumes: Volumes) -> Result<Leftover> {
    let folder = store.containers().find(name)?;
    // Its monitor may be about to let go of it, and may have removed it by itself. Another command may start it meanwhile.
    let lock = folder.lock_looking(Sharing::Exclusive, || make_idle(store, &folder, name, force))?;
    let record = match ContainerRecord::of(&folder) {
        Err(error) if force && error.kind() != Kind::NotFound => return discard(store, &folder),
        record => record?,
    };
    Own { folder, record, lock }.set_aside(store, volumes)
}

/// One that runs is ended, or it is said that it runs.
fn make_idle(store: &Store, folder: &ContainerFolder, name: &str, force: bool) -> Result<()> {
    let status = match Status::of(store, folder) {
        // Of one whose files are broken nobody knows.
        Err(_) if force => None,
        status => Some(status?),
    };
    match status {
        Some(status) if !status.is_alive() && !matches!(status, Status::Restarting(_)) => Ok(()),
        _ if force => end(store, folder),
        _ => Err(Error::conflict(format!("container {name}: it is running: stop it first, or say --force"))),
    }
}
