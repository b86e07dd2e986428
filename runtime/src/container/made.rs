//! What stands of a container that is being made, and all of it away again.

use super::scope;
use crate::cgroup::Cgroup;
use crate::error::Result;
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
    /// Undoes what stands, when a step after the set-up fails.
    ///
    /// # Errors
    /// What is left; `delete --force` finds it.
    pub fn take_back(self) -> Result<()> {
        let Created { init, directory, cgroup, record, plan: _ } = self;
        Made { directory, unit: record.systemd_unit, cgroup, init: Some(init), record: None }.take_back()
    }
}

/// What was made so far.
pub(super) struct Made {
    pub directory: StateDirectory,
    pub unit: Option<String>,
    pub cgroup: Option<Cgroup>,
    pub init: Option<Init>,
    pub record: Option<Record>,
}

impl Made {
    /// Removes it again, in the order in which that works.
    pub fn take_back(self) -> Result<()> {
        let Made { directory, unit, cgroup, init, record: _ } = self;
        // What a hook has left may keep init from ending. What is left after that is said below.
        let _ = cgroup.as_ref().map(Cgroup::kill);
        collect_strays();
        let ended = init.map_or(Ok(()), |mut init| init.kill());
        let removed = match scope::remove_if_empty(cgroup.as_ref(), unit.as_deref()) {
            Ok(true) => Ok(()),
            // One descriptor more is needed then.
            _ => scope::end(cgroup.as_ref(), unit.as_deref()),
        };
        ended.and(removed)?;
        directory.remove()
    }
}
