//! What the guest reports to the host: one JSON object per line on a virtio port, where no kernel message can
//! get in between.

use serde_json::{Value, json};

/// A line of the report.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The guest is ready to run cases.
    Up { kernel: String, seconds: f64 },
    /// A case starts.
    Begin { case: String },
    /// A case has ended.
    End { case: String, outcome: Outcome, seconds: f64 },
    /// All cases have ended.
    Down,
}

/// How a case ended.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// It was a measurement, with this figure.
    Measured(u64),
    /// It failed; its output.
    Failed(String),
    /// Something that it needs is missing; what.
    Skipped(String),
}

impl Event {
    /// The event as a line, without the newline.
    pub fn line(&self) -> String {
        match self {
            Event::Up { kernel, seconds } => json!({"event": "up", "kernel": kernel, "seconds": seconds}),
            Event::Begin { case } => json!({"event": "begin", "case": case}),
            Event::End { case, outcome, seconds } => {
                let (outcome, detail) = match outcome {
                    Outcome::Passed => ("passed", json!("")),
                    Outcome::Measured(figure) => ("measured", json!(figure)),
                    Outcome::Failed(detail) => ("failed", json!(detail)),
                    Outcome::Skipped(detail) => ("skipped", json!(detail)),
                };
                json!({"event": "end", "case": case, "outcome": outcome, "detail": detail, "seconds": seconds})
            }
            Event::Down => json!({"event": "down"}),
        }
        .to_string()
    }

    /// Parses a line; `None` if it is not an event.
    pub fn parse(line: &str) -> Option<Event> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let seconds = || value.get("seconds")?.as_f64();
        Some(match value.get("event")?.as_str()? {
            "up" => Event::Up { kernel: text("kernel")?, seconds: seconds()? },
            "begin" => Event::Begin { case: text("case")? },
            "end" => {
                let outcome = match value.get("outcome")?.as_str()? {
                    "passed" => Outcome::Passed,
                    "measured" => Outcome::Measured(value.get("detail")?.as_u64()?),
                    "failed" => Outcome::Failed(text("detail")?),
                    "skipped" => Outcome::Skipped(text("detail")?),
                    _ => return None,
                };
                Event::End { case: text("case")?, outcome, seconds: seconds()? }
            }
            "down" => Event::Down,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_way() {
        let outcome = Outcome::Failed("line\nanother \"line\"".into());
        for event in [
            Event::Up { kernel: "6.12.1".into(), seconds: 2.5 },
            Event::Begin { case: "a".into() },
            Event::End { case: "a".into(), outcome, seconds: 0.25 },
            Event::End { case: "a".into(), outcome: Outcome::Measured(7), seconds: 0.25 },
            Event::Down,
        ] {
            let line = event.line();
            assert!(!line.contains('\n'));
            assert_eq!(Event::parse(&line), Some(event));
        }
        assert_eq!(Event::parse("[    1.0] a kernel message"), None);
    }
}
