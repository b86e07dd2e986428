//! Events: a line for each, `events/now`; when that is long it becomes `events/before`, which is replaced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::image::ImageRecord;
use super::lock::{Lock, Sharing};
use super::network::NetworkRecord;
use super::watch::FolderWatch;
use crate::error::{Context, Kind, Result};
use crate::file;
use crate::time::Moment;

/// What something happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A container.
    Container,
    /// A volume.
    Volume,
    /// An image.
    Image,
    /// A network.
    Network,
}

impl EventKind {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Container => "container",
            EventKind::Volume => "volume",
            EventKind::Image => "image",
            EventKind::Network => "network",
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
    /// The id of a container or network, the name of a volume, the id or the name of an image.
    pub id: String,
    /// What else is known: `name`, `image`, `exitCode`.
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// Something that happens at this moment.
    pub fn now(
        kind: EventKind,
        id: String,
        action: &str,
        attributes: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Event {
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        Event { time: Moment::now(), kind, action: action.to_string(), id, attributes }
    }
}

/// Where events are written to and read from.
#[derive(Debug, Clone)]
pub struct Events {
    folder: PathBuf,
    /// What is longer is put aside.
    length_max: u64,
}

/// The usual length.
const LENGTH_MAX: u64 = 4 << 20;

impl Events {
    pub(super) fn at(folder: PathBuf) -> Events {
        Events { folder, length_max: LENGTH_MAX }
    }

    fn now(&self) -> PathBuf {
        self.folder.join("now")
    }

    /// Writes an event down. Nothing depends on it: a disk that does not take it keeps nobody from his work.
    pub fn note(&self, event: &Event) {
        self.note_all(std::slice::from_ref(event));
    }

    /// Writes several down, which stand one behind the other.
    pub fn note_all(&self, events: &[Event]) {
        let _ = self.write(events);
    }

    /// Writes down what happens to an image: to its id or, where it comes from a registry or goes there, to its name.
    pub fn note_image(&self, record: &ImageRecord, action: &str) {
        // As Docker has it: registries know names, and what is done here is done to an image, whatever it is called.
        let (id, name) = match (action, record.reference()) {
            ("pull" | "push", Some(name)) => (name.familiar(), name.repository.familiar()),
            ("tag", Some(name)) => (record.id.to_string(), name.familiar()),
            _ => (record.id.to_string(), record.id.to_string()),
        };
        self.note(&Event::now(EventKind::Image, id, action, [("name", name)]));
    }

    /// Writes down what happens to a network; what else is known stands behind its name and driver.
    pub fn note_network(&self, record: &NetworkRecord, action: &str, container: Option<&str>) {
        let own = [("name", record.name.clone()), ("type", record.driver.name().to_string())];
        let attributes = own.into_iter().chain(container.map(|id| ("container", id.to_string())));
        self.note(&Event::now(EventKind::Network, record.id.clone(), action, attributes));
    }

    /// Writes down that an image has a name: of one that has none nothing is said.
    pub fn note_tag(&self, record: &ImageRecord) {
        if record.reference().is_some() {
            self.note_image(record, "tag");
        }
    }

    /// Writes down that what nothing needs was removed, and how many bytes that was.
    pub fn note_prune(&self, kind: EventKind, freed: u64) {
        self.note(&Event::now(kind, String::new(), "prune", [("reclaimed", freed.to_string())]));
    }

    /// Writes down what happens to a volume.
    pub(super) fn note_volume(&self, name: &str, action: &str) {
        self.note(&Event::now(
            EventKind::Volume,
            name.to_string(),
            action,
            [("driver", "local".to_string())],
        ));
    }

