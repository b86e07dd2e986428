//! update: other limits for containers.

use super::container_flags::{LIMIT_FLAGS, RESTART_FLAG, restart};
use super::limit_flags::limits;
use super::{Arguments, Command, Global, each};
use crate::container::{Options, PERIOD, Update, update as update_container};
use crate::error::{Error, Result};

pub const COMMAND: Command = Command {
    name: "update",
    aliases: &["container update"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "change the limits of containers, and when they are started again",
    flags: &[LIMIT_FLAGS, RESTART_FLAG],
    ends_at_operand: false,
    run: update,
};

fn update(global: &Global, arguments: &Arguments) -> Result<u8> {
    let mut options = Options::default();
    limits(arguments, &mut options)?;
    if options.limits.cpu_quota.is_some() && arguments.text("cpus")?.is_some() {
        // Processors are parts of this, whatever the container has had.
        options.limits.cpu_period = Some(PERIOD);
    }
    let restart = match arguments.text("restart")? {
        Some(_) => Some(restart(arguments)?),
        None => None,
    };
    let update = Update { limits: options.limits, restart };
    if update == Update::default() {
        return Err(Error::invalid("update: nothing to change: see box update --help"));
    }
    let store = global.store()?;
    each(arguments, |name| update_container(&store, &store.containers().find(name)?, &update))
}
