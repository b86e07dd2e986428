//! The monitor's life: the container is made, started, served until its end; the end is recorded, and it is started again if that is
//! wanted.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pillbox::Signal;

use super::protocol::{Failure, Kind, encode, encode_value, encode_warning};
use super::served::{Served, find, make};
use super::watch::Watch;
use super::{Beginning, Monitored, socket_path, waiting};
use crate::container::event::{Happening, note_end, note_start};
use crate::container::log::Log;
use crate::container::loss::{UNKNOWN, record_loss};
use crate::container::neighbours::announce;
use crate::container::options::Restart;
use crate::container::own::forget_state;
use crate::container::record::{ContainerRecord, Exit, Progress, is_stopped};
use crate::container::rootless::Rootless;
use crate::error::{Context, Error, Result};
use crate::store::Leftover;
use crate::time::Moment;

/// How long the first new start is waited for; the next ones twice as long each, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Who has run so long has begun well.
const LONG: Duration = Duration::from_secs(10);

/// Everything, from the beginning to the end.
pub fn live(mut monitored: Monitored, beginning: Beginning, first: UnixStream) -> Result<()> {
    let lived = lead(&mut monitored, beginning, first);
    // Last, for nobody waits for it.
    let deleted = monitored.leftover.take().map_or(Ok(()), Leftover::delete);
    lived.and(deleted)
}

fn lead(monitored: &mut Monitored, beginning: Beginning, first: UnixStream) -> Result<()> {
    let (folder, mut watch) = match begin(monitored) {
        Ok((folder, listener, log)) => (folder, Watch::new(first, listener, log)?),
        Err(error) => {
            let tell = |frame: &[u8]| (&first).write_all(frame).context(|| "monitor");
            return refuse(monitored, &error, tell);
        }
    };
    let lived = supervise(monitored, beginning, &folder, &mut watch);
    let overlay = monitored.overlay.take();
    match lived {
        Ok(Some(exit)) => {
            let given_up = monitored.give_up();
            let told = watch.take_leave(&encode(Kind::Ended, &[exit.status]), overlay);
            given_up.and(told)
        }
        // Whoever was to start it has gone.
        Ok(None) => monitored.give_up(),
        Err(error) => refuse(monitored, &error, |frame| watch.take_leave(frame, overlay)),
    }
}

