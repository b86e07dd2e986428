//! Deleting a container, whatever state it was left in.

use std::os::fd::OwnedFd;

use rustix::process::Signal;

use super::scope;
use super::start::stored_spec;
use crate::cgroup::{Cgroup, Hierarchy};
use crate::container_id::ContainerId;
use crate::error::{Error, Kind, Result};
use crate::hooks::{self, Place};
use crate::process_end::{PATIENCE_MS, wait_until_gone};
use crate::regex::Regex;
use crate::spec::Hooks;
use crate::state::{Record, Root, StateDirectory, Status, send_signal};

/// Removes a container that has stopped or was never started; with `force` any, and none is no error.
///
/// # Errors
/// It runs; it could not be killed within ten seconds (its state is kept then).
pub fn delete(root: &Root, id: &ContainerId, force: bool, warn: &mut dyn FnMut(&str)) -> Result<()> {
    let directory = match root.find(id) {
        Err(_) if force && !root.path().join(id.as_str()).exists() => return Ok(()),
        directory => directory?,
    };
    match directory.lock_patiently() {
        // Somebody else deleted it while this one waited.
        Err(_) if force && !root.path().join(id.as_str()).exists() => return Ok(()),
        locked => locked?,
    }
    let record = match directory.load() {
        Ok(record) => record,
        Err(error) if !force => return Err(error),
        // What `create` leaves when it is killed: init dies with it, the cgroup's name stands beside.
        Err(_) => {
            // Whoever is still in it then is no container's: a cgroup that `create` was about to refuse.
            if let Some((cgroup, of_unit)) = noted_cgroup(&directory)? {
                // It waits for init's end. Then nobody of another's unit can be in there either.
                let removed = cgroup.remove();
                let unit = of_unit.then(|| cgroup.path().name());
                if let Err(error) = removed.and_then(|()| scope::remove(None, unit)) {
                    warn(&error.to_string());
                }
            }
            return directory.remove();
        }
    };
    if !force {
        check_deletable(&directory, &record)?;
    }
    if !record.hooks {
        return destroy(&directory, &record);
    }
    let document = directory.read_document()?;
    destroy(&directory, &record)?;
    match stored_spec(&document) {
        Ok(spec) => run_poststop(&spec.hooks, &record, warn),
        Err(error) => warn(&error.to_string()),
    }
    Ok(())
}

/// Ends what is left of a container and forgets it.
pub(super) fn destroy(directory: &StateDirectory, record: &Record) -> Result<()> {
    let (process, cgroup) = (record.open_process()?, record.open_cgroup()?);
    let unit = record.systemd_unit.as_deref();
    let gone = process.is_none() && scope::remove_if_empty(cgroup.as_ref(), unit)?;
    if !gone {
        kill_processes(directory.id(), record, process, cgroup.as_ref())?;
        scope::remove(cgroup.as_ref(), unit)?;
    }
    directory.remove()
}

/// [`delete`]s every container whose id matches `pattern`, a POSIX extended regular expression that need not match all
/// of it.
///
/// # Errors
/// Not such an expression; the first container that could not be removed, when all the others are.
pub fn delete_matching(root: &Root, pattern: &str, force: bool, warn: &mut dyn FnMut(&str)) -> Result<()> {
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

/// The container is gone whatever these hooks do: their failures are warnings.
pub(super) fn run_poststop(hooks: &Hooks<'_>, record: &Record, warn: &mut dyn FnMut(&str)) {
    // One that fails must not keep the next from running.
    let mut failed = |error: Error| {
        warn(&error.to_string());
        Ok(())
    };
    let place = Place::outside("poststop", Status::Stopped, 0);
    let _ = hooks::run_each(&hooks.poststop, record, &place, &mut failed);
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

fn kill_processes(
    id: &ContainerId,
    record: &Record,
    process: Option<OwnedFd>,
    cgroup: Option<&Cgroup>,
) -> Result<()> {
    cgroup.map_or(Ok(()), Cgroup::kill)?;
    let Some(process) = process else { return Ok(()) };
    match send_signal(&process, Signal::KILL) {
        // Dead by the cgroup's kill already.
        Ok(()) | Err(_) if wait_until_gone(&process, PATIENCE_MS)? => Ok(()),
        _ => Err(Error::formatted(format_args!(
            "container {id}: process {} does not die: its state is kept, try again later",
            record.pid
        ))),
    }
}

fn noted_cgroup(directory: &StateDirectory) -> Result<Option<(Cgroup, bool)>> {
    match (directory.noted_cgroup(), Hierarchy::find()?) {
        (Some((path, of_unit)), Some(hierarchy)) => {
            Ok(Cgroup::open(&hierarchy, &path)?.map(|cgroup| (cgroup, of_unit)))
        }
        _ => Ok(None),
    }
}
