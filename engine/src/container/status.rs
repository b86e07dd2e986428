//! How a container is at this moment.

use std::time::Duration;

use pillbox::{Container, Root};

use super::record::{ContainerRecord, Exit, Progress};
use crate::error::{Error, Result};
use crate::store::{ContainerFolder, ContainerId, Sharing, Store};
use crate::time::Moment;

/// What it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It was never started.
    Created,
    /// Its program runs.
    Running {
        /// Since when.
        since: Moment,
        /// Its first process.
        pid: i32,
    },
    /// All its processes are stopped.
    Paused {
        /// Since when it runs.
        since: Moment,
        /// Its first process.
        pid: i32,
    },
    /// It has ended, or could not be started.
    Exited(Exit),
    /// It has ended, and its monitor is about to start it again.
    Restarting(Exit),
    /// It is gone without a word: the machine was stopped, or its monitor was killed with it.
    Lost,
}

impl Status {
    /// Docker's words for all of them. It has one more, `removing`, which nothing here ever is: what is removed is gone at once.
    pub const NAMES: [&str; 7] = ["created", "running", "paused", "exited", "restarting", "dead", "removing"];

    /// Asks the records and the kernel.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn of(store: &Store, folder: &ContainerFolder) -> Result<Status> {
        let progress = Progress::read(folder)?;
        match progress.exit {
            Some(exit) if exit.is_restarting && is_held(folder).unwrap_or(false) => {
                return Ok(Status::Restarting(exit));
            }
            Some(exit) => return Ok(Status::Exited(exit)),
            None => {}
        }
        let Some(since) = progress.started else { return Ok(Status::Created) };
        let found = match open(store, &folder.id)? {
            Some(container) => container,
            None => return Ok(Status::Lost),
        };
        Ok(match found.status() {
            Ok(pillbox::Status::Paused) => Status::Paused { since, pid: found.pid()? },
            Ok(pillbox::Status::Stopped) | Err(_) => Status::Lost,
            Ok(_) => Status::Running { since, pid: found.pid()? },
        })
    }

    /// Docker's word.
    pub fn name(&self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running { .. } => "running",
            Status::Paused { .. } => "paused",
            Status::Exited(_) => "exited",
            Status::Restarting(_) => "restarting",
            Status::Lost => "dead",
        }
    }

    /// Whether it has processes.
    pub fn is_alive(&self) -> bool {
        matches!(self, Status::Running { .. } | Status::Paused { .. })
    }

    /// As Docker shows it: `Up 3 minutes`.
    pub fn sentence(&self, now: Moment) -> String {
        let ago = |moment: &Moment| span(Duration::from_nanos(now.0.saturating_sub(moment.0)));
        match self {
            Status::Created => "Created".to_string(),
            Status::Running { since, .. } => format!("Up {}", ago(since)),
            Status::Paused { since, .. } => format!("Up {} (Paused)", ago(since)),
            Status::Exited(Exit { status, finished, .. }) => {
                format!("Exited ({status}) {} ago", ago(finished))
            }
            Status::Restarting(Exit { status, finished, .. }) => {
                format!("Restarting ({status}) {} ago", ago(finished))
            }
            Status::Lost => "Dead".to_string(),
        }
    }
}

/// The runtime's container; `None` if it has none.
///
/// # Errors
/// The runtime's record is broken.
pub fn open(store: &Store, id: &ContainerId) -> Result<Option<Container>> {
    match Container::open(&Root::at(&store.place().runtime), id.as_str()) {
        Ok(container) => Ok(Some(container)),
        Err(error) if error.kind() == pillbox::Kind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The runtime's container of one that runs.
///
/// # Errors
/// It does not run.
pub fn open_running(store: &Store, folder: &ContainerFolder) -> Result<Container> {
    let record = ContainerRecord::of(folder)?;
    let status = Status::of(store, folder)?;
    let container = if status.is_alive() { open(store, &folder.id)? } else { None };
    container.ok_or_else(|| {
        Error::conflict(format!("container {}: it is not running, but {}", record.name, status.name()))
    })
}

/// Whether a command or a monitor has it in its hands.
///
/// # Errors
/// It is gone.
pub fn is_held(folder: &ContainerFolder) -> Result<bool> {
    Ok(folder.try_lock(Sharing::Shared)?.is_none())
}

/// A length of time in words, as Docker says it.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0 => "Less than a second".to_string(),
        1 => "1 second".to_string(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_string(),
        120..3600 => format!("{minutes} minutes"),
        3600..7200 => "About an hour".to_string(),
        7200..172_800 => format!("{hours} hours"),
        172_800..1_209_600 => format!("{} days", hours / 24),
        1_209_600..5_184_000 => format!("{} weeks", hours / 168),
        5_184_000..63_072_000 => format!("{} months", hours / 720),
        _ => format!("{} years", hours / 8760),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            (of(0), of(1), of(59)),
            ("Less than a second".into(), "1 second".into(), "59 seconds".into())
        );
        assert_eq!(
            (of(61), of(600), of(3700)),
            ("About a minute".into(), "10 minutes".into(), "About an hour".into())
        );
        assert_eq!(
            (of(90_000), of(200_000), of(2_000_000)),
            ("25 hours".into(), "2 days".into(), "3 weeks".into())
        );
        let exit = Exit { status: 3, finished: Moment(0), error: None, is_restarting: false };
        assert_eq!(Status::Exited(exit).sentence(Moment(5_000_000_000)), "Exited (3) 5 seconds ago");
    }
}
