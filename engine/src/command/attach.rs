//! attach: to the streams of a container that runs.

use super::{Arguments, Command, Flag, Global, say, status_of};
use crate::container::{Attaching, ContainerRecord, DetachKeys, Happening, attach_to, note};
use crate::error::Result;

pub const COMMAND: Command = Command {
    name: "attach",
    aliases: &["container attach"],
    operands: "CONTAINER",
    operand_count: 1..=1,
    help: "see what a container writes, and let it read what box reads",
    flags: &[&[
        DETACH_KEYS,
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
    let attaching = attaching(arguments)?;
    note(&store, &record, &Happening::Attach);
    status_of(attach_to(&store, &folder, &record, &attaching, &mut say)?)
}

/// Of commands that attach box to a program's terminal.
pub const DETACH_KEYS: Flag = Flag {
    long: "detach-keys",
    short: None,
    value: Some("KEYS"),
    help: "what lets go of its terminal: ctrl-p,ctrl-q",
};

/// How box is attached.
///
/// # Errors
/// A key is none.
pub fn attaching(arguments: &Arguments) -> Result<Attaching> {
    Ok(Attaching {
        stdin: !arguments.is_set("no-stdin"),
        signals: arguments.is_on("sig-proxy"),
        keys: keys(arguments)?,
        ..Attaching::default()
    })
}

/// The keys that let go.
///
/// # Errors
/// One is none.
pub fn keys(arguments: &Arguments) -> Result<DetachKeys> {
    DetachKeys::parse(arguments.text("detach-keys")?.unwrap_or_default())
}
