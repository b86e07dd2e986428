//! Logs that somebody else keeps. A thread speaks to them, so that they never make the program wait for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::journald::Journal;
use super::lines::{Lines, Part};
use super::record::Stream;
use super::syslog::Syslog;
use crate::error::{Context, Error, Result};
use crate::time::Moment;

/// What may wait to be sent, in bytes.
const WAITING: usize = 1 << 20;

/// What an entry takes besides its text.
const OVERHEAD: usize = 64;

/// How long the program waits when so much does, before its output is lost.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the end of a program waits for it.
const SETTLING: Duration = Duration::from_millis(100);

/// How long the monitor waits at its end for what is not sent.
const FAREWELL: Duration = Duration::from_secs(3);

/// When it is tried again after a failure; each time twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The thread calls a handful of functions, and resolves names.
const STACK: usize = 1 << 20;

/// Who keeps it.
#[derive(Debug)]
pub enum Keeper {
    Journal(Journal),
    Syslog(Syslog),
}

impl Keeper {
    fn send(&mut self, entry: &Entry) -> std::io::Result<()> {
        match self {
            Keeper::Journal(journal) => journal.send(entry),
            // A line of syslog's says something.
            Keeper::Syslog(_) if entry.text.is_empty() => Ok(()),
            Keeper::Syslog(syslog) => syslog.send(entry),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Keeper::Journal(_) => "the journal",
            Keeper::Syslog(_) => "syslog",
        }
    }
}

/// The monitor's end.
#[derive(Debug)]
pub struct Remote {
    lines: Lines,
    entries: Option<Sender<Entry>>,
    complaints: Receiver<String>,
    /// Bytes that wait to be sent, and how many may.
    waiting: Arc<AtomicUsize>,
    most: usize,
    /// Entries that were not taken since the last one that was.
    lost: u64,
}

impl Remote {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is none.
    pub fn start(keeper: Keeper, most: Option<usize>) -> Result<Remote> {
        let (entries, received) = channel();
        let (complain, complaints) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let shared = waiting.clone();
        let sender = Delivery { keeper, waiting: shared, complain, lost: 0, pause: PAUSE, due: None };
        let started = Builder::new().stack_size(STACK).spawn(move || sender.run(&received));
        started.context(|| "a thread for the log")?;
        let most = most.unwrap_or(WAITING);
        Ok(Remote { lines: Lines::default(), entries: Some(entries), complaints, waiting, most, lost: 0 })
    }

    /// Sends what a program wrote.
    pub fn write(&mut self, stream: Stream, content: &[u8]) {
        self.each(|lines, each| lines.take(stream, content, each));
    }

    /// The program has ended.
    pub fn finish(&mut self) {
        self.each(|lines, each| lines.finish(each));
        // So that whoever is attached hears of a failure before the end.
        self.settle(SETTLING);
    }

    /// Waits a little for what is not sent yet.
    fn settle(&self, limit: Duration) {
        let due = Instant::now() + limit;
        while self.waiting.load(Ordering::Acquire) > 0 && Instant::now() < due {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn each(&mut self, take: impl FnOnce(&mut Lines, &mut dyn FnMut(Part<'_>))) {
        let mut lines = std::mem::take(&mut self.lines);
        take(&mut lines, &mut |part| self.queue(part));
        self.lines = lines;
    }

    fn queue(&mut self, part: Part<'_>) {
        let Part { stream, text, is_last } = part;
        let due = Instant::now() + PATIENCE;
        while self.waiting.load(Ordering::Relaxed) + text.len() + OVERHEAD > self.most {
            // Whoever has lost something already does not wait again.
            if self.lost > 0 || Instant::now() >= due {
                self.lost += 1;
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if std::mem::take(&mut self.lost) > 0 {
            // The thread has counted nothing of these.
            self.push(note("some"));
        }
        self.push(Entry { stream, time: Moment::now(), text: text.to_vec(), is_last });
    }

    fn push(&mut self, entry: Entry) {
        self.waiting.fetch_add(entry.text.len() + OVERHEAD, Ordering::Relaxed);
        if let Some(entries) = &self.entries {
            // The thread ends after this.
            let _ = entries.send(entry);
        }
    }

    /// What is to be said once.
    pub fn complaint(&mut self) -> Option<String> {
        self.complaints.try_recv().ok()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.entries = None;
        self.settle(FAREWELL);
    }
}

fn note(count: impl std::fmt::Display) -> Entry {
    let text = format!("box: {count} lines are missing here: they were not taken").into_bytes();
    Entry { stream: Stream::Stderr, time: Moment::now(), text, is_last: true }
}

/// The thread's end.
struct Delivery {
    keeper: Keeper,
    waiting: Arc<AtomicUsize>,
    complain: Sender<String>,
    /// Entries that were not taken since the last one that was.
    lost: u64,
    pause: Duration,
    /// When it is tried again.
    due: Option<Instant>,
}

impl Delivery {
    fn run(mut self, entries: &Receiver<Entry>) {
        while let Ok(entry) = entries.recv() {
            self.deliver(&entry);
            self.waiting.fetch_sub(entry.text.len() + OVERHEAD, Ordering::Release);
        }
    }

    fn deliver(&mut self, entry: &Entry) {
        if self.due.is_some_and(|due| Instant::now() < due) {
            self.lost += 1;
            return;
        }
        let noted = if self.lost > 0 { self.keeper.send(&note(self.lost)) } else { Ok(()) };
        match noted.and_then(|()| self.keeper.send(entry)) {
            Ok(()) => (self.lost, self.due, self.pause) = (0, None, PAUSE),
            Err(error) => {
                if self.due.is_none() {
                    let error = Error::from(error);
                    let text = format!(
                        "{} does not take what the container writes: {error}: it is lost until it does",
                        self.keeper.name()
                    );
                    // Nobody may be there to say it.
                    let _ = self.complain.send(text);
                }
                self.lost += 1;
                self.due = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
