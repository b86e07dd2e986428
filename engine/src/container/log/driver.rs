//! Where a container's output goes: as `--log-driver` says.

use std::path::Path;

use super::journald::Journal;
use super::json_file::{JsonWriter, json_file};
use super::record::Stream;
use super::remote::{Keeper, Remote};
use super::syslog::Syslog;
use super::tag::LogSubject;
use super::write::{LogBounds, LogWriter};
use crate::container::facts::hostname;
use crate::container::options::LogDriver;
use crate::container::record::ContainerRecord;
use crate::error::{Error, Result};

/// The log of a container that runs.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    /// What is to be said, and whether the last write went wrong.
    complaint: Option<String>,
    is_failing: bool,
}

#[derive(Debug)]
enum Sink {
    None,
    Local(LogWriter),
    JsonFile(JsonWriter),
    Remote(Remote),
}

impl Log {
    /// Goes on with the log of a container, in its folder or wherever it is kept.
    ///
    /// # Errors
    /// A folder cannot be made; the tag is none.
    pub fn open(folder: &Path, record: &ContainerRecord) -> Result<Log> {
        let options = &record.options.log;
        let bounds = LogBounds::of(options);
        let subject = || LogSubject::of(record);
        let sink = match options.driver {
            LogDriver::None => Sink::None,
            LogDriver::Local => Sink::Local(LogWriter::open(&folder.join("log"), bounds)?),
            LogDriver::JsonFile => {
                Sink::JsonFile(JsonWriter::new(json_file(folder, &record.id), bounds, &subject()?))
            }
            LogDriver::Journald => {
                let keeper = Keeper::Journal(Journal::new(&subject()?));
                Sink::Remote(Remote::start(keeper, options.waiting)?)
            }
            LogDriver::Syslog => {
                let keeper = Keeper::Syslog(Syslog::new(&options.syslog, &subject()?, hostname())?);
                Sink::Remote(Remote::start(keeper, options.waiting)?)
            }
        };
        Ok(Log { sink, complaint: None, is_failing: false })
    }

    /// Writes what the program wrote. What is not taken is lost: the program goes on.
    pub fn write(&mut self, stream: Stream, content: &[u8]) {
        let written = match &mut self.sink {
            Sink::None => Ok(()),
            Sink::Local(writer) => writer.write(stream, content),
            Sink::JsonFile(writer) => writer.write(stream, content),
            Sink::Remote(remote) => {
                remote.write(stream, content);
                self.complaint = self.complaint.take().or(remote.complaint());
                return;
            }
        };
        self.note(written);
    }

    /// The program has ended: what has no line end yet is a line.
    pub fn finish(&mut self) {
        let written = match &mut self.sink {
            Sink::None | Sink::Local(_) => Ok(()),
            Sink::JsonFile(writer) => writer.finish(),
            Sink::Remote(remote) => {
                remote.finish();
                Ok(())
            }
        };
        self.note(written);
    }

    fn note(&mut self, written: std::io::Result<()>) {
        let is_failing = written.is_err();
        if let Err(error) = written.map_err(Error::from)
            && !self.is_failing
        {
            self.complaint = Some(format!(
                "the log does not take what the container writes: {error}: it is lost until it does"
            ));
        }
        self.is_failing = is_failing;
    }

    /// What its user should know, once.
    pub fn complaint(&mut self) -> Option<String> {
        if let Sink::Remote(remote) = &mut self.sink {
            return self.complaint.take().or_else(|| remote.complaint());
        }
        self.complaint.take()
    }
}
