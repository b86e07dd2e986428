//! A container that stands, but for its last steps.

use super::step::Left;
use super::undo::undo;
use crate::cgroup::Cgroup;
use crate::error::{Result, Warning};
use crate::plan::Plan;
use crate::spawn::Init;
use crate::state::{Record, StateDirectory};
use crate::sys::process_end::collect_strays;

/// A container whose init waits: at the gate, or for the last word of [`super::run`].
pub(super) struct Created {
    pub init: Init,
    pub directory: StateDirectory,
    pub cgroup: Option<Cgroup>,
    pub plan: Plan,
    pub record: Record,
}

impl Created {
    /// Ends its processes.
    ///
    /// # Errors
    /// Init does not go.
    pub fn end(&mut self) -> Result<()> {
        end(self.cgroup.as_ref(), Some(&mut self.init))
    }

    /// Undoes what stands, when a step after the set-up fails.
    ///
    /// # Errors
    /// What is left; `delete --force` finds it.
    pub fn take_back(self, warn: &mut dyn FnMut(Warning)) -> Result<()> {
        let Created { init, directory, cgroup, record, plan: _ } = self;
        take_back(directory, Some(init), cgroup, record.systemd_unit, warn)
    }
}

/// Ends init, then undoes what the journal tells of.
pub(super) fn take_back(
    directory: StateDirectory,
    mut init: Option<Init>,
    cgroup: Option<Cgroup>,
    unit: Option<String>,
    warn: &mut dyn FnMut(Warning),
) -> Result<()> {
    let ended = end(cgroup.as_ref(), init.as_mut());
    // Undoing needs descriptors as well.
    drop(init);
    ended.and_then(|()| undo(&directory, Left::Held { cgroup, unit }, warn))
}

fn end(cgroup: Option<&Cgroup>, init: Option<&mut Init>) -> Result<()> {
    // What a hook has left may keep init from ending. What is left of the cgroup after that its removal says.
    let _ = cgroup.map(Cgroup::kill);
    init.iter().for_each(|init| init.begin_to_kill());
    collect_strays();
    init.map_or(Ok(()), Init::kill)
}
