//! What happens in a build, in BuildKit's words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::job::Job;
use super::message::{StatusResponse, Timestamp, Vertex, VertexLog, VertexStatus, VertexWarning};
use super::status::Status;
use crate::build::{
    Ending, Event, LogNews, Reporter, Sink, SolveStatus, StatusNews, VertexNews, WarningNews,
};

/// Tells a job what happens.
pub struct Teller {
    job: Arc<Job>,
    reporter: Reporter,
    behind: AtomicUsize,
}

impl Teller {
    /// For a build of that name.
    pub fn new(job: Arc<Job>, name: &str) -> Teller {
        Teller { job, reporter: Reporter::new(name), behind: AtomicUsize::new(0) }
    }

    /// A part of a build behind those of the builder.
    ///
    /// # Errors
    /// Those of what is done.
    pub fn part<T>(&self, name: &str, act: impl FnOnce() -> Result<T, Status>) -> Result<T, Status> {
        let vertex = usize::MAX - self.behind.fetch_add(1, Ordering::Relaxed);
        self.note(Event::Begun { vertex, name: name.to_string(), inputs: Vec::new() });
        let begun = Instant::now();
        let done = act();
        let ending = match &done {
            Ok(_) => Ending::Done,
            Err(status) => Ending::Failed(status.message.clone()),
        };
        self.note(Event::Ended { vertex, ending, time: begun.elapsed() });
        done
    }
}

impl Sink for Teller {
    fn note(&self, event: Event) {
        self.job.tell(self.reporter.report(event).into());
    }
}

impl From<SolveStatus> for StatusResponse {
    fn from(news: SolveStatus) -> StatusResponse {
        let SolveStatus { vertexes, statuses, logs, warnings } = news;
        StatusResponse {
            vertexes: vertexes.into_iter().map(Vertex::from).collect(),
            statuses: statuses.into_iter().map(VertexStatus::from).collect(),
            logs: logs.into_iter().map(VertexLog::from).collect(),
            warnings: warnings.into_iter().map(VertexWarning::from).collect(),
        }
    }
}

impl From<VertexNews> for Vertex {
    fn from(news: VertexNews) -> Vertex {
        let VertexNews { digest, inputs, name, started, completed, cached, error } = news;
        let (started, completed) = (started.map(Timestamp::from), completed.map(Timestamp::from));
        Vertex { digest, inputs, name, cached, started, completed, error }
    }
}

impl From<StatusNews> for VertexStatus {
    fn from(news: StatusNews) -> VertexStatus {
        let StatusNews { id, vertex, current, timestamp, started, completed } = news;
        let [timestamp, started, completed] =
            [timestamp, started, completed].map(|moment| moment.map(Timestamp::from));
        VertexStatus { id, vertex, current, total: 0, timestamp, started, completed }
    }
}

impl From<LogNews> for VertexLog {
    fn from(news: LogNews) -> VertexLog {
        let LogNews { vertex, stream, data, timestamp } = news;
        VertexLog { vertex, timestamp: timestamp.map(Timestamp::from), stream, bytes: data }
    }
}

impl From<WarningNews> for VertexWarning {
    fn from(news: WarningNews) -> VertexWarning {
        let WarningNews { vertex, level, short } = news;
        VertexWarning { vertex, level, short }
    }
}
