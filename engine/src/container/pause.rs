//! A container whose processes are stopped while a command reads its files. They go on whatever becomes of the command: at its end, at a
//! signal that ends it, and if it is killed, by the next one.

use std::io::PipeReader;
use std::path::PathBuf;

use pillbox::container::ForwardedSignals;
use pillbox::{Container, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::status::{Status, open, unless_ended};
use crate::error::{Context, Kind, Result};
use crate::file;
use crate::store::{ContainerFolder, Lock, Sharing, Store};

/// As long as it is there and locked, a command has stopped the container's processes. If nobody holds the lock, that was killed.
const FILE: &str = "pausing";

/// Does something while the processes of a container are stopped. They go on meanwhile if they do not run, or are stopped already, and
/// where there is no cgroup to stop them by.
///
/// # Errors
/// `work` failed; the disk did not take the mark; there are no descriptors; the processes cannot go on.
pub fn while_paused<T>(
    store: &Store,
    folder: &ContainerFolder,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if !matches!(Status::of(store, folder)?, Status::Running { .. }) {
        return work();
    }
    // Of two commands at once one waits.
    let mark = Mark::make(folder)?;
    let container = match Status::of(store, folder)? {
        Status::Running { .. } => open(store, &folder.id)?,
        _ => None,
    };
    let Some(container) = container else { return work() };
    let (is_over, over) = std::io::pipe().context(|| "a pipe")?;
    let signals = ForwardedSignals::block()?;
    if container.pause().is_err() {
        return work();
    }
    let worked = std::thread::scope(|scope| {
        // Without a thread, the next command lets them go on.
        let watcher = || go_on_at_signal(&signals, &is_over, &container, &mark);
        let _ = std::thread::Builder::new().spawn_scoped(scope, watcher);
        let worked = work();
        drop(over);
        worked
    });
    // Somebody else may have let them go on, or have ended them.
    let is_others = || match container.status() {
        Ok(status) => status != pillbox::Status::Paused,
        Err(error) => error.kind() == pillbox::Kind::NotFound,
    };
    let resumed = match container.resume() {
        Err(_) if is_others() => Ok(()),
        resumed => unless_ended(store, folder, resumed),
    };
    let worked = worked?;
    resumed.map(|()| worked)
}

/// Lets the processes of a container go on that a command has stopped which was killed.
///
/// # Errors
/// The kernel refused.
pub fn go_on(store: &Store, folder: &ContainerFolder) -> Result<()> {
    let Some(_mark) = Mark::left(folder)? else { return Ok(()) };
    match open(store, &folder.id)? {
        Some(container) if container.status().is_ok_and(|status| status == pillbox::Status::Paused) => {
            unless_ended(store, folder, container.resume())
        }
        _ => Ok(()),
    }
}

/// Until the work is over: a signal that ends this process lets the container go on first.
fn go_on_at_signal(signals: &ForwardedSignals, is_over: &PipeReader, container: &Container, mark: &Mark) {
    loop {
        let mut polled = [
            PollFd::from_borrowed_fd(signals.descriptor(), PollFlags::IN),
            PollFd::new(is_over, PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Ok(_) if !polled[1].revents().is_empty() => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let mut last = None;
        let ends = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
        if signals.each(|signal| last = Some(signal).filter(|signal| ends.contains(signal)).or(last)).is_err()
        {
            return;
        }
        if let Some(signal) = last {
            if container.resume().is_ok() {
                mark.remove();
            }
            std::process::exit(128 + signal.as_raw());
        }
    }
}

/// The file, locked; removed when the value is dropped.
#[derive(Debug)]
struct Mark {
    path: PathBuf,
    _lock: Lock,
}

impl Mark {
    fn make(folder: &ContainerFolder) -> Result<Mark> {
        let path = folder.path().join(FILE);
        loop {
            file::make(&path).context(|| path.display().to_string())?;
            match Lock::at(&path, Sharing::Exclusive, &format!("container {}", folder.id.short())) {
                // Whoever had it before has removed it.
                Err(error) if error.kind() == Kind::NotFound => {}
                lock => return Ok(Mark { path, _lock: lock? }),
            }
        }
    }

    /// That of a command that was killed.
    fn left(folder: &ContainerFolder) -> Result<Option<Mark>> {
        let path = folder.path().join(FILE);
        match Lock::try_at(&path, Sharing::Exclusive) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            lock => Ok(lock?.map(|lock| Mark { path, _lock: lock })),
        }
    }

    fn remove(&self) {
        // What is left of it means that there is no more to be done.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.remove();
    }
}
