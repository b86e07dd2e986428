//! Undoes what outlives a runtime, by reading the journal in the state folder backwards: for a `create` that
//! fails, for `delete`, and for `delete --force` after a runtime was killed.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::Signal;

use super::networks;
use super::scope;
use super::step::{self, Left};
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result, Warning};
use crate::oci::ContainerId;
use crate::state::{Entry, Record, StateDirectory, send_signal};
use crate::sys::process_end::{PATIENCE_MS, wait_until_gone};

/// What to do when somebody else's program refuses to undo its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRefusal {
    /// It stays in the journal, with all that was made before it.
    Stop,
    /// It is a warning: the container goes anyway.
    GoOn,
}

/// Undoes the entries of the journal, the last one first, then removes the folder.
///
/// # Errors
/// An entry could not be undone; it stays in the journal, and so do all entries before it.
pub(super) fn undo(
    directory: &StateDirectory,
    mut left: Left<'_>,
    on_refusal: OnRefusal,
    warn: &mut dyn FnMut(Warning),
) -> Result<()> {
    for (entry, text) in directory.journal()?.into_iter().rev() {
        undo_entry(directory, entry, &text, &mut left, on_refusal, warn)?;
        directory.strike(entry)?;
    }
    directory.remove()
}

/// Ends what is left of a container, and removes it.
pub(super) fn destroy(
    directory: &StateDirectory,
    record: &Record,
    on_refusal: OnRefusal,
    warn: &mut dyn FnMut(Warning),
) -> Result<()> {
    let (process, mut cgroup) = (record.open_process()?, record.open_cgroup()?);
    let mut unit = record.systemd_unit.as_deref();
    if process.is_none() && scope::remove_if_empty(cgroup.as_ref(), unit)? {
        return undo(directory, Left::Ended { cgroup: None, unit: None }, on_refusal, warn);
    }
    if process.is_none() {
        cgroup = directory.open_left_cgroup(record)?;
        // If the cgroup has become another container's, so has its unit.
        unit = unit.filter(|_| cgroup.is_some() || !record.cgroup_is_there().unwrap_or(true));
    }
    kill_processes(directory.id(), record, process, cgroup.as_ref())?;
    undo(directory, Left::Ended { cgroup, unit }, on_refusal, warn)
}

/// Kills the processes that state.json names.
pub(super) fn kill_processes(
    id: &ContainerId,
    record: &Record,
    process: Option<OwnedFd>,
    cgroup: Option<&Cgroup>,
) -> Result<()> {
    cgroup.map_or(Ok(()), Cgroup::kill)?;
    process.map_or(Ok(()), |process| kill_init(id, record.pid, &process))
}

fn kill_init(id: &ContainerId, pid: i32, process: &OwnedFd) -> Result<()> {
    match send_signal(process, Signal::KILL) {
        // Usually the cgroup's kill has ended it already.
        Ok(()) | Err(_) if wait_until_gone(process, PATIENCE_MS)? => Ok(()),
        _ => Err(Error::formatted(format_args!(
            "container {id}: process {pid} does not die: its state is kept, try again later"
        ))
        .or_kind(Kind::Timeout)),
    }
}

/// Kills the noted init of a container of which nothing else tells the processes.
fn end_noted(directory: &StateDirectory, note: &Path, left: &Left<'_>) -> Result<()> {
    match left {
        Left::Unknown => match directory.open_noted_process(note)? {
            Some((pid, process)) => kill_init(directory.id(), pid, &process),
            None => Ok(()),
        },
        // It has been killed, or dies with its `create`.
        Left::Held { .. } | Left::Ended { .. } | Left::Unfinished => Ok(()),
    }
}

/// Undoes one entry, of any kind.
fn undo_entry(
    directory: &StateDirectory,
    entry: Entry,
    text: &Path,
    left: &mut Left<'_>,
    on_refusal: OnRefusal,
    warn: &mut dyn FnMut(Warning),
) -> Result<()> {
    match entry {
        Entry::Network => networks::undo(text),
        Entry::Helper => networks::undo_user_mode(directory),
        Entry::Namespace => networks::unpin(directory),
        Entry::Cni => networks::undo_cni(directory, on_refusal == OnRefusal::GoOn, warn),
        Entry::Mounted => step::undo_root(directory, text),
        Entry::Cgroup => step::undo_cgroup(directory, text, left, warn),
        Entry::ResctrlClass | Entry::ResctrlMonitor => step::undo_resctrl(directory, text),
        // It only says where processes belong; what was made has an entry of its own.
        Entry::Resctrl => Ok(()),
        Entry::Process => end_noted(directory, text, left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::ContainerId;
    use crate::state::Root;

    #[test]
    fn what_was_noted_goes_the_last_first_and_the_folder_with_it() {
        let top = std::env::temp_dir().join(format!("pillbox-undo-{}", std::process::id()));
        let (class, joined) = (top.join("made"), top.join("joined"));
        // As with a class in resctrl, the group in it goes first: rmdir(2) would refuse the class.
        let group = class.join("group");
        std::fs::create_dir_all(&group).expect("folders");
        std::fs::create_dir(&joined).expect("folder");
        let id = ContainerId::new("box").expect("id");
        let directory = Root::at(top.join("state")).reserve(&id).expect("state");
        directory.note(Entry::ResctrlClass, &class).expect("note");
        directory.note(Entry::ResctrlMonitor, &group).expect("note");
        directory.note(Entry::Resctrl, &joined).expect("note");
        undo(&directory, Left::Unfinished, OnRefusal::Stop, &mut |text| panic!("{text}")).expect("undone");
        assert!(!class.exists() && joined.exists() && !top.join("state/box").exists());
        std::fs::remove_dir_all(top).expect("rm");
    }

    #[test]
    fn what_cannot_be_undone_stays_in_the_journal() {
        let top = std::env::temp_dir().join(format!("pillbox-undone-{}", std::process::id()));
        let full = top.join("full");
        std::fs::create_dir_all(full.join("in use")).expect("folders");
        let id = ContainerId::new("box").expect("id");
        let directory = Root::at(top.join("state")).reserve(&id).expect("state");
        directory.note(Entry::ResctrlClass, &full).expect("note");
        directory.note(Entry::Resctrl, &full).expect("note");
        let error = undo(&directory, Left::Unknown, OnRefusal::Stop, &mut |text| panic!("{text}"))
            .expect_err("it is in use");
        assert!(error.to_string().contains("full"), "{error}");
        assert_eq!(directory.journal().expect("journal"), [(Entry::ResctrlClass, full)]);
        std::fs::remove_dir_all(top).expect("rm");
    }
}
