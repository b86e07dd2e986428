//! Starting a container that stays when its command has ended, and bringing it to its end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use pillbox::{Container, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attach::{Attaching, Outcome, Until, Wants, attach};
use super::event::{Happening, note};
use super::monitor::{connect, start_monitor};
use super::options::Options;
use super::overlay::Overlay;
use super::own::{HANDOVER, Own, forget_state};
use super::record::{ContainerRecord, Exit, Progress, Stopping, forget_stopped, note_stopped};
use super::root::RootFolders;
use super::status::{Status, is_held, open, open_running, unless_ended};
use super::sweep::sweep_one;
use crate::error::{Error, Kind, Result};
use crate::store::{ContainerFolder, ContainerId, Sharing, Store};

/// How long a program has to end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// So long; it is ended then.
    Limited(Duration),
    /// As long as it takes.
    Endless,
}

/// How long nobody wonders what is waited for.
const QUIET: Duration = Duration::from_secs(2);

/// Where nobody says another.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts it and leaves it to its monitor.
///
/// # Errors
/// It could not be started; why is recorded with it.
pub fn start_detached(store: &Store, own: Own, warn: &mut dyn FnMut(&str)) -> Result<()> {
    begin_anew(store, &own)?;
    let stream = start_monitor(store, own)?;
    match attach(&stream, Wants::NOTHING, None, true, Until::Started, warn)? {
        Outcome::Running | Outcome::Ended(_) => Ok(()),
        Outcome::Detached | Outcome::Lost => Err(lost()),
    }
}

/// It was not stopped, has not been started again, and is not mounted any more.
fn begin_anew(store: &Store, own: &Own) -> Result<()> {
    forget_stopped(&own.folder)?;
    let progress = Progress::read(&own.folder)?;
    if progress.exit.is_some() {
        // The monitor would have nobody to tell what it waits for.
        Overlay::await_end(RootFolders::planned(store, own.folder.path(), &own.record.base).work())?;
    }
    match progress.restarts {
        0 => Ok(()),
        _ => Progress { restarts: 0, ..progress }.write(&own.folder),
    }
}

/// Starts it and stays attached until its end.
///
/// # Errors
/// It could not be started; its monitor was killed.
pub fn start_attached(
    store: &Store,
    own: Own,
    attaching: &Attaching,
    warn: &mut dyn FnMut(&str),
) -> Result<Outcome> {
    begin_anew(store, &own)?;
    let (wants, id) = (attaching.wants(&own.record.options), own.folder.id.clone());
    let stream = start_monitor(store, own)?;
    let pass_on = |signal| send(store, &id, signal);
    finish(attach(&stream, wants, attaching.signals.then_some(&pass_on), true, Until::Ended, warn)?)
}

/// Attaches to one that runs, until its end.
///
/// # Errors
/// It does not run.
pub fn attach_to(
    store: &Store,
    folder: &ContainerFolder,
    record: &ContainerRecord,
    attaching: &Attaching,
    warn: &mut dyn FnMut(&str),
) -> Result<Outcome> {
    let stream = connect(store, &folder.id)?.ok_or_else(|| not_running(store, folder, record))?;
    let wants = attaching.wants(&record.options);
    let pass_on = |signal| send(store, &folder.id, signal);
    finish(attach(&stream, wants, attaching.signals.then_some(&pass_on), false, Until::Ended, warn)?)
}

impl Attaching {
    /// Of a program with these options.
    fn wants(&self, options: &Options) -> Wants {
        let streams = options.streams;
        let Attaching { stdin, stdout, stderr, signals: _, keys } = self;
        Wants {
            stdout: *stdout,
            stderr: *stderr,
            input: (*stdin && streams.interactive).then(|| keys.clone()),
            ends_input: !options.keeps_stdin,
            terminal: streams.terminal,
        }
    }
}

/// One that has just ended gets none.
fn send(store: &Store, id: &ContainerId, signal: Signal) {
    if let Ok(Some(container)) = open(store, id) {
        let _ = container.kill(signal);
    }
}

fn finish(outcome: Outcome) -> Result<Outcome> {
    match outcome {
        Outcome::Lost => Err(lost()),
        outcome => Ok(outcome),
    }
}