/// One run after the other, until the last one's end; `None` if nobody started it.
fn supervise(
    monitored: &mut Monitored,
    beginning: Beginning,
    folder: &Path,
    watch: &mut Watch,
) -> Result<Option<Exit>> {
    let (mut beginning, mut pause) = (beginning, PAUSE);
    loop {
        let began = Instant::now();
        let Some(exit) = run(monitored, beginning, folder, watch)? else { return Ok(None) };
        watch.say_exited(exit.status);
        if began.elapsed() >= LONG {
            pause = PAUSE;
        }
        let restarts = Progress::read(&monitored.folder)?.restarts;
        let is_wanted = || restart(monitored).wants(exit.status, restarts) && !is_stopped(&monitored.folder);
        if is_wanted() {
            let due = Instant::now() + pause;
            while is_wanted() && Instant::now() < due {
                watch.rest(due.saturating_duration_since(Instant::now()));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if !is_wanted() {
            let settled = Exit { is_restarting: false, ..exit };
            let progress = Progress::read(&monitored.folder)?;
            Progress { exit: Some(settled.clone()), ..progress }.write(&monitored.folder)?;
            return Ok(Some(settled));
        }
        beginning = Beginning::Again;
        monitored.overlay = None;
        watch.is_started = false;
    }
}

/// What it needs itself, before there is a container.
fn begin(monitored: &Monitored) -> Result<(PathBuf, UnixListener, Log)> {
    let folder = monitored.make_runtime_folder()?;
    let listener = listen(&folder)?;
    let log = Log::open(monitored.folder.path(), &monitored.record)?;
    Ok((folder, listener, log))
}

/// One run of the program; `None` if nobody started it.
fn run(
    monitored: &mut Monitored,
    beginning: Beginning,
    folder: &Path,
    watch: &mut Watch,
) -> Result<Option<Exit>> {
    // Whoever was there before this monitor hears of everything, also that the program cannot be started.
    watch.admit(waiting::gather(&monitored.store, &monitored.folder.id));
    let mut served = match beginning {
        Beginning::Make | Beginning::Again => {
            let _networks = monitored.folder.lock_networks()?;
            // Limits and networks may be others by now.
            monitored.record = ContainerRecord::of(&monitored.folder)?;
            make(monitored, folder)?
        }
        Beginning::Adopt => match find(monitored, folder) {
            Ok(served) => served,
            // It has ended since its monitor was killed.
            Err(error) => {
                let Monitored { store, folder, record, .. } = &*monitored;
                return record_loss(store, folder, record, &error.to_string()).map(Some);
            }
        },
    };
    let went = begin_program(monitored, beginning, &mut served, watch)
        .and_then(|()| watch.serve(&mut served, monitored))
        .and_then(|()| watch.failure.take().map_or(Ok(()), Err));
    watch.finish_log();
    let ended = match went {
        Ok(()) if watch.is_started => record_end(monitored, served.status()).map(Some),
        Ok(()) => Ok(None),
        Err(error) if watch.is_started => {
            // What cannot be watched does not run on.
            let _ = served.container.kill_all(Signal::KILL);
            record_end(monitored, Err(error.context("its monitor could not go on"))).map(Some)
        }
        Err(error) => Err(error),
    };
    (monitored.overlay, served.naming) = (served.overlay.take(), None);
    // What cannot be deleted now is deleted by the next command.
    let deleted = served.container.delete(true);
    announce(&monitored.store, &monitored.record.options.network);
    let rootless = Rootless::of(&monitored.store);
    let closed =
        rootless.map_or(Ok(()), |rootless| rootless.await_closed_ports(monitored.folder.id.as_str()));
    let ended = ended?;
    deleted?;
    closed?;
    Ok(ended)
}

/// What comes before its program runs, and its start where nobody else is to say so.
fn begin_program(
    monitored: &Monitored,
    beginning: Beginning,
    served: &mut Served,
    watch: &mut Watch,
) -> Result<()> {
    // The program may look for others at once.
    announce(&monitored.store, &monitored.record.options.network);
    if !monitored.record.options.network.names().is_empty()
        && let Err(error) = served.begin_naming(monitored)
    {
        watch.say_to_all(&encode_warning(&error.to_string()));
    }
    for warning in served.container.warnings() {
        watch.say_to_all(&encode_warning(&warning.to_string()));
    }
    match beginning {
        Beginning::Make => watch.say_to_all(&encode(Kind::Created, b"")),
        Beginning::Again => {
            let progress = Progress::read(&monitored.folder)?;
            served.container.start()?;
            watch.is_started = true;
            let (started, restarts) = (Some(Moment::now()), progress.restarts + 1);
            Progress { started, exit: None, restarts, ..progress }.write(&monitored.folder)?;
            note_start(&monitored.store, &monitored.record);
        }
        Beginning::Adopt => {
            watch.is_started = true;
            // The command that started this monitor, which waits for that.
            drop(watch.clients.remove(0));
        }
    }
    Ok(())
}

/// As it is recorded: it can be changed while the program runs.
fn restart(monitored: &Monitored) -> Restart {
    let record = ContainerRecord::read(&monitored.folder).ok().flatten();
    record.map_or(monitored.record.options.restart, |record| record.options.restart)
}

/// Records its status, or why that is not known.
fn record_end(monitored: &Monitored, ended: Result<u8>) -> Result<Exit> {
    let (status, error) = match ended {
        Ok(status) => (status, None),
        Err(error) => (UNKNOWN, Some(error.to_string())),
    };
    let progress = Progress::read(&monitored.folder)?;
    let is_restarting = restart(monitored).wants(status, progress.restarts) && !is_stopped(&monitored.folder);
    let is_out_of_memory = has_run_out_of_memory(monitored);
    let exit = Exit { status, finished: Moment::now(), error, is_restarting, is_out_of_memory };
    let seconds = exit.seconds_since(progress.started);
    Progress { exit: Some(exit.clone()), ..progress }.write(&monitored.folder)?;
    let endings = [Happening::OutOfMemory, Happening::Die(status, seconds)];
    let endings = if is_out_of_memory { &endings[..] } else { &endings[1..] };
    note_end(&monitored.store, &monitored.folder, &monitored.record, endings);
    Ok(exit)
}

/// Where that is not counted, nobody knows.
fn has_run_out_of_memory(monitored: &Monitored) -> bool {
    let root = pillbox::Root::at(&monitored.store.place().runtime);
    let kills = pillbox::ContainerId::new(monitored.folder.id.as_str())
        .and_then(|id| pillbox::container::out_of_memory_kills(&root, &id));
    kills.is_ok_and(|kills| kills.unwrap_or(0) > 0)
}

/// Nothing runs on that nobody watches: ends what there is, records why, and tells whoever is there. If it cannot be ended, the next
/// command finds it as that of a monitor that was killed.
fn refuse(monitored: &mut Monitored, error: &Error, tell: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
    let (text, status) = (error.to_string(), error.status());
    let is_out_of_memory = has_run_out_of_memory(monitored);
    let ended = forget_state(&monitored.store, &monitored.folder.id);
    let put_away = ended.and_then(|()| {
        let (finished, is_restarting) = (Moment::now(), false);
        let exit = Exit { status, finished, error: Some(text.clone()), is_restarting, is_out_of_memory };
        let recorded = Progress::read(&monitored.folder).and_then(|progress| {
            Progress { started: Some(finished), exit: Some(exit), ..progress }.write(&monitored.folder)
        });
        recorded.and(monitored.give_up())
    });
    let told = tell(&encode_value(Kind::Failed, &Failure::of(error)));
    put_away.and(told)
}

fn listen(folder: &Path) -> Result<UnixListener> {
    let path = socket_path(folder);
    // Of a monitor that was killed.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).context(|| path.display().to_string())?;
    listener.set_nonblocking(true).context(|| path.display().to_string())?;
    Ok(listener)
}
