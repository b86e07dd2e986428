//! A container in the foreground: create, start and wait in one process.

use super::bundle::Bundle;
use super::create::{finish, prepare, set_up};
use super::exec::Starting;
use super::hooks::run_poststop;
use super::made::Created;
use super::options::{CreateOptions, ExecOptions};
use super::out_of_memory::explain_kill;
use super::scope;
use super::signals::ForwardedSignals;
use super::start::start_hooks;
use super::step::Left;
use super::supervise::{settle_terminal, supervise};
use super::undo::{OnRefusal, destroy, undo};
use crate::console;
use crate::container::hooks::{self, Place};
use crate::error::{Error, Kind, Result, Warning, WarningKind};
use crate::oci::ContainerId;
use crate::oci::Status;
use crate::spawn::{Patience, notify};
use crate::state::Root;

/// How a foreground container ended.
#[derive(Debug)]
pub struct Ended {
    /// The program's status, or 128 + the signal that ended it.
    pub status: u8,
}

/// Runs a container until its program ends, and passes signals on; with `keep` the stopped container is left.
/// Other commands may work on it meanwhile: one that deletes it ends the program, whose status is still the
/// result. If something cannot be cleaned up, that is a warning.
///
/// # Errors
/// As for [`super::create`]; the program could not be executed. Nothing is left then.
pub fn run(
    root: &Root,
    id: &ContainerId,
    bundle: &Bundle,
    options: &CreateOptions,
    keep: bool,
    warn: &mut dyn FnMut(Warning),
) -> Result<Ended> {
    let mut prepared = prepare(root, bundle, id, options, false)?;
    // From here on signals reach the container instead of ending the runtime, even while the container is
    // being made. Only if init stands still do they end the wait for it.
    let signals = ForwardedSignals::block()?;
    let mut created = set_up(root, id, bundle, &mut prepared, options, Patience::UntilSignal, warn)?;
    let spec = prepared.spec();
    created.plan.warnings.drain(..).for_each(&mut *warn);
    let Created { init, plan, record, cgroup, directory } = &mut created;
    let hooks = &spec.hooks;
    let listening =
        options.line.notify.as_ref().map_or(Ok(None), |to| notify::listen(directory.folder(), to));
    let ended = listening
        .map(|proxy| init.notify = proxy)
        .and_then(|()| start_hooks(spec, init, record, cgroup.as_ref()))
        .and_then(|()| settle_terminal(init, &options.line))
        .and_then(|()| finish(init, record, &options.line))
        .and_then(|()| {
            let mut started = || {
                // From here on, hooks may run commands for this container.
                directory.unlock()?;
                let place = Place::outside("poststart", Status::Running, record.pid);
                hooks::run(&hooks.poststart, record, &place)
            };
            supervise(init, plan, &signals, warn, &mut started)
        })
        .map_err(|error| explain_kill(error, cgroup.as_ref()));
    // No program may run after a `run` that fails, even if another command is busy with the container.
    let gone = if ended.is_err() { created.end() } else { Ok(()) };
    let record = created.record.clone();
    let keep = keep && ended.is_ok();
    let cleaned = match created.directory.lock_patiently() {
        // Somebody else has deleted it, and run its hooks.
        Err(error) if error.kind() == Kind::NotFound => {
            return ended.map(|status| Ended { status }).map_err(|error| error.besides(gone));
        }
        Err(error) => gone.and(Err(error)),
        Ok(()) if ended.is_ok() => clean_up(created, keep, warn),
        Ok(()) => created.undo(warn),
    };
    if !keep {
        run_poststop(hooks, &record, warn);
    }
    match ended {
        Ok(status) => {
            let said = |error: Error| {
                let text = format_args!("clean up container {id}: {error}");
                warn(Warning::new(WarningKind::LeftBehind, text));
            };
            cleaned.unwrap_or_else(said);
            Ok(Ended { status })
        }
        Err(error) => Err(error.besides(cleaned)),
    }
}

/// Runs a process in a container until it ends, as [`run`] does; the result is its status.
///
/// # Errors
/// As for [`super::exec`].
pub fn exec_in_foreground(
    root: &Root,
    id: &ContainerId,
    options: &ExecOptions,
    warn: &mut dyn FnMut(Warning),
) -> Result<u8> {
    let mut blocked = None;
    let mut block = || {
        blocked = Some(ForwardedSignals::block()?);
        Ok(Patience::UntilSignal)
    };
    let mut starting = Starting::begin(root, id, options, warn, &mut block)?;
    let signals = blocked.map_or_else(ForwardedSignals::block, Ok)?;
    let line = &options.line;
    let ended = starting.hand_over(line).and_then(|()| {
        // If the user has no terminal, it keeps its size.
        starting.init.console.as_ref().map(console::copy_size);
        starting.release()?;
        starting.write_pid(line)?;
        supervise(&mut starting.init, &starting.plan, &signals, warn, &mut || Ok(()))
    });
    ended.map_err(|error| starting.end(error))
}

/// Removes processes that have outlived the program (possible without a pid namespace), the cgroup, and the
/// state.
fn clean_up(created: Created, keep: bool, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    let Created { directory, cgroup, record, .. } = created;
    if keep {
        return match directory.open_left_cgroup(&record)? {
            Some(cgroup) if cgroup.is_populated()? => cgroup.kill(),
            _ => Ok(()),
        };
    }
    if scope::remove_if_empty(cgroup.as_ref(), record.systemd_unit.as_deref())? {
        undo(&directory, Left::Ended { cgroup: None, unit: None }, OnRefusal::GoOn, warn)
    } else {
        destroy(&directory, &record, OnRefusal::GoOn, warn)
    }
}