fn lost() -> Error {
    Error::new(
        Kind::Host,
        "the container's monitor has been killed: box ps -a shows what became of the container",
    )
}

fn not_running(store: &Store, folder: &ContainerFolder, record: &ContainerRecord) -> Error {
    let status = Status::of(store, folder).map_or("gone", |status| status.name());
    Error::conflict(format!("container {}: it is not running, but {status}", record.name))
}

/// Waits until it has ended and everything is recorded; the result is its status.
///
/// # Errors
/// It was never started, or is gone.
pub fn wait(store: &Store, folder: &ContainerFolder) -> Result<u8> {
    let record = ContainerRecord::of(folder)?;
    let mut is_swept = false;
    loop {
        if let Some(stream) = connect(store, &folder.id)? {
            let ended = attach(&stream, Wants::NOTHING, None, false, Until::Ended, &mut |_| {});
            // Why it could not be started is recorded.
            if let Ok(Outcome::Ended(status)) = ended {
                return Ok(status);
            }
        }
        if let Some(Exit { status, .. }) = Progress::read(folder)?.exit {
            return Ok(status);
        }
        if !is_held(folder)? {
            if std::mem::replace(&mut is_swept, true) {
                return Err(not_running(store, folder, &record));
            }
            // Its monitor was killed meanwhile.
            sweep_one(store, folder)?;
            continue;
        }
        // Its monitor is about to listen, or about to end.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks a program to end, and ends it when the time is over. It is recorded when this returns. One that does not run is no error. If it
/// takes its time, `notice` is told for how long.
///
/// # Errors
/// The signal cannot be sent.
pub fn stop(
    store: &Store,
    folder: &ContainerFolder,
    patience: Option<Patience>,
    signal: Option<Signal>,
    notice: &mut dyn FnMut(&str),
) -> Result<()> {
    let record = ContainerRecord::of(folder)?;
    note_stopped(folder, record.options.restart, Stopping::Asked)?;
    let Some(container) = begun(store, folder)? else { return Ok(()) };
    let monitor = connect(store, &folder.id)?;
    let signal = match signal {
        Some(signal) => signal,
        None => stop_signal(&record)?,
    };
    let asked = record.options.stop_timeout.map_or(STOP_TIMEOUT, Duration::from_secs);
    if let Some(ended) = still(container.pidfd())? {
        // Before the end that it may bring.
        note(store, &record, &Happening::Kill(signal.as_raw()));
        still(container.kill(signal))?;
        // One that is stopped hears no signal.
        if container.status().is_ok_and(|status| status == pillbox::Status::Paused) {
            still(container.resume())?;
        }
        let mut late = |rest: &str| {
            let name = pillbox::signal::name(signal.as_raw().cast_unsigned());
            let why = match container.pid().is_ok_and(|pid| is_deaf(pid, signal)) {
                true => ", for which its program has no handler (--init begins one that has)",
                false => "",
            };
            notice(&format!("container {}: it has not ended yet on {name}{why}: {rest}", record.name));
        };
        if !ends(&ended, patience.unwrap_or(Patience::Limited(asked)), &mut late)? {
            note(store, &record, &Happening::Kill(Signal::KILL.as_raw()));
            still(container.kill_all(Signal::KILL))?;
        }
    }
    settle(folder, monitor)
}

/// Whether the kernel drops the signal, as it does for the first process of a pid namespace that has no handler and does not wait
/// for it.
fn is_deaf(pid: i32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let is_first = field("NSpid:").is_some_and(|pids| pids.split_whitespace().next_back() == Some("1"));
    let bit = 1 << (signal.as_raw() - 1);
    let has = |name: &str| {
        let mask = field(name).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_none_or(|mask| mask & bit != 0)
    };
    is_first && !has("SigCgt:") && !has("SigBlk:")
}

/// The runtime's container of one that runs, or is about to; `None` if it does not, and nobody has it in its hands any more.
fn begun(store: &Store, folder: &ContainerFolder) -> Result<Option<Container>> {
    let began = Instant::now();
    loop {
        match Status::of(store, folder)? {
            status if status.is_alive() => {
                if let Some(container) = open(store, &folder.id)? {
                    return Ok(Some(container));
                }
            }
            // One that is about to be started again stays as it is.
            Status::Restarting(_) => return settle(folder, connect(store, &folder.id)?).map(|()| None),
            _ => {}
        }
        match is_held(folder) {
            Ok(true) if began.elapsed() < HANDOVER => std::thread::sleep(Duration::from_millis(5)),
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => return Ok(None),
        }
    }
}

/// What was done to a container; `None` if it has just ended.
fn still<T>(done: pillbox::Result<T>) -> Result<Option<T>> {
    match done {
        Err(error) if matches!(error.kind(), pillbox::Kind::Status | pillbox::Kind::NotFound) => Ok(None),
        done => Ok(Some(done?)),
    }
}

/// Waits for the end of a process, and says what is left of the time if that is not soon; false if it takes too long.
fn ends(process: &OwnedFd, patience: Patience, late: &mut dyn FnMut(&str)) -> Result<bool> {
    let rest = match patience {
        Patience::Limited(time) if time <= QUIET => return has_ended(process, patience),
        Patience::Limited(time) => Patience::Limited(time.saturating_sub(QUIET)),
        Patience::Endless => Patience::Endless,
    };
    if has_ended(process, Patience::Limited(QUIET))? {
        return Ok(true);
    }
    match rest {
        Patience::Limited(time) => late(&format!("{} s until KILL", time.as_secs_f64().ceil())),
        Patience::Endless => late("it has as long as it takes"),
    }
    has_ended(process, rest)
}

/// The same without a word.
fn has_ended(process: &OwnedFd, patience: Patience) -> Result<bool> {
    let limit = match patience {
        Patience::Endless => None,
        Patience::Limited(time) => {
            Some(Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() })
        }
    };
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

fn stop_signal(record: &ContainerRecord) -> Result<Signal> {
    let name = record.options.stop_signal.as_deref().or(record.execution.stop_signal.as_deref());
    Ok(pillbox::signal::parse(name.unwrap_or("TERM"))?)
}

/// Waits until the monitor has recorded the end and has let go of the container.
fn settle(folder: &ContainerFolder, monitor: Option<UnixStream>) -> Result<()> {
    if let Some(stream) = monitor
        && attach(&stream, Wants::NOTHING, None, false, Until::Ended, &mut |_| {}).is_ok()
    {
        return Ok(());
    }
    match folder.lock(Sharing::Shared) {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        locked => locked.map(drop),
    }
}

/// Sends a signal to its program. One that ends programs is meant to end it.
///
/// # Errors
/// It does not run.
pub fn signal(store: &Store, folder: &ContainerFolder, signal: Signal) -> Result<()> {
    let container = open_running(store, folder)?;
    let record = ContainerRecord::of(folder)?;
    if signal == Signal::KILL || signal == stop_signal(&record)? {
        note_stopped(folder, record.options.restart, Stopping::Killed)?;
    }
    note(store, &record, &Happening::Kill(signal.as_raw()));
    unless_ended(store, folder, container.kill(signal))
}

/// Ends it at once. It is recorded when this returns.
///
/// # Errors
/// It could not be ended.
pub fn end(store: &Store, folder: &ContainerFolder) -> Result<()> {
    // One whose record is broken has no name to be told by.
    let mut record = ContainerRecord::read(folder).ok().flatten();
    let restart = record.as_ref().map(|record| record.options.restart).unwrap_or_default();
    note_stopped(folder, restart, Stopping::Killed)?;
    let monitor = connect(store, &folder.id)?;
    let began = Instant::now();
    // It may be about to begin.
    loop {
        let container = match open(store, &folder.id) {
            // The runtime finds what it has by its journal. Its monitor sees the end as that of any other.
            Err(error) if error.kind() == Kind::Corrupt => break forget_state(store, &folder.id)?,
            Ok(None) => break,
            Ok(Some(container)) => container,
            Err(error) => return Err(error),
        };
        if let Some(record) = record.take() {
            note(store, &record, &Happening::Kill(Signal::KILL.as_raw()));
        }
        match container.kill_all(Signal::KILL) {
            Ok(()) => break,
            Err(error) if began.elapsed() > STOP_TIMEOUT => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    settle(folder, monitor)
}
