//! Waiting for a container's end on behalf of somebody who may go away meanwhile.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::monitor::{Decoder, Failure, Hello, Kind, VERSION, Waiting, connect, decode_value, encode_value};
use super::record::{ContainerRecord, Progress};
use super::status::Status;
use super::sweep::sweep;
use crate::error::{Context, Result};
use crate::store::{ContainerFolder, Store};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// That it does not run, which may be so already.
    NotRunning,
    /// The next end of its program, even if that is only started later.
    NextExit,
    /// That it is gone.
    Removed,
}

/// How often it is looked whether a container is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Waits for a condition; `None` if whoever waits has gone. `begun` is called as soon as nothing can be missed any more.
///
/// # Errors
/// A record cannot be read; `begun` failed.
pub fn await_condition(
    store: &Store,
    folder: &ContainerFolder,
    condition: Condition,
    waiter: BorrowedFd<'_>,
    begun: &mut dyn FnMut() -> Result<()>,
) -> Result<Option<u8>> {
    let hello = Hello { version: VERSION, output: false, input: false };
    let waiting = Waiting::begin(store, &folder.id, hello)?;
    let mut stream = connect(store, &folder.id)?;
    begun()?;
    let started = Progress::read(folder)?.started;
    let mut last = 0;
    loop {
        let is_there = ContainerRecord::is_there(folder);
        if !is_there {
            return Ok(Some(last));
        }
        if stream.is_none() && condition == Condition::NotRunning && !is_busy(store, folder)? {
            return recorded(folder).map(Some);
        }
        let Some(monitor) = stream.take() else {
            match wait_for_either(waiting.listener().as_fd(), waiter, Some(LOOK))? {
                Waited::Ready => stream = Some(waiting.accept()?),
                Waited::Gone => return Ok(None),
                Waited::Nothing => stream = connect(store, &folder.id)?,
            }
            continue;
        };
        match listen(&monitor, waiter, condition)? {
            Heard::Gone => return Ok(None),
            Heard::End(status) if condition == Condition::Removed => last = status,
            Heard::End(status) => return Ok(Some(status)),
            Heard::Lost => {
                // Its monitor was killed: what became of it is recorded now, or there is another one.
                sweep(store, &mut |_| {})?;
                let progress = Progress::read(folder)?;
                if condition == Condition::NextExit && progress.exit.is_some() && progress.started != started
                {
                    return recorded(folder).map(Some);
                }
            }
        }
    }
}

fn is_busy(store: &Store, folder: &ContainerFolder) -> Result<bool> {
    let status = Status::of(store, folder)?;
    Ok(status.is_alive() || matches!(status, Status::Restarting(_)))
}

/// Of one that was never started: 0.
fn recorded(folder: &ContainerFolder) -> Result<u8> {
    Ok(Progress::read(folder)?.exit.map_or(0, |exit| exit.status))
}

enum Heard {
    /// It has ended with this status, or could not be started.
    End(u8),
    /// The monitor is gone without a word.
    Lost,
    /// Whoever waits is gone.
    Gone,
}

fn listen(mut monitor: &UnixStream, waiter: BorrowedFd<'_>, condition: Condition) -> Result<Heard> {
    let hello = Hello { version: VERSION, output: false, input: false };
    // One that is just going takes nothing more.
    let _ = std::io::Write::write_all(&mut monitor, &encode_value(Kind::Hello, &hello));
    let mut decoder = Decoder::default();
    loop {
        if let Waited::Gone = wait_for_either(monitor.as_fd(), waiter, None)? {
            return Ok(Heard::Gone);
        }
        let mut buffer = [0; 4096];
        match monitor.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(Heard::Lost),
            Ok(length) => decoder.add(&buffer[..length]),
        }
        while let Some((kind, payload)) = decoder.next_frame()? {
            let status = payload.first().copied().unwrap_or(0);
            match kind {
                Kind::Exited if condition == Condition::NextExit => {
                    return Ok(Heard::End(status));
                }
                Kind::Ended => return Ok(Heard::End(status)),
                Kind::Failed => return Ok(Heard::End(decode_value::<Failure>(&payload)?.status)),
                _ => {}
            }
        }
    }
}

/// What has come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There is something to read, or somebody to be let in.
    Ready,
    /// The time is over.
    Nothing,
    /// Whoever waits has closed his end.
    Gone,
}

/// Waits for something on behalf of somebody who may go away.
///
/// # Errors
/// The kernel refuses to wait.
pub fn wait_for_either(on: BorrowedFd<'_>, waiter: BorrowedFd<'_>, most: Option<Duration>) -> Result<Waited> {
    let limit = most
        .map(|time| Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() });
    loop {
        // That the other end is closed is always told.
        let mut polled = [
            PollFd::from_borrowed_fd(on, PollFlags::IN),
            PollFd::from_borrowed_fd(waiter, PollFlags::empty()),
        ];
        match poll(&mut polled, limit.as_ref()) {
            Ok(0) => return Ok(Waited::Nothing),
            Ok(_) if !polled[1].revents().is_empty() => return Ok(Waited::Gone),
            Ok(_) => return Ok(Waited::Ready),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the container"),
        }
    }
}
