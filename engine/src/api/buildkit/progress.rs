//! What happens in a build, in BuildKit's words.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::job::Job;
use super::message::{StatusResponse, Timestamp, Vertex, VertexLog, VertexStatus, VertexWarning};
use super::status::Status;
use crate::build::{Ending, Event, Sink, Stream};
use crate::digest::Digest;

/// Tells a job what happens.
pub struct Teller {
    job: Arc<Job>,
    /// By which parts of this build are told from those of others.
    name: String,
    parts: Mutex<BTreeMap<usize, Vertex>>,
    behind: AtomicUsize,
}

impl Teller {
    /// For a build of that name.
    pub fn new(job: Arc<Job>, name: &str) -> Teller {
        Teller { job, name: name.to_string(), parts: Mutex::default(), behind: AtomicUsize::new(0) }
    }

    /// A part of a build behind those of the builder.
    ///
    /// # Errors
    /// Those of what is done.
    pub fn part<T>(&self, name: &str, act: impl FnOnce() -> Result<T, Status>) -> Result<T, Status> {
        let vertex = usize::MAX - self.behind.fetch_add(1, Ordering::Relaxed);
        self.note(Event::Begun { vertex, name: name.to_string() });
        let begun = Instant::now();
        let done = act();
        let ending = match &done {
            Ok(_) => Ending::Done,
            Err(status) => Ending::Failed(status.message.clone()),
        };
        self.note(Event::Ended { vertex, ending, time: begun.elapsed() });
        done
    }

    fn digest(&self, vertex: usize) -> String {
        Digest::of(format!("{}\0{vertex}", self.name).as_bytes()).to_string()
    }
}

impl Sink for Teller {
    fn note(&self, event: Event) {
        let now = Some(Timestamp::now());
        let mut news = StatusResponse::default();
        match event {
            Event::Begun { vertex, name } => {
                let part = Vertex { digest: self.digest(vertex), name, started: now, ..Vertex::default() };
                self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(vertex, part.clone());
                news.vertexes.push(part);
            }
            Event::Missed { vertex, reason } => news.logs.push(VertexLog {
                vertex: self.digest(vertex),
                timestamp: now,
                stream: 2,
                bytes: format!("not cached: {reason}\n").into_bytes(),
            }),
            Event::Output { vertex, stream, bytes } => news.logs.push(VertexLog {
                vertex: self.digest(vertex),
                timestamp: now,
                stream: if stream == Stream::Stdout { 1 } else { 2 },
                bytes,
            }),
            Event::Note { vertex, text } => news.statuses.push(VertexStatus {
                id: text,
                vertex: self.digest(vertex),
                current: 0,
                total: 0,
                timestamp: now,
                started: now,
                completed: now,
            }),
            Event::Ended { vertex, ending, time: _ } => {
                let part = self.parts.lock().unwrap_or_else(PoisonError::into_inner).remove(&vertex);
                let mut part =
                    part.unwrap_or_else(|| Vertex { digest: self.digest(vertex), ..Vertex::default() });
                part.completed = now;
                match ending {
                    Ending::Done => {}
                    Ending::Cached => part.cached = true,
                    // Clients know these words.
                    Ending::Cancelled => part.error = "context canceled".to_string(),
                    Ending::Failed(error) => part.error = error,
                }
                news.vertexes.push(part);
            }
            Event::Warning(text) => news.warnings.push(VertexWarning {
                vertex: self.digest(0),
                level: 1,
                short: text.into_bytes(),
            }),
        }
        self.job.tell(news);
    }
}
