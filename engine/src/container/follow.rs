//! The log of a container on the way to somebody: what is there, and what comes until the container's end.

use std::os::fd::{AsFd, BorrowedFd};

use super::log::{Line, LogReader, Tail, json_file};
use crate::container::monitor::connect;
use crate::container::options::LogDriver;
use crate::container::record::ContainerRecord;
use crate::container::status::is_held;
use crate::error::{Error, Result};
use crate::store::{ContainerFolder, Store};

/// Somebody to whom the log is shown.
pub trait Reader {
    /// Takes a line, perhaps to show it with others.
    ///
    /// # Errors
    /// Nobody reads any more.
    fn add(&mut self, line: &Line) -> Result<()>;

    /// Shows what was taken: no more comes for a while.
    ///
    /// # Errors
    /// Nobody reads any more.
    fn flush(&mut self) -> Result<()>;
}

/// Opens the log of a container, if it is kept here.
///
/// # Errors
/// Somebody else keeps it, or nobody; the folder cannot be read.
pub fn open_log(folder: &ContainerFolder, record: &ContainerRecord, follow: bool) -> Result<LogReader> {
    let log = &record.options.log;
    let elsewhere = match log.driver {
        LogDriver::Local => return LogReader::open(&folder.path().join("log"), follow),
        LogDriver::JsonFile => return LogReader::open_json(&json_file(folder.path(), &record.id), follow),
        LogDriver::None => "nothing of what it writes is kept".to_string(),
        LogDriver::Journald => {
            format!("the journal has it: journalctl CONTAINER_ID={}", folder.id.short())
        }
        LogDriver::Syslog => match &log.syslog.address {
            Some(address) => format!("the server at {address} has it"),
            None => "this machine's syslog has it".to_string(),
        },
    };
    let text = format!("container {}: --log-driver {}: {elsewhere}", record.name, log.driver.name());
    Err(Error::invalid(text))
}

/// Shows a log line by line. With `follow` it goes on until the container's end, or until `client`, if there is one, has been closed.
///
/// # Errors
/// Nobody reads any more; the log cannot be read.
pub fn show_log(
    store: &Store,
    folder: &ContainerFolder,
    mut log: LogReader,
    tail: Tail,
    follow: bool,
    client: Option<BorrowedFd<'_>>,
    reader: &mut dyn Reader,
) -> Result<()> {
    // Its end is told by its monitor. Whoever has none any more is looked at once a second.
    let monitor = if follow { connect(store, &folder.id)? } else { None };
    // Before the look at the log: what is written until its end is there then.
    let mut is_running = follow && is_held(folder)?;
    log.read(tail, &mut |line| reader.add(&line))?;
    while is_running {
        reader.flush()?;
        if log.wait(monitor.as_ref().map(AsFd::as_fd), client)? {
            return Ok(());
        }
        is_running = is_held(folder).unwrap_or(false);
        log.read(Tail::All, &mut |line| reader.add(&line))?;
    }
    log.finish(&mut |line| reader.add(&line))?;
    reader.flush()
}
