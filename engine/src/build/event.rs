//! What happens in a build, for whoever shows it: a command prints it, an API turns it into JSON.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Something that happens. Each part of a build has a number, from 1 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins: `[build 2/4] RUN make`.
    Begun {
        /// Its number.
        vertex: usize,
        /// What it is.
        name: String,
        /// What those parts are that it goes on from.
        inputs: Vec<String>,
    },
    /// Its program has written something.
    Output {
        /// Its number.
        vertex: usize,
        /// Where to.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// Something about it: `writing image sha256:…`.
    Note {
        /// Its number.
        vertex: usize,
        /// What.
        text: String,
    },
    /// It must be done, although such parts are kept.
    Missed {
        /// Its number.
        vertex: usize,
        /// Why.
        reason: String,
    },
    /// It has ended.
    Ended {
        /// Its number.
        vertex: usize,
        /// How.
        ending: Ending,
        /// How long it took.
        time: Duration,
    },
    /// Something that concerns the build as a whole.
    Warning(String),
}

/// Where a program writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its stdout.
    Stdout,
    /// Its stderr.
    Stderr,
}

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was done.
    Done,
    /// Nothing had to be done.
    Cached,
    /// Another part has failed.
    Cancelled,
    /// It has failed.
    Failed(String),
}

/// Somebody who is told of it, by several threads at once.
pub trait Sink: Sync {
    /// Something has happened.
    fn note(&self, event: Event);
}

/// Gives numbers, and passes on what happens.
pub struct Progress<'s> {
    sink: &'s dyn Sink,
    last: AtomicUsize,
}

/// A part of a build that has begun.
pub struct Vertex<'p> {
    sink: &'p dyn Sink,
    number: usize,
    began: Instant,
}

impl<'s> Progress<'s> {
    /// To a sink.
    pub fn new(sink: &'s dyn Sink) -> Progress<'s> {
        Progress { sink, last: AtomicUsize::new(0) }
    }

    /// A part begins.
    pub fn begin(&self, name: impl Into<String>) -> Vertex<'_> {
        self.begin_after(name, Vec::new())
    }

    /// One begins that goes on from others, which are named as they are themselves.
    pub fn begin_after(&self, name: impl Into<String>, inputs: Vec<String>) -> Vertex<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.sink.note(Event::Begun { vertex: number, name: name.into(), inputs });
        Vertex { sink: self.sink, number, began: Instant::now() }
    }

    /// Something that concerns the build as a whole.
    pub fn warn(&self, text: impl Into<String>) {
        self.sink.note(Event::Warning(text.into()));
    }
}

impl Vertex<'_> {
    /// Something about it.
    pub fn note(&self, text: impl Into<String>) {
        self.sink.note(Event::Note { vertex: self.number, text: text.into() });
    }

    /// It must be done.
    pub fn miss(&self, reason: impl Into<String>) {
        self.sink.note(Event::Missed { vertex: self.number, reason: reason.into() });
    }

    /// Its program has written something.
    pub fn output(&self, stream: Stream, bytes: &[u8]) {
        self.sink.note(Event::Output { vertex: self.number, stream, bytes: bytes.to_vec() });
    }

    /// It has ended.
    pub fn end(self, ending: Ending) {
        self.sink.note(Event::Ended { vertex: self.number, ending, time: self.began.elapsed() });
    }

    /// Does it, and says how it ended.
    ///
    /// # Errors
    /// Those of what is done.
    pub fn run<T, E: std::fmt::Display>(self, act: impl FnOnce(&Vertex<'_>) -> Result<T, E>) -> Result<T, E> {
        let done = act(&self);
        self.end(match &done {
            Ok(_) => Ending::Done,
            Err(error) => Ending::Failed(error.to_string()),
        });
        done
    }
}
