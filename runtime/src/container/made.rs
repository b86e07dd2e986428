//! A container that is made except for its last steps.

use super::step::Left;
use super::undo::{OnRefusal, undo};
use crate::cgroup::Cgroup;
use crate::error::{Result, Warning};
use crate::plan::Plan;
use crate::spawn::Init;
use crate::state::{Record, StateDirectory};
use crate::sys::process_end::collect_strays;

/// A container whose init waits: at the gate, or for the last answer of [`super::run`].
pub(super) struct Created {
    pub init: Init,
    pub directory: StateDirectory,
    pub cgroup: Option<Cgroup>,
    pub plan: Plan,
    pub record: Record,
}

impl Created {
    /// Kills its processes.
    ///
    /// # Errors
    /// Init does not end.
    pub fn end(&mut self) -> Result<()> {
        end(self.cgroup.as_ref(), Some(&mut self.init))
    }

    /// Undoes everything, because a step after the set-up has failed.
    ///
    /// # Errors
    /// Something is left; `delete --force` will find it.
    pub fn undo(self, warn: &mut dyn FnMut(Warning)) -> Result<()> {
        let Created { init, directory, cgroup, record, plan: _ } = self;
        end_and_undo(directory, Some(init), cgroup, record.systemd_unit, warn)
    }
}

/// Ends init, then undoes what the journal lists.
pub(super) fn end_and_undo(
    directory: StateDirectory,
    mut init: Option<Init>,
    cgroup: Option<Cgroup>,
    unit: Option<String>,
    warn: &mut dyn FnMut(Warning),
) -> Result<()> {
    let ended = end(cgroup.as_ref(), init.as_mut());
    // Undoing needs free descriptors.
    drop(init);
    ended.and_then(|()| undo(&directory, Left::Held { cgroup, unit }, OnRefusal::GoOn, warn))
}

fn end(cgroup: Option<&Cgroup>, init: Option<&mut Init>) -> Result<()> {
    // Processes that a hook has left may keep init from ending. An error here shows again when the cgroup is
    // removed.
    let _ = cgroup.map(Cgroup::kill);
    init.iter().for_each(|init| init.begin_to_kill());
    collect_strays();
    init.map_or(Ok(()), Init::kill)
}