    fn write(&self, events: &[Event]) -> Result<()> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)
                .map_err(|error| crate::Error::invalid(error.to_string()))?;
            lines.push(b'\n');
        }
        let (path, mut options) = (self.now(), File::options());
        loop {
            let opened = file::open_with(options.read(true).append(true).create(true), &path);
            let file = opened.context(|| path.display().to_string())?;
            let length = file.metadata()?.len();
            if length > self.length_max {
                self.put_aside(&file)?;
                continue;
            }
            // Meanwhile nobody puts it aside; somebody may have before.
            match Lock::at(&path, Sharing::Shared, "the list of events") {
                Ok(lock) if lock.is_of(&file) => return append(&file, length, lines),
                Ok(_) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Of several commands that find it too long, one renames it.
    fn put_aside(&self, file: &File) -> Result<()> {
        let path = self.now();
        match Lock::at(&path, Sharing::Exclusive, "the list of events") {
            Ok(lock) if lock.is_of(file) => Ok(std::fs::rename(&path, self.folder.join("before"))?),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Shows those of a span of time; without its beginning, those that are still to come.
    ///
    /// # Errors
    /// A file cannot be read, or the folder cannot be watched.
    pub fn watch(&self, since: Option<Moment>, until: Option<Moment>) -> Result<EventReader> {
        let watch = FolderWatch::begin(&self.folder).context(|| self.folder.display().to_string())?;
        let (path, known) = (self.now(), Vec::new());
        let mut reader = EventReader { path, since, until, watch, known, file: None, line: Vec::new() };
        // Between the two files nobody puts one in the place of the other.
        let _lock = match Lock::at(&self.now(), Sharing::Shared, "the list of events") {
            Err(error) if error.kind() == Kind::NotFound => None,
            lock => Some(lock?),
        };
        if since.is_some()
            && let Some(before) = open(&self.folder.join("before"))?
        {
            reader.file = Some(BufReader::new(before));
            reader.known = reader.read_file()?;
        }
        reader.line.clear();
        reader.file = open(&reader.path)?.map(BufReader::new);
        if let (None, Some(file)) = (since, &mut reader.file) {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(reader)
    }
}

/// One call: lines of several commands do not mix. What a full disk has torn gets an end first; so may what another command is just
/// writing, and then an empty line follows it.
fn append(file: &File, length: u64, mut lines: Vec<u8>) -> Result<()> {
    let mut last = [b'\n'];
    if length > 0 {
        rustix::io::pread(file, &mut last, length - 1)?;
    }
    if last != *b"\n" {
        lines.insert(0, b'\n');
    }
    match rustix::io::write(file, &lines)? {
        written if written == lines.len() => Ok(()),
        _ => Err(crate::Error::new(Kind::Host, "the list of events: the disk is full")),
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match file::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| path.display().to_string()),
    }
}

/// Events of a span of time.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    since: Option<Moment>,
    until: Option<Moment>,
    watch: FolderWatch,
    /// Of a file that is not read any more.
    known: Vec<Event>,
    file: Option<BufReader<File>>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl EventReader {
    /// Waits for more; `None` when the span is over.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_events(&mut self) -> Result<Option<Vec<Event>>> {
        self.next_events_for(None)
    }

    /// The same for somebody who may go away: `None` as well when `reader` has been closed.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_events_for(&mut self, reader: Option<BorrowedFd<'_>>) -> Result<Option<Vec<Event>>> {
        loop {
            let mut events = std::mem::take(&mut self.known);
            events.append(&mut self.read()?);
            let (since, until) = (self.since, self.until);
            events.retain(|event| {
                since.is_none_or(|since| event.time >= since) && until.is_none_or(|until| event.time <= until)
            });
            if !events.is_empty() {
                return Ok(Some(events));
            }
            let left = self.until.map(|until| until.0.saturating_sub(Moment::now().0));
            if left == Some(0) {
                return Ok(None);
            }
            let (watch, limit) = self.watch.wait();
            let left = Duration::from_nanos(left.unwrap_or(u64::MAX));
            let limit = Timespec::try_from(left).unwrap_or(limit).min(limit);
            // That it is closed is always told.
            let reader = reader.map(|reader| PollFd::from_borrowed_fd(reader, PollFlags::empty()));
            let watch = watch.map(|watch| PollFd::from_borrowed_fd(watch, PollFlags::IN));
            let has_reader = reader.is_some();
            let mut polled: Vec<PollFd<'_>> = reader.into_iter().chain(watch).collect();
            match poll(&mut polled, Some(&limit)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| "wait for events"),
            }
            if has_reader && !polled[0].revents().is_empty() {
                return Ok(None);
            }
            self.watch.forget();
        }
    }

    /// What has come, also in a file that has taken the place of the one that was read.
    fn read(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            if self.file.is_none() {
                self.file = open(&self.path)?.map(BufReader::new);
            }
            events.append(&mut self.read_file()?);
            let Some(file) = &mut self.file else { return Ok(events) };
            let status = file.get_ref().metadata()?;
            match std::fs::metadata(&self.path) {
                Ok(now) if now.ino() == status.ino() => {
                    // Somebody has emptied it by hand.
                    if status.len() < file.stream_position()? {
                        file.seek(SeekFrom::Start(0))?;
                        self.line.clear();
                        continue;
                    }
                    return Ok(events);
                }
                Ok(_) => {
                    // What was written right before it was put aside.
                    events.append(&mut self.read_file()?);
                    self.file = None;
                    self.line.clear();
                }
                Err(_) => return Ok(events),
            }
        }
    }

    /// The rest of a file. A line that a loss of power has torn is none.
    fn read_file(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let Some(file) = &mut self.file else { return Ok(events) };
        while file.read_until(b'\n', &mut self.line)? > 0 {
            if self.line.ends_with(b"\n") {
                events.extend(serde_json::from_slice(&self.line).ok());
                self.line.clear();
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(name: &str, length_max: u64) -> Events {
        let folder = std::env::temp_dir().join(format!("box-events-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Events { folder, length_max }
    }

    fn event(number: usize) -> Event {
        let (time, action) = (Moment(number as u64), "x".repeat(number % 100));
        let attributes = BTreeMap::new();
        Event { time, kind: EventKind::Volume, action, id: number.to_string(), attributes }
    }

    #[test]
    fn many_that_write_put_aside_what_is_long() {
        let events = events("many", 20_000);
        let count = |name: &str| {
            let text = std::fs::read_to_string(events.folder.join(name)).unwrap();
            let mut lines = text.lines().filter(|line| !line.is_empty());
            assert!(lines.all(|line| serde_json::from_str::<Event>(line).is_ok()), "{text}");
            text.len() as u64
        };
        for round in 0..20 {
            std::thread::scope(|scope| {
                for thread in 0..8 {
                    let events = &events;
                    scope.spawn(move || {
                        (0..50).for_each(|number| events.write(&[event(thread * 50 + number)]).unwrap())
                    });
                }
            });
            count("now");
            // One that has just begun is not taken for the long one.
            assert!(round == 0 || count("before") > events.length_max);
        }
        std::fs::remove_dir_all(&events.folder).unwrap();
    }

    #[test]
    fn a_torn_line_costs_no_other() {
        let events = events("torn", LENGTH_MAX);
        events.write(&[event(1)]).unwrap();
        let torn = [&std::fs::read(events.now()).unwrap()[..], b"{\"time\": 1, \xff"].concat();
        std::fs::write(events.now(), torn).unwrap();
        let mut reader = events.watch(Some(Moment(0)), Some(Moment(2))).unwrap();
        events.write(&[event(2)]).unwrap();
        assert_eq!(reader.next_events().unwrap(), Some(vec![event(1), event(2)]));
        assert_eq!(reader.next_events().unwrap(), None);
        std::fs::remove_dir_all(&events.folder).unwrap();
    }

    /// Clocks of several commands are none of an order.
    #[test]
    fn whoever_follows_misses_nothing_and_sees_nothing_twice() {
        let events = events("followed", 2_000);
        let (all, soon) = (Some(Moment(0)), Some(Moment(Moment::now().0 + 20_000_000_000)));
        events.write(&[event(7), event(5)]).unwrap();
        let mut reader = events.watch(all, soon).unwrap();
        let mut seen = reader.next_events().unwrap().unwrap();
        for number in 0..400 {
            events.write(&[event(number)]).unwrap();
            // At each place of a file, also right before it is put aside.
            if number % 7 == 3 {
                seen.append(&mut reader.next_events().unwrap().unwrap());
            }
        }
        seen.append(&mut reader.next_events().unwrap().unwrap());
        let wanted: Vec<Event> = [7, 5].into_iter().chain(0..400).map(event).collect();
        assert_eq!(seen, wanted);
        std::fs::remove_dir_all(&events.folder).unwrap();
    }

    /// The kernel has watchers for so many readers alone.
    #[test]
    fn a_reader_whom_nobody_tells_looks_by_itself() {
        let events = events("untold", LENGTH_MAX);
        let soon = Some(Moment(Moment::now().0 + 20_000_000_000));
        let mut reader = events.watch(None, soon).unwrap();
        reader.watch = FolderWatch::untold();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                events.write(&[event(1)]).unwrap();
            });
            assert_eq!(reader.next_events().unwrap(), Some(vec![event(1)]));
        });
        std::fs::remove_dir_all(&events.folder).unwrap();
    }

    #[test]
    fn an_emptied_or_removed_file_is_read_on() {
        let events = events("emptied", LENGTH_MAX);
        events.write(&[event(90), event(91)]).unwrap();
        let soon = Some(Moment(Moment::now().0 + 20_000_000_000));
        let mut reader = events.watch(None, soon).unwrap();
        std::fs::write(events.now(), "").unwrap();
        events.write(&[event(1)]).unwrap();
        assert_eq!(reader.next_events().unwrap(), Some(vec![event(1)]));
        std::fs::write(events.now(), "{\"time\": 1").unwrap();
        assert_eq!(reader.read().unwrap(), vec![]);
        std::fs::remove_file(events.now()).unwrap();
        events.write(&[event(2)]).unwrap();
        assert_eq!(reader.next_events().unwrap(), Some(vec![event(2)]));
        std::fs::remove_dir_all(&events.folder).unwrap();
    }
}
