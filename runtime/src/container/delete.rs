//! Deleting a container, whatever its state.

use std::time::Duration;

use super::bundle::stored_spec;
use super::hooks::run_poststop;
use super::step::Left;
use super::undo::{OnRefusal, destroy, kill_processes, undo};
use crate::error::{Error, Kind, Result, Warning, WarningKind};
use crate::oci::ContainerId;
use crate::oci::Status;
use crate::state::{Entry, NotedCgroup, Record, Recorded, Root, StateDirectory, unfinished};
use crate::text::regex::Regex;

/// Removes a container that has stopped or was never started. With `force` it removes any container, and a
/// missing one is no error.
///
/// # Errors
/// It runs; or it could not be killed within ten seconds, or its record cannot be read (its state is kept
/// then).
pub fn delete(root: &Root, id: &ContainerId, force: bool, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    let directory = match claim(root, id, force) {
        // There is none, or another command deleted it while this one waited.
        Err(error) if force && error.kind() == Kind::NotFound => return Ok(()),
        directory => directory?,
    };
    let (record, document) = match directory.recorded()? {
        Recorded::Whole(record, document) => (record, document),
        Recorded::Damaged(error) if !force => return Err(error),
        Recorded::Damaged(error) => return remove_damaged(&directory, error, warn),
        Recorded::Unfinished(_) if !force => return Err(unfinished(id)),
        Recorded::Unfinished(None) => return undo(&directory, Left::Unfinished, OnRefusal::GoOn, warn),
        Recorded::Unfinished(Some(intended)) => intended,
    };
    if !force {
        check_deletable(&directory, &record)?;
    }
    let on_refusal = if force { OnRefusal::GoOn } else { OnRefusal::Stop };
    destroy(&directory, &record, on_refusal, warn)?;
    if record.hooks {
        match stored_spec(&document) {
            Ok(spec) => run_poststop(&spec.hooks, &record, warn),
            Err(error) => {
                warn(Warning::new(WarningKind::Hook, format_args!("hooks.poststop: not run: {error}")));
            }
        }
    }
    Ok(())
}

/// Finds and locks it. The command that holds the lock may be waiting for the container itself, or for a hook
/// in it: with `force` these are killed first.
fn claim(root: &Root, id: &ContainerId, force: bool) -> Result<StateDirectory> {
    let directory = root.find(id)?;
    if force {
        match directory.lock(Duration::ZERO) {
            Err(error) if error.kind() == Kind::Busy => {}
            locked => return locked.map(|()| directory),
        }
        if let Recorded::Whole(record, _) = directory.recorded()? {
            let process = record.open_process()?;
            // The first process may have ended, and the other command may be waiting for another one, in a
            // frozen cgroup.
            let cgroup =
                if process.is_some() { record.open_cgroup() } else { directory.open_left_cgroup(&record) };
            kill_processes(id, &record, process, cgroup?.as_ref())?;
        }
    }
    directory.lock_patiently()?;
    Ok(directory)
}

/// Removes a container of whose processes only what is noted is known: the cgroup, or where there is none, init.
fn remove_damaged(directory: &StateDirectory, error: Error, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    if directory.noted_cgroup()? == NotedCgroup::Without && directory.noted(Entry::Process)?.is_none() {
        return Err(Error::formatted(format_args!(
            "{error}: which process is the container's is not known, nor has it a cgroup that could tell: \
             end it, then remove the folder"
        )));
    }
    undo(directory, Left::Unknown, OnRefusal::GoOn, warn)?;
    let text = format_args!("hooks.poststop: not run, if there were any: {error}");
    warn(Warning::new(WarningKind::Hook, text));
    Ok(())
}

/// [`delete`]s every container whose id matches `pattern`, a POSIX extended regular expression that need not
/// match all of it.
///
/// # Errors
/// The pattern is not such an expression, or a container could not be removed: the first error, after all
/// others have been.
pub fn delete_matching(root: &Root, pattern: &str, force: bool, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    let mut first_error = Ok(());
    for id in matching(root, pattern)? {
        first_error = first_error.and(delete(root, &id, force, warn));
    }
    first_error
}

/// The ids that match a POSIX extended regular expression.
pub(super) fn matching(root: &Root, pattern: &str) -> Result<Vec<ContainerId>> {
    let regex = Regex::new(pattern).ok_or_else(|| {
        Error::formatted(format_args!("--regex {pattern:?}: not an extended regular expression"))
    })?;
    let mut ids = root.ids()?;
    ids.retain(|id| regex.is_match(id));
    Ok(ids)
}

fn check_deletable(directory: &StateDirectory, record: &Record) -> Result<()> {
    match directory.status(record)? {
        Status::Stopped | Status::Created => Ok(()),
        status => {
            let (id, status) = (&record.id, status.as_str());
            let text = format!("cannot delete container {id}: it is {status}: stop it first, or use --force");
            Err(Error::of(Kind::Status, text))
        }
    }
}
