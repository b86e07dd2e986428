//! stop, kill, pause, unpause, wait: what is done to containers that run.

use std::io::IsTerminal;

use pillbox::Signal;

use super::{Arguments, Command, Flag, Global, each, print, say};
use crate::container::size::parse_time;
use crate::container::{
    ContainerRecord, Happening, Patience, note, open_running, signal as send, stop as stop_container,
    unless_ended, wait as wait_for,
};
use crate::error::{Error, Result};

pub const TIMEOUT_FLAG: Flag = Flag {
    long: "timeout",
    short: Some('t'),
    value: Some("SECONDS"),
    help: "how long it has to end by itself",
};

/// Docker's older name.
pub const TIME_FLAG: Flag =
    Flag { long: "time", short: None, value: Some("SECONDS"), help: "the same as --timeout" };

pub const SIGNAL_FLAG: Flag =
    Flag { long: "signal", short: Some('s'), value: Some("SIGNAL"), help: "which signal" };

pub const STOP: Command = Command {
    name: "stop",
    aliases: &["container stop"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "ask containers to end, and end them when the time is over",
    flags: &[&[TIMEOUT_FLAG, TIME_FLAG, SIGNAL_FLAG]],
    ends_at_operand: false,
    run: stop,
};

pub const KILL: Command = Command {
    name: "kill",
    aliases: &["container kill"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "send a signal to containers' programs: KILL",
    flags: &[&[SIGNAL_FLAG]],
    ends_at_operand: false,
    run: kill,
};

pub const PAUSE: Command = Command {
    name: "pause",
    aliases: &["container pause"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "stop all processes of containers until unpause",
    flags: &[],
    ends_at_operand: false,
    run: |global, arguments| change(global, arguments, pillbox::Container::pause, Happening::Pause),
};

pub const UNPAUSE: Command = Command {
    name: "unpause",
    aliases: &["container unpause"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "let all processes of containers go on",
    flags: &[],
    ends_at_operand: false,
    run: |global, arguments| change(global, arguments, pillbox::Container::resume, Happening::Unpause),
};

pub const WAIT: Command = Command {
    name: "wait",
    aliases: &["container wait"],
    operands: "CONTAINER …",
    operand_count: 1..=usize::MAX,
    help: "wait until containers have ended, and print their statuses",
    flags: &[],
    ends_at_operand: false,
    run: wait,
};

pub fn patience(arguments: &Arguments) -> Result<Option<Patience>> {
    match arguments.text("timeout")?.or(arguments.text("time")?) {
        // Docker's word for it.
        Some("-1") => Ok(Some(Patience::Endless)),
        text => text.map(|text| parse_time("--timeout", text).map(Patience::Limited)).transpose(),
    }
}

pub fn signal(arguments: &Arguments) -> Result<Option<Signal>> {
    let parse =
        |text: &str| pillbox::signal::parse(text).map_err(|error| Error::from(error).context("--signal"));
    arguments.text("signal")?.map(parse).transpose()
}

/// Tells people what they wait for; programs have no use for it.
pub fn tell_waiting(text: &str) {
    if std::io::stderr().is_terminal() {
        say(text);
    }
}

/// Does something to each container that runs, and notes it.
fn change(
    global: &Global,
    arguments: &Arguments,
    act: fn(&pillbox::Container) -> pillbox::Result<()>,
    happening: Happening,
) -> Result<u8> {
    let store = global.store()?;
    each(arguments, |name| {
        let folder = store.containers().find(name)?;
        unless_ended(&store, &folder, act(&open_running(&store, &folder)?))?;
        note(&store, &ContainerRecord::of(&folder)?, &happening);
        Ok(())
    })
}

fn stop(global: &Global, arguments: &Arguments) -> Result<u8> {
    let (patience, signal) = (patience(arguments)?, signal(arguments)?);
    let store = global.store()?;
    each(arguments, |name| {
        stop_container(&store, &store.containers().find(name)?, patience, signal, &mut tell_waiting)
    })
}

fn kill(global: &Global, arguments: &Arguments) -> Result<u8> {
    let signal = signal(arguments)?.unwrap_or(Signal::KILL);
    let store = global.store()?;
    each(arguments, |name| send(&store, &store.containers().find(name)?, signal))
}

fn wait(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let mut exit = 0;
    for name in arguments.operands_from(0)? {
        match store.containers().find(&name).and_then(|folder| wait_for(&store, &folder)) {
            Ok(status) => {
                print(&format!("{status}\n"))?;
            }
            Err(error) => {
                say(&error.to_string());
                exit = 1;
            }
        }
    }
    Ok(exit)
}
