//! attach: to the streams of a container that runs.

use super::{Arguments, Command, Flag, Global, say, status_of};
use crate::container::{ContainerRecord, attach_to};
use crate::error::Result;

pub const COMMAND: Command = Command {
    name: "attach",
    aliases: &["container attach"],
    operands: "CONTAINER",
    operand_count: 1..=1,
    help: "see what a container writes, and let it read what box reads",
    flags: &[&[
        Flag { long: "no-stdin", short: None, value: None, help: "it reads nothing of box's" },
        Flag { long: "sig-proxy", short: None, value: None, help: "pass signals on (default; =false)" },
    ]],
    ends_at_operand: false,
    run: attach,
};

fn attach(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    let record = ContainerRecord::of(&folder)?;
    let (input, signals) = (!arguments.is_set("no-stdin"), arguments.is_on("sig-proxy"));
    status_of(attach_to(&store, &folder, &record, input, signals, &mut say)?)
}
