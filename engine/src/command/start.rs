//! start, restart: containers that are there.

use super::attach::{DETACH_KEYS, attaching};
use super::stop::{SIGNAL_FLAG, TIME_FLAG, TIMEOUT_FLAG, patience, signal, tell_waiting};
use super::{Arguments, Command, Flag, Global, each, say, status_of};
use crate::container::{
    Attaching, ContainerRecord, Happening, Taken, attach_to, note, start_attached, start_detached, stop, take,
};
use crate::error::{Error, Result};

pub const START: Command = Command {
    name: "start",
    aliases: &["container start"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "start containers that are not running",
    flags: &[&[
        Flag { long: "attach", short: Some('a'), value: None, help: "see what it writes, until its end" },
        Flag { long: "interactive", short: Some('i'), value: None, help: "let it read what box reads" },
        Flag { long: "sig-proxy", short: None, value: None, help: "pass signals on (default; =false)" },
        DETACH_KEYS,
    ]],
    ends_at_operand: false,
    run: start,
};

pub const RESTART: Command = Command {
    name: "restart",
    aliases: &["container restart"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "stop containers and start them again",
    flags: &[&[TIMEOUT_FLAG, TIME_FLAG, SIGNAL_FLAG]],
    ends_at_operand: false,
    run: restart,
};

fn start(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    if !arguments.is_set("attach") && !arguments.is_set("interactive") {
        return each(arguments, |name| match take(&store, name)? {
            Taken::Own(own) => start_detached(&store, *own, &mut say),
            Taken::Running(_) => Ok(()),
        });
    }
    if let Some(other) = arguments.operand(1)? {
        return Err(Error::invalid(format!("start: {other}: box can be attached to one container only")));
    }
    let attaching = Attaching { stdin: arguments.is_set("interactive"), ..attaching(arguments)? };
    status_of(match take(&store, arguments.operand(0)?.unwrap_or_default())? {
        Taken::Own(mut own) => {
            own.record.options.streams.interactive &= attaching.stdin;
            start_attached(&store, *own, &attaching, &mut say)?
        }
        Taken::Running(folder) => {
            attach_to(&store, &folder, &ContainerRecord::of(&folder)?, &attaching, &mut say)?
        }
    })
}

fn restart(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let (patience, signal) = (patience(arguments)?, signal(arguments)?);
    each(arguments, |name| {
        let folder = store.containers().find(name)?;
        stop(&store, &folder, patience, signal, &mut tell_waiting)?;
        match take(&store, name)? {
            Taken::Own(own) => start_detached(&store, *own, &mut say)?,
            // Another command has started it.
            Taken::Running(_) => {}
        }
        note(&store, &ContainerRecord::of(&folder)?, &Happening::Restart);
        Ok(())
    })
}
