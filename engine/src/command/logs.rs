//! logs: what a container has written.

use super::moment::moment_of;
use super::stdout::write_while_read;
use super::{Arguments, Command, Flag, Global};
use crate::container::ContainerRecord;
use crate::container::log::{Line, Stream, Tail};
use crate::container::{Reader, open_log, show_log};
use crate::error::{Error, Result};
use crate::time::{Moment, rfc3339};

pub const COMMAND: Command = Command {
    name: "logs",
    aliases: &["container logs"],
    operands: "CONTAINER",
    operand_count: 1..=1,
    help: "show what a container has written",
    flags: &[&[
        Flag { long: "follow", short: Some('f'), value: None, help: "and what it writes, until its end" },
        Flag { long: "tail", short: Some('n'), value: Some("LINES"), help: "the last lines; all is all" },
        Flag {
            long: "since",
            short: None,
            value: Some("TIME"),
            help: "what was written since: 2006-01-02T15:04:05, seconds since 1970, or 10m ago",
        },
        Flag { long: "until", short: None, value: Some("TIME"), help: "what was written until then" },
        Flag { long: "timestamps", short: Some('t'), value: None, help: "when each line was written" },
    ]],
    ends_at_operand: false,
    run: logs,
};

fn logs(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    let record = ContainerRecord::of(&folder)?;
    let (since, until) = (moment_of(arguments, "since")?, moment_of(arguments, "until")?);
    // As Docker has it.
    let until = until.filter(|until| until.0 > 0);
    let tail = match arguments.text("tail")? {
        None | Some("all" | "-1") => since.map_or(Tail::All, Tail::Since),
        Some(text) => {
            let wrong = || Error::invalid(format!("--tail {text}: must be a number of lines, or all"));
            Tail::Lines(text.parse().map_err(|_| wrong())?)
        }
    };
    let timestamps = arguments.is_set("timestamps");
    let mut shown = Shown { timestamps, since, until, lines: Vec::new(), stream: Stream::Stdout };
    let follow = arguments.is_set("follow");
    let reader = open_log(&folder, &record, follow)?;
    match show_log(&store, &folder, reader, tail, follow, None, &mut shown) {
        // The reader has what it wants.
        Err(error) if error.kind() == crate::Kind::Closed => Ok(0),
        shown => shown.map(|()| 0),
    }
}

/// Lines on their way to stdout or stderr: many of them with one write, in their order.
struct Shown {
    timestamps: bool,
    since: Option<Moment>,
    until: Option<Moment>,
    lines: Vec<u8>,
    /// Whose they are.
    stream: Stream,
}

/// As much is written at once.
const PIECE: usize = 1 << 16;

impl Reader for Shown {
    fn add(&mut self, line: &Line) -> Result<()> {
        if self.since.is_some_and(|since| line.time < since) {
            return Ok(());
        }
        // Nothing that comes is older.
        if self.until.is_some_and(|until| line.time > until) {
            self.flush()?;
            return Err(Error::new(crate::Kind::Closed, "--until"));
        }
        if self.lines.len() > PIECE || is_stdout(self.stream) != is_stdout(line.stream) {
            self.flush()?;
        }
        self.stream = line.stream;
        if self.timestamps {
            self.lines.extend_from_slice(format!("{} ", rfc3339(line.time)).as_bytes());
        }
        self.lines.extend_from_slice(&line.text);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let is_read = match is_stdout(self.stream) {
            _ if lines.is_empty() => true,
            true => write_while_read(&mut std::io::stdout().lock(), &lines)?,
            false => write_while_read(&mut std::io::stderr().lock(), &lines)?,
        };
        match is_read {
            true => Ok(()),
            false => Err(Error::new(crate::Kind::Closed, "nobody reads it any more")),
        }
    }
}

fn is_stdout(stream: Stream) -> bool {
    match stream {
        Stream::Stdout => true,
        Stream::Stderr | Stream::Note => false,
    }
}
