//! boot: containers that are to run when the machine does.

use super::{Arguments, Command, Global, print, say};
use crate::container::{ContainerRecord, Own, Progress, Restart, is_stopped, start_detached};
use crate::error::Result;
use crate::store::{ContainerFolder, Sharing, Store};

pub const COMMAND: Command = Command {
    name: "boot",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "start what has --restart always or unless-stopped and does not run",
    flags: &[],
    ends_at_operand: false,
    run: boot,
};

fn boot(global: &Global, _: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let mut status = 0;
    for folder in store.containers().list()? {
        let id = folder.id.clone();
        match boot_one(&store, folder) {
            Ok(None) => {}
            Ok(Some(name)) => {
                print(&format!("{name}\n"))?;
            }
            // What is wrong with one does not keep the others from it.
            Err(error) => {
                say(&error.context(format!("container {}", id.short())).to_string());
                status = 1;
            }
        }
    }
    Ok(status)
}

/// Starts a container if it is to run; its name then.
fn boot_one(store: &Store, folder: ContainerFolder) -> Result<Option<String>> {
    let Some(record) = ContainerRecord::read(&folder)? else { return Ok(None) };
    let is_wanted = match record.options.restart {
        Restart::Always => true,
        Restart::UnlessStopped => !is_stopped(&folder),
        Restart::No | Restart::OnFailure(_) => false,
    };
    // One that was never started stays so.
    if !is_wanted || Progress::read(&folder)?.started.is_none() {
        return Ok(None);
    }
    // One that runs is held by its monitor.
    let Ok(Some(lock)) = folder.try_lock(Sharing::Exclusive) else { return Ok(None) };
    let name = record.name.clone();
    start_detached(store, Own { folder, record, lock }, &mut say)?;
    Ok(Some(name))
}
