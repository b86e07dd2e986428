//! boot: containers that are to run when the machine does.

use super::{Arguments, Command, Global, print, say};
use crate::container::{ContainerRecord, Own, Restart, Status, is_stopped, start_detached};
use crate::error::Result;
use crate::store::Sharing;

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
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        let is_wanted = match record.options.restart {
            Restart::Always => true,
            Restart::UnlessStopped => !is_stopped(&folder),
            Restart::No | Restart::OnFailure(_) => false,
        };
        if !is_wanted || matches!(Status::of(&store, &folder)?, Status::Created) {
            continue;
        }
        // One that runs is held by its monitor.
        let Ok(Some(lock)) = folder.try_lock(Sharing::Exclusive) else { continue };
        let name = record.name.clone();
        match start_detached(&store, Own { folder, record, lock }, &mut say) {
            Ok(()) => {
                print(&format!("{name}\n"))?;
            }
            Err(error) => {
                say(&error.context(format!("container {name}")).to_string());
                status = 1;
            }
        }
    }
    Ok(status)
}
