//! What happens in a build, in BuildKit's words: as its clients are told by messages, and as programs read it that are given JSON.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use super::event::{Ending, Event, Stream};
use crate::digest::Digest;
use crate::time::{Moment, rfc3339};

/// Something that has happened. As JSON it is what BuildKit's clients write with `--progress rawjson`: bytes are base64, and what is not
/// said is left out.
#[derive(Debug, Default, Serialize)]
pub struct SolveStatus {
    /// Parts that have begun or ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vertexes: Vec<VertexNews>,
    /// What is said about them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<StatusNews>,
    /// What their programs have written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogNews>,
    /// Warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<WarningNews>,
}

/// A part, as far as it has come.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VertexNews {
    /// What it is known by.
    pub digest: String,
    /// What the parts are known by that it goes on from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// What it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// When it has begun.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "moment")]
    pub started: Option<Moment>,
    /// When it has ended.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "moment")]
    pub completed: Option<Moment>,
    /// Whether nothing had to be done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Why it has failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// Something about a part.
#[derive(Debug, Serialize)]
pub struct StatusNews {
    /// What is said.
    pub id: String,
    /// Of which part.
    pub vertex: String,
    /// How much of it is done.
    pub current: i64,
    /// When it was said; it begins and ends with that.
    #[serde(serialize_with = "moment")]
    pub timestamp: Option<Moment>,
    /// The same.
    #[serde(serialize_with = "moment")]
    pub started: Option<Moment>,
    /// The same.
    #[serde(serialize_with = "moment")]
    pub completed: Option<Moment>,
}

/// What a part's program has written.
#[derive(Debug, Serialize)]
pub struct LogNews {
    /// Which part's.
    pub vertex: String,
    /// 1 is stdout, 2 is stderr.
    pub stream: i64,
    /// What.
    #[serde(serialize_with = "base64")]
    pub data: Vec<u8>,
    /// When.
    #[serde(serialize_with = "moment")]
    pub timestamp: Option<Moment>,
}

/// A warning.
#[derive(Debug, Serialize)]
pub struct WarningNews {
    /// A part that is none: it concerns the build as a whole.
    pub vertex: String,
    /// How bad it is.
    pub level: i64,
    /// In a line.
    #[serde(serialize_with = "base64")]
    pub short: Vec<u8>,
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn moment<S: Serializer>(moment: &Option<Moment>, serializer: S) -> Result<S::Ok, S::Error> {
    moment.map(rfc3339).serialize(serializer)
}

fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

/// Puts events into BuildKit's words.
#[derive(Debug)]
pub struct Reporter {
    /// By which parts of this build are told from those of others.
    name: String,
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    /// Those that have not ended.
    running: BTreeMap<usize, VertexNews>,
    digests: BTreeMap<usize, String>,
    /// How many there were of each name.
    counts: BTreeMap<String, usize>,
}

impl Reporter {
    /// For a build of that name. A part has the same digest in all builds of the name that have it, as with BuildKit.
    pub fn new(name: impl Into<String>) -> Reporter {
        Reporter { name: name.into(), parts: Mutex::default() }
    }

    fn digest_of(&self, part: &str) -> String {
        Digest::of(format!("{}\0{part}", self.name).as_bytes()).to_string()
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self, vertex: usize, name: String, inputs: &[String]) -> VertexNews {
        let mut parts = self.parts();
        let count = parts.counts.entry(name.clone()).or_default();
        *count += 1;
        let digest = match *count {
            1 => self.digest_of(&name),
            count => self.digest_of(&format!("{name}\0{count}")),
        };
        let inputs = inputs.iter().map(|name| self.digest_of(name)).collect();
        let started = Some(Moment::now());
        let part = VertexNews { digest: digest.clone(), inputs, name, started, ..VertexNews::default() };
        parts.digests.insert(vertex, digest);
        parts.running.insert(vertex, part.clone());
        part
    }

    /// Of one that has begun; of 0, which is none, that of the build.
    fn digest(&self, vertex: usize) -> String {
        self.parts().digests.get(&vertex).cloned().unwrap_or_else(|| self.digest_of(""))
    }

    /// What an event comes to.
    pub fn report(&self, event: Event) -> SolveStatus {
        let now = Some(Moment::now());
        let mut news = SolveStatus::default();
        match event {
            Event::Begun { vertex, name, inputs } => news.vertexes.push(self.begun(vertex, name, &inputs)),
            Event::Missed { vertex, reason } => news.logs.push(LogNews {
                vertex: self.digest(vertex),
                timestamp: now,
                stream: 2,
                data: format!("not cached: {reason}\n").into_bytes(),
            }),
            Event::Output { vertex, stream, bytes } => news.logs.push(LogNews {
                vertex: self.digest(vertex),
                timestamp: now,
                stream: if stream == Stream::Stdout { 1 } else { 2 },
                data: bytes,
            }),
            Event::Note { vertex, text } => news.statuses.push(StatusNews {
                id: text,
                vertex: self.digest(vertex),
                current: 0,
                timestamp: now,
                started: now,
                completed: now,
            }),
            Event::Ended { vertex, ending, time: _ } => {
                let part = self.parts().running.remove(&vertex);
                let mut part = part
                    .unwrap_or_else(|| VertexNews { digest: self.digest(vertex), ..VertexNews::default() });
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
            Event::Warning(text) => {
                news.warnings.push(WarningNews { vertex: self.digest(0), level: 1, short: text.into_bytes() })
            }
        }
        news
    }
}
