//! logs: what a container has written.

use std::io::Write;

use super::{Arguments, Command, Flag, Global};
use crate::container::log::{Line, LogReader, Stream, Tail};
use crate::container::{ContainerRecord, is_held};
use crate::error::{Error, Result};
use crate::store::ContainerFolder;
use crate::time::rfc3339;

pub const COMMAND: Command = Command {
    name: "logs",
    aliases: &["container logs"],
    operands: "CONTAINER",
    operand_count: 1..=1,
    help: "show what a container has written",
    flags: &[&[
        Flag { long: "follow", short: Some('f'), value: None, help: "and what it writes, until its end" },
        Flag { long: "tail", short: Some('n'), value: Some("LINES"), help: "the last lines; all is all" },
        Flag { long: "timestamps", short: Some('t'), value: None, help: "when each line was written" },
    ]],
    ends_at_operand: false,
    run: logs,
};

fn logs(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    let record = ContainerRecord::of(&folder)?;
    if record.options.log.is_off {
        return Err(Error::invalid(format!(
            "container {}: --log-driver none: nothing of what it writes is kept",
            record.name
        )));
    }
    let tail = match arguments.text("tail")? {
        None | Some("all" | "-1") => Tail::All,
        Some(text) => {
            let wrong = || Error::invalid(format!("--tail {text}: must be a number of lines, or all"));
            Tail::Lines(text.parse().map_err(|_| wrong())?)
        }
    };
    let timestamps = arguments.is_set("timestamps");
    let mut show = |line: Line| write_line(&line, timestamps);
    match show_log(&folder, tail, arguments.is_set("follow"), &mut show) {
        // The reader has what it wants.
        Err(error) if error.kind() == crate::Kind::Closed => Ok(0),
        shown => shown.map(|()| 0),
    }
}

fn show_log(
    folder: &ContainerFolder,
    tail: Tail,
    follow: bool,
    show: &mut dyn FnMut(Line) -> Result<()>,
) -> Result<()> {
    let mut reader = LogReader::open(&folder.path().join("log"), follow)?;
    // Before the look at the log: what is written until its end is there then.
    let mut is_running = follow && is_held(folder)?;
    reader.read(tail, show)?;
    while is_running {
        reader.wait(None)?;
        is_running = is_held(folder).unwrap_or(false);
        reader.read(Tail::All, show)?;
    }
    reader.finish(show)
}

fn write_line(line: &Line, timestamps: bool) -> Result<()> {
    let mut text = Vec::new();
    if timestamps {
        text.extend_from_slice(format!("{} ", rfc3339(line.time)).as_bytes());
    }
    text.extend_from_slice(&line.text);
    let written = match line.stream {
        Stream::Stdout => std::io::stdout().write_all(&text).and_then(|()| std::io::stdout().flush()),
        Stream::Stderr | Stream::Note => std::io::stderr().write_all(&text),
    };
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(crate::Kind::Closed, "stdout: nobody reads it any more"))
        }
        written => Ok(written?),
    }
}
