//! How a container is at this moment.

use std::time::{Duration, Instant};

use pillbox::{Container, Root};
use rustix::io::Errno;

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

/// How long whoever sees a program's end may take to record it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest between the loss of a process's namespaces and its end.
const ENDING: Duration = Duration::from_millis(200);

/// What one look at records and kernel brings.
enum Look {
    /// It is so.
    At(Status),
    /// It was started, and the runtime knows nothing of it: it is not made yet, or is gone.
    Nothing,
    /// Its program has ended, and how is not recorded.
    Ended,
}

impl Look {
    /// What a recorded end means.
    fn ended(exit: Exit) -> Look {
        Look::At(if exit.is_restarting { Status::Restarting(exit) } else { Status::Exited(exit) })
    }

    /// What it means of one that nobody has in its hands.
    fn status(self) -> Status {
        match self {
            Look::At(Status::Restarting(exit)) => Status::Exited(exit),
            Look::At(status) => status,
            Look::Nothing | Look::Ended => Status::Lost,
        }
    }
}

impl Status {
    /// Docker's words for all of them. It has one more, `removing`, which nothing here ever is: what is removed is gone at once.
    pub const NAMES: [&str; 7] = ["created", "running", "paused", "exited", "restarting", "dead", "removing"];

    /// Asks the records and the kernel. Whoever has it in its hands may be about to record its end: that is waited for.
    ///
    /// # Errors
    /// A record cannot be read; [`Kind::NotFound`](crate::Kind::NotFound) if it is gone.
    pub fn of(store: &Store, folder: &ContainerFolder) -> Result<Status> {
        Status::from(store, folder, Progress::read(folder)?)
    }

    /// The same, where it has just been read how far it had come.
    ///
    /// # Errors
    /// As for [`Status::of`].
    pub fn from(store: &Store, folder: &ContainerFolder, progress: Progress) -> Result<Status> {
        let began = Instant::now();
        let mut look = Status::look_at(store, folder, progress)?;
        loop {
            match look {
                Look::At(Status::Restarting(_)) | Look::Nothing | Look::Ended => {}
                Look::At(status) => return Ok(status),
            }
            // Before another look: what is recorded before it is let go of is seen then.
            let is_held = is_held(folder)?;
            look = Status::look(store, folder)?;
            match look {
                // Its monitor is about to make it.
                Look::Nothing if is_held => return Ok(Status::Created),
                Look::Ended if is_held && began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Look::At(status @ Status::Restarting(_)) if is_held => return Ok(status),
                look => return Ok(look.status()),
            }
        }
    }

    /// The same of one that the caller has in its hands.
    ///
    /// # Errors
    /// As for [`Status::of`].
    pub fn of_own(store: &Store, folder: &ContainerFolder) -> Result<Status> {
        Status::look(store, folder).map(Look::status)
    }

    fn look(store: &Store, folder: &ContainerFolder) -> Result<Look> {
        Status::look_at(store, folder, Progress::read(folder)?)
    }

    fn look_at(store: &Store, folder: &ContainerFolder, progress: Progress) -> Result<Look> {
        if let Some(exit) = progress.exit {
            return Ok(Look::ended(exit));
        }
        let Some(since) = progress.started else { return Ok(Look::At(Status::Created)) };
        let id = pillbox::ContainerId::new(folder.id.as_str())?;
        let mut head = Vec::new();
        // Status and pid are of one moment.
        let found = Root::at(&store.place().runtime)
            .find(&id)
            .and_then(|state| state.look(&mut head).map(|(record, status)| (status, record.pid)));
        Ok(match found {
            Ok((pillbox::Status::Paused, pid)) => Look::At(Status::Paused { since, pid }),
            Ok((pillbox::Status::Running | pillbox::Status::Created, pid)) => {
                Look::At(Status::Running { since, pid })
            }
            // Its end is recorded before the runtime forgets it: both may have happened since its progress was read.
            Err(error) if error.kind() == pillbox::Kind::NotFound => {
                Progress::read(folder)?.exit.map_or(Look::Nothing, Look::ended)
            }
            Err(error) if is_damaged(&error) => return Err(damaged(&folder.id, &error)),
            // It may just be going.
            Ok(_) | Err(_) => Look::Ended,
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
/// The runtime's record is broken ([`Kind::Corrupt`](crate::Kind::Corrupt)).
pub fn open(store: &Store, id: &ContainerId) -> Result<Option<Container>> {
    match Container::open(&Root::at(&store.place().runtime), id.as_str()) {
        Ok(container) => Ok(Some(container)),
        Err(error) if error.kind() == pillbox::Kind::NotFound => Ok(None),
        Err(error) if is_damaged(&error) => Err(damaged(id, &error)),
        Err(error) => Err(error.into()),
    }
}

/// Whether what the runtime has recorded is not as it was written, or something else is in its place, so that another look finds
/// nothing else.
fn is_damaged(error: &pillbox::Error) -> bool {
    error.kind() == pillbox::Kind::Invalid || is_other(error)
}

/// A folder, a link or a socket in the place of the file, which may still be somewhere.
fn is_other(error: &pillbox::Error) -> bool {
    [Errno::ISDIR, Errno::LOOP, Errno::NXIO].map(Errno::raw_os_error).map(Some).contains(&error.os_error())
}

/// Whether it runs is not known then, and it goes by force alone.
fn damaged(id: &ContainerId, error: &pillbox::Error) -> Error {
    Error::corrupt(match is_other(error) {
        true => format!("{error}: it must be the file that the runtime has written: put that back"),
        false => format!("{error}: box rm --force {} ends what runs in it, and removes it", id.short()),
    })
}

/// The runtime's container of one that runs.
///
/// # Errors
/// It does not run.
pub fn open_running(store: &Store, folder: &ContainerFolder) -> Result<Container> {
    let record = ContainerRecord::of(folder)?;
    loop {
        let status = Status::of(store, folder)?;
        if !status.is_alive() {
            let (name, status) = (record.name, status.name());
            return Err(Error::conflict(format!("container {name}: it is not running, but {status}")));
        }
        // Otherwise it has ended since: another look tells how.
        if let Some(container) = open(store, &folder.id)? {
            return Ok(container);
        }
    }
}

/// What the runtime says of one that may just have ended: then in the words for that.
pub fn unless_ended<T>(store: &Store, folder: &ContainerFolder, done: pillbox::Result<T>) -> Result<T> {
    use pillbox::Kind::{NotFound, Status};
    let error = match done {
        Err(error) if matches!(error.kind(), NotFound | Status) => error,
        done => return Ok(done?),
    };
    // A process that is about to end has no namespaces any more, and has not ended yet.
    let began = Instant::now();
    while began.elapsed() < ENDING {
        open_running(store, folder)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(error.into())
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
        let exit = Exit {
            status: 3,
            finished: Moment(0),
            error: None,
            is_restarting: false,
            is_out_of_memory: false,
        };
        assert_eq!(Status::Exited(exit).sentence(Moment(5_000_000_000)), "Exited (3) 5 seconds ago");
    }
}
