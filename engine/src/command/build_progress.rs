//! How a build is shown: BuildKit's plain lines, JSON for programs, or nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::build::{Ending, Event, Sink, Stream};
use crate::message::{line, lines};

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Lines, as BuildKit has them with `--progress plain`.
    Plain,
    /// A line of JSON for each event.
    Json,
    /// Not at all, unless it fails.
    Quiet,
}

/// How many lines of what a step has written are shown again if it fails.
const TAIL: usize = 50;

/// A line that is longer is shown as several.
const LINE_MAX: usize = 1 << 16;

/// A sink that shows what it hears on stderr.
pub struct Printer {
    style: Style,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<usize, Part>,
    failed: Option<usize>,
}

struct Part {
    name: String,
    began: Instant,
    /// What stands in a line that is not complete, of stdout and stderr.
    open: [Vec<u8>; 2],
    tail: Vec<String>,
}

impl Printer {
    pub fn new(style: Style) -> Printer {
        Printer { style, state: Mutex::default() }
    }

    /// What is said of a failure besides the error: the end of what the step has written, and the lines of the Dockerfile.
    pub fn explain(&self, excerpt: Option<&str>) {
        if self.style == Style::Json {
            return;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if let Some(part) = state.failed.and_then(|number| state.parts.get(&number)) {
            text += &format!("------\n > {}:\n", part.name);
            text += &part.tail.iter().map(|line| format!("{line}\n")).collect::<String>();
            text += "------\n";
        }
        write(&(text + &lines(excerpt.unwrap_or_default())));
    }
}

/// Nobody who reads it is no reason to stop.
fn write(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

impl Sink for Printer {
    fn note(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.style == Style::Json {
            write(&format!("{}\n", document(&event)));
        }
        let text = state.take(event);
        if self.style == Style::Plain {
            write(&text);
        }
    }
}

impl State {
    /// The lines of an event.
    fn take(&mut self, event: Event) -> String {
        match event {
            Event::Begun { vertex, name } => {
                let name = line(&name).into_owned();
                let text = format!("#{vertex} {name}\n");
                let part = Part { name, began: Instant::now(), open: Default::default(), tail: Vec::new() };
                self.parts.insert(vertex, part);
                text
            }
            Event::Note { vertex, text } => format!("#{vertex} {}\n", line(&text)),
            Event::Missed { vertex, reason } => format!("#{vertex} not cached: {}\n", line(&reason)),
            Event::Output { vertex, stream, bytes } => {
                let Some(part) = self.parts.get_mut(&vertex) else { return String::new() };
                let open = &mut part.open[usize::from(stream == Stream::Stderr)];
                let end = bytes.iter().rposition(|byte| *byte == b'\n').map(|end| open.len() + end + 1);
                open.extend_from_slice(&bytes);
                // A program that never ends a line does not fill the memory.
                let end = end.or((open.len() >= LINE_MAX).then_some(open.len()));
                let lines: Vec<u8> = open.drain(..end.unwrap_or(0)).collect();
                part.lines(vertex, &lines)
            }
            Event::Ended { vertex, ending, time } => {
                let Some(part) = self.parts.get_mut(&vertex) else { return String::new() };
                let rest: Vec<Vec<u8>> = part.open.iter_mut().map(std::mem::take).collect();
                let mut text: String = rest.iter().map(|line| part.lines(vertex, line)).collect();
                text += &match ending {
                    Ending::Done => format!("#{vertex} DONE {}\n\n", seconds(time)),
                    Ending::Cached => format!("#{vertex} CACHED\n\n"),
                    Ending::Cancelled => format!("#{vertex} CANCELED\n\n"),
                    Ending::Failed(error) => {
                        self.failed.get_or_insert(vertex);
                        format!("#{vertex} ERROR: {}\n", line(&error))
                    }
                };
                text
            }
            Event::Warning(text) => format!("WARN: {}\n", line(&text)),
        }
    }
}

impl Part {
    fn lines(&mut self, vertex: usize, bytes: &[u8]) -> String {
        let mut text = String::new();
        for said in String::from_utf8_lossy(bytes).lines() {
            let line = format!("{:.3} {said}", self.began.elapsed().as_secs_f64());
            text += &format!("#{vertex} {line}\n");
            if self.tail.len() == TAIL {
                self.tail.remove(0);
            }
            self.tail.push(line);
        }
        text
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

fn document(event: &Event) -> serde_json::Value {
    match event {
        Event::Begun { vertex, name } => json!({"vertex": vertex, "name": name}),
        Event::Note { vertex, text } => json!({"vertex": vertex, "note": text}),
        Event::Missed { vertex, reason } => {
            json!({"vertex": vertex, "note": format!("not cached: {reason}")})
        }
        Event::Output { vertex, stream, bytes } => {
            let stream = if *stream == Stream::Stdout { "stdout" } else { "stderr" };
            json!({"vertex": vertex, "stream": stream, "text": String::from_utf8_lossy(bytes)})
        }
        Event::Ended { vertex, ending, time } => {
            let (status, error) = match ending {
                Ending::Done => ("done", None),
                Ending::Cached => ("cached", None),
                Ending::Cancelled => ("canceled", None),
                Ending::Failed(error) => ("error", Some(error)),
            };
            json!({"vertex": vertex, "status": status, "error": error, "seconds": time.as_secs_f64()})
        }
        Event::Warning(text) => json!({"warning": text}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_buildkit_s() {
        let mut state = State::default();
        let mut said = String::new();
        said += &state.take(Event::Begun { vertex: 3, name: "[2/2] RUN x".into() });
        for bytes in [&b"one\ntw"[..], b"o\n", b"three"] {
            said += &state.take(Event::Output { vertex: 3, stream: Stream::Stdout, bytes: bytes.to_vec() });
        }
        let time = Duration::from_millis(250);
        said += &state.take(Event::Ended { vertex: 3, ending: Ending::Failed("no".into()), time });
        let without_times: Vec<String> = said
            .lines()
            .map(|line| {
                line.split(' ').filter(|word| word.parse::<f64>().is_err()).collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(without_times, ["#3 [2/2] RUN x", "#3 one", "#3 two", "#3 three", "#3 ERROR: no"]);
        assert_eq!((state.failed, state.parts[&3].tail.len()), (Some(3), 3));
        assert_eq!(seconds(time), "0.2s");
    }

    #[test]
    fn endless_lines_are_cut() {
        let mut state = State::default();
        state.take(Event::Begun { vertex: 1, name: "RUN x".into() });
        let mut said = 0;
        for _ in 0..100 {
            let bytes = vec![b'x'; LINE_MAX / 10];
            said += state.take(Event::Output { vertex: 1, stream: Stream::Stdout, bytes }).len();
        }
        assert!(said > 9 * LINE_MAX && state.parts[&1].open[0].len() < LINE_MAX);
    }
}
