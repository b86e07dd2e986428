//! How a build is shown: BuildKit's view on a terminal, its plain lines, JSON for programs, or nothing.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::build_part::Part;
use super::build_screen::Screen;
use crate::build::{Ending, Event, Reporter, Sink};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::message::{line, lines};
use crate::reference::Reference;
use crate::thread::spawn;
use crate::transfer::{Observer, Step};

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A line for each part, which changes while it runs, as BuildKit has them with `--progress tty`.
    Terminal,
    /// Lines, as BuildKit has them with `--progress plain`.
    Plain,
    /// A line of JSON for each event, as BuildKit has them with `--progress rawjson`.
    Json,
    /// Not at all, unless it fails.
    Quiet,
}

impl Style {
    /// By the words of `--progress`. What needs a terminal is plain without one.
    ///
    /// # Errors
    /// There is no such word.
    pub fn parse(text: &str) -> Result<Style> {
        let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        match text {
            "auto" | "tty" if std::io::stderr().is_terminal() && !is_dumb => Ok(Style::Terminal),
            "auto" | "tty" | "plain" => Ok(Style::Plain),
            "rawjson" => Ok(Style::Json),
            "quiet" | "none" => Ok(Style::Quiet),
            other => Err(Error::invalid(format!(
                "--progress {other}: must be auto, tty, plain, rawjson, quiet or none"
            ))),
        }
    }
}

/// How often lines on a terminal change.
const PERIOD: Duration = Duration::from_millis(100);

/// A sink that shows what it hears on stderr.
pub struct Printer {
    style: Style,
    reporter: Reporter,
    began: Instant,
    state: Mutex<State>,
    /// Told when it is over.
    over: Condvar,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<usize, Part>,
    failed: Option<usize>,
    screen: Screen,
    /// What is to stand above the lines that change.
    above: String,
    is_over: bool,
}

impl Printer {
    pub fn new(style: Style) -> Printer {
        let reporter = Reporter::new("");
        Printer { style, reporter, began: Instant::now(), state: Mutex::default(), over: Condvar::new() }
    }

    /// Shows what happens while some work is done.
    ///
    /// # Errors
    /// There are too many threads.
    pub fn while_shown<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        if self.style != Style::Terminal {
            return Ok(work());
        }
        std::thread::scope(|scope| {
            spawn(scope, || self.draw_until_over())?;
            let _over = Over(self);
            Ok(work())
        })
    }

    fn draw_until_over(&self) {
        let mut state = self.state();
        loop {
            if !state.is_over {
                state = self.over.wait_timeout(state, PERIOD).unwrap_or_else(PoisonError::into_inner).0;
            }
            let State { parts, screen, above, is_over, .. } = &mut *state;
            write(&screen.draw(&std::mem::take(above), parts, self.began.elapsed(), *is_over));
            if *is_over {
                return;
            }
        }
    }

    /// Says something that is no part of the build.
    pub fn say(&self, text: &str) {
        match self.style {
            Style::Terminal => self.state().above += &format!("box: {}\n", line(text)),
            Style::Json => Sink::note(self, Event::Warning(text.to_string())),
            _ => super::say(text),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of a failure besides the error: the end of what the step has written, and the lines of the Dockerfile.
    pub fn explain(&self, excerpt: Option<&str>) {
        if self.style == Style::Json {
            return;
        }
        let state = self.state();
        let mut text = String::new();
        if let Some(part) = state.failed.and_then(|number| state.parts.get(&number)) {
            text += &format!("------\n > {}:\n", part.name);
            text += &part.tail.iter().map(|line| format!("{line}\n")).collect::<String>();
            text += "------\n";
        }
        write(&(text + &lines(excerpt.unwrap_or_default())));
    }
}

/// The work that is shown: whatever becomes of it, it is over when this is dropped.
struct Over<'p>(&'p Printer);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.over.notify_all();
    }
}

/// Nobody who reads it is no reason to stop.
fn write(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

impl Sink for Printer {
    fn note(&self, event: Event) {
        let mut state = self.state();
        if self.style == Style::Json {
            // It has strings and numbers alone, so that there is nothing that could not be written.
            let document = serde_json::to_string(&self.reporter.report(event)).unwrap_or_default();
            return write(&(document + "\n"));
        }
        let text = state.take(event);
        if self.style == Style::Plain {
            write(&text);
        }
    }
}

/// Layers that come are lines of the part that waits for them.
impl Observer for Printer {
    fn note(&self, layer: &Digest, step: Step) {
        let mut state = self.state();
        let waiting = state.parts.values_mut().rev().find(|part| part.ending.is_none());
        let Some(Part { layers, .. }) = waiting else { return };
        match layers.iter_mut().find(|(known, _)| known == layer) {
            Some((_, known)) => *known = step,
            None => layers.push((*layer, step)),
        }
    }

    /// The part that waits for it says which it is.
    fn begin(&self, _: &Reference) {}

    fn remark(&self, text: &str) {
        self.say(text);
    }
}

impl State {
    /// The lines of an event.
    fn take(&mut self, event: Event) -> String {
        match event {
            Event::Begun { vertex, name, inputs: _ } => {
                let name = line(&name).into_owned();
                let text = format!("#{vertex} {name}\n");
                self.parts.insert(vertex, Part::begin(name));
                text
            }
            Event::Note { vertex, text } => {
                let text = line(&text).into_owned();
                let said = format!("#{vertex} {text}\n");
                if let Some(part) = self.parts.get_mut(&vertex) {
                    part.notes.push(text);
                }
                said
            }
            Event::Missed { vertex, reason } => format!("#{vertex} not cached: {}\n", line(&reason)),
            Event::Output { vertex, stream, bytes } => {
                let Some(part) = self.parts.get_mut(&vertex) else { return String::new() };
                part.write(stream, &bytes).iter().map(|line| format!("#{vertex} {line}\n")).collect()
            }
            Event::Ended { vertex, ending, time } => {
                let Some(part) = self.parts.get_mut(&vertex) else { return String::new() };
                let rest = part.end(ending.clone(), time);
                let mut text: String = rest.iter().map(|line| format!("#{vertex} {line}\n")).collect();
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
            Event::Warning(text) => {
                let text = format!("WARN: {}\n", line(&text));
                self.above += &text;
                text
            }
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::build_part::LINE_MAX;
    use super::*;
    use crate::build::Stream;

    #[test]
    fn lines_are_buildkit_s() {
        let mut state = State::default();
        let mut said = String::new();
        said += &state.take(Event::Begun { vertex: 3, name: "[2/2] RUN x".into(), inputs: Vec::new() });
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
        state.take(Event::Begun { vertex: 1, name: "RUN x".into(), inputs: Vec::new() });
        let mut said = 0;
        for _ in 0..100 {
            let bytes = vec![b'x'; LINE_MAX / 10];
            said += state.take(Event::Output { vertex: 1, stream: Stream::Stdout, bytes }).len();
        }
        assert!(said > 9 * LINE_MAX && state.parts[&1].open_length() < LINE_MAX);
    }
}
