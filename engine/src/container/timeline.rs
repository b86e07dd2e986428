//! How long each step of a start takes: for people, and for the viewers of browsers' traces.

use crate::order;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Steps as they end.
#[derive(Debug, Clone)]
pub struct Timeline {
    began: Instant,
    spans: Arc<Mutex<Vec<Span>>>,
}

#[derive(Debug, Clone)]
struct Span {
    name: String,
    from: Duration,
    length: Duration,
}

impl Timeline {
    /// Begins now.
    pub fn begin() -> Timeline {
        Timeline { began: Instant::now(), spans: Arc::default() }
    }

    /// Adds a step that has just ended.
    pub fn add(&self, name: &str, from: Instant) {
        let (name, length) = (name.to_string(), from.elapsed());
        let from = from.saturating_duration_since(self.began);
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).push(Span { name, from, length });
    }

    /// Does something, and adds it as a step.
    pub fn measure<T>(timeline: Option<&Timeline>, name: &str, act: impl FnOnce() -> T) -> T {
        let from = Instant::now();
        let done = act();
        if let Some(timeline) = timeline {
            timeline.add(name, from);
        }
        done
    }

    /// The steps in the order in which they began; those that others are part of come first.
    fn spans(&self) -> Vec<Span> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone();
        order::sort_by_key(&mut spans, |span| (span.from, std::cmp::Reverse(span.length)));
        spans
    }

    /// A line for each step: when it began, how long it took.
    pub fn text(&self) -> String {
        let mut text = String::from("     from ms    took ms\n");
        for Span { name, from, length } in self.spans() {
            let (from, length) = (from.as_secs_f64() * 1e3, length.as_secs_f64() * 1e3);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{from:>12.3} {length:>10.3}  {name}");
        }
        text
    }

    /// In the format of Chrome's traces, which chrome://tracing and Perfetto show.
    pub fn trace(&self) -> Value {
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        let event = |Span { name, from, length }: Span| json!({"name": name, "ph": "X", "ts": microseconds(from), "dur": microseconds(length), "pid": 1, "tid": 1});
        json!({"displayTimeUnit": "ms", "traceEvents": self.spans().into_iter().map(event).collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_in_the_order_in_which_they_began() {
        let timeline = Timeline::begin();
        let from = Instant::now();
        Timeline::measure(Some(&timeline), "part", || std::thread::sleep(Duration::from_millis(2)));
        timeline.add("whole", from);
        let text = timeline.text();
        let names: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
        assert_eq!(names, ["whole", "part"]);
        let trace = timeline.trace();
        assert_eq!(
            (&trace["traceEvents"][1]["name"], &trace["traceEvents"][1]["ph"]),
            (&json!("part"), &json!("X"))
        );
        assert!(trace["traceEvents"][1]["dur"].as_f64().unwrap() >= 2000.0);
    }
}
