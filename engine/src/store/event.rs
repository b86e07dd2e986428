//! Events: a line for each, `events/now`; when that is long it becomes `events/before`, which is replaced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::lock::{Lock, Sharing};
use crate::error::{Context, Result};
use crate::time::Moment;

/// What something happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A container.
    Container,
    /// A volume.
    Volume,
}

impl EventKind {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Container => "container",
            EventKind::Volume => "volume",
        }
    }
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Moment,
    /// To what.
    pub kind: EventKind,
    /// Docker's word for it: `create`, `start`, `die`, `destroy`.
    pub action: String,
    /// The id of a container, the name of a volume.
    pub id: String,
    /// What else is known: `name`, `image`, `exitCode`.
    pub attributes: BTreeMap<String, String>,
}

/// Where events are written to and read from.
#[derive(Debug, Clone)]
pub struct Events {
    folder: PathBuf,
}

/// What is longer than this is put aside.
const LENGTH_MAX: u64 = 4 << 20;

impl Events {
    pub(super) fn at(folder: PathBuf) -> Events {
        Events { folder }
    }

    fn now(&self) -> PathBuf {
        self.folder.join("now")
    }

    /// Writes an event down. Nothing depends on it: a disk that does not take it keeps nobody from his work.
    pub fn note(&self, event: &Event) {
        let _ = self.write(event);
    }

    fn write(&self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event).map_err(|error| crate::Error::invalid(error.to_string()))?;
        line.push(b'\n');
        let path = self.now();
        let open =
            || File::options().append(true).create(true).open(&path).context(|| path.display().to_string());
        let mut file = open()?;
        if file.metadata()?.len() > LENGTH_MAX
            && let Ok(Some(_lock)) = Lock::try_at(&path, Sharing::Exclusive)
        {
            std::fs::rename(&path, self.folder.join("before"))?;
            file = open()?;
        }
        // One call: lines of several commands do not mix.
        Ok(file.write_all(&line)?)
    }

    /// Those that are written down, the oldest first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for name in ["before", "now"] {
            let path = self.folder.join(name);
            match std::fs::read_to_string(&path) {
                // A line that a loss of power has torn is none.
                Ok(text) => events.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok())),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(|| path.display().to_string()),
            }
        }
        Ok(events)
    }

    /// Begins to wait for those that are still to come.
    ///
    /// # Errors
    /// The folder cannot be watched.
    pub fn follow(&self) -> Result<EventReader> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags)?;
        let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        inotify::add_watch(&watch, &self.folder, wanted).context(|| self.folder.display().to_string())?;
        let mut reader = EventReader { path: self.now(), watch, file: None, line: String::new() };
        if let Some(file) = open(&reader.path)? {
            let mut file = BufReader::new(file);
            std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
            reader.file = Some(file);
        }
        Ok(reader)
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| path.display().to_string()),
    }
}

/// Events from a moment on.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    watch: OwnedFd,
    file: Option<BufReader<File>>,
    /// The beginning of a line.
    line: String,
}

impl EventReader {
    /// Waits for more, at most until `until`; `None` when that has come.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_events(&mut self, until: Option<Moment>) -> Result<Option<Vec<Event>>> {
        self.next_events_for(until, None)
    }

    /// The same for somebody who may go away: `None` as well when `reader` has been closed.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_events_for(
        &mut self,
        until: Option<Moment>,
        reader: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Vec<Event>>> {
        loop {
            let events = self.read()?;
            if !events.is_empty() {
                return Ok(Some(events));
            }
            let left = until.map(|until| until.0.saturating_sub(Moment::now().0));
            if left == Some(0) {
                return Ok(None);
            }
            // Where the file system does not tell, it is looked at once a second.
            let left = left.unwrap_or(u64::MAX).min(1_000_000_000);
            let limit = Timespec {
                tv_sec: (left / 1_000_000_000).cast_signed(),
                tv_nsec: (left % 1_000_000_000).cast_signed(),
            };
            let mut polled = vec![PollFd::new(&self.watch, PollFlags::IN)];
            // That it is closed is always told.
            polled.extend(reader.map(|reader| PollFd::from_borrowed_fd(reader, PollFlags::empty())));
            match poll(&mut polled, Some(&limit)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| "wait for events"),
            }
            if polled.get(1).is_some_and(|reader| !reader.revents().is_empty()) {
                return Ok(None);
            }
            let mut told = [0; 4096];
            while rustix::io::read(&self.watch, &mut told).is_ok_and(|length| length > 0) {}
        }
    }

    fn read(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            if self.file.is_none() {
                self.file = open(&self.path)?.map(BufReader::new);
            }
            let Some(file) = &mut self.file else { return Ok(events) };
            while file.read_line(&mut self.line)? > 0 {
                if self.line.ends_with('\n') {
                    events.extend(serde_json::from_str(&self.line).ok());
                    self.line.clear();
                }
            }
            let inode = file.get_ref().metadata()?.ino();
            match std::fs::metadata(&self.path) {
                Ok(status) if status.ino() == inode => return Ok(events),
                Ok(_) => self.file = None,
                Err(_) => return Ok(events),
            }
        }
    }
}
