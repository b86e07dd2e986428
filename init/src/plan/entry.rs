//! Init's way into the namespaces and the cgroup of the container.

use super::NEVER_OPEN;
use crate::wire::{Malformed, Numbers};

/// One step on the way.
///
/// Init is executed outside: it is never in a container's cgroup while it shares memory with the runtime,
/// because an out-of-memory kill there takes every process that shares the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStep {
    /// prctl(PR_SET_DUMPABLE, 0): from the next step on other processes can see init.
    SetUndumpable,
    /// setns(2) into existing namespaces; then the descriptor is closed.
    Enter {
        /// A namespace or a pidfd.
        descriptor: u32,
        /// CLONE_NEW* bits: which namespaces are entered.
        namespaces: u32,
    },
    /// clone3(2) with CLONE_PARENT: another child of the runtime continues in place of this process. Only a
    /// child gets into a joined pid namespace, and new namespaces that are to belong to a joined user
    /// namespace have to be made inside it.
    Clone {
        /// CLONE_NEW* bits: the child is in new namespaces of these kinds.
        namespaces: u32,
        /// The cgroup in which it begins, whose descriptor the child closes; `None` is the parent's.
        cgroup: Option<u32>,
    },
}

impl EntryStep {
    /// The step as a plan encodes it.
    pub fn encode(self) -> [u32; 3] {
        match self {
            EntryStep::SetUndumpable => [0, NEVER_OPEN, 0],
            EntryStep::Enter { descriptor, namespaces } => [1, descriptor, namespaces],
            EntryStep::Clone { namespaces, cgroup } => [2, cgroup.unwrap_or(NEVER_OPEN), namespaces],
        }
    }

    fn decode([kind, descriptor, namespaces]: [u32; 3]) -> Result<Self, Malformed> {
        let cgroup = Some(descriptor).filter(|descriptor| *descriptor != NEVER_OPEN);
        Ok(match kind {
            0 => EntryStep::SetUndumpable,
            1 => EntryStep::Enter { descriptor, namespaces },
            2 => EntryStep::Clone { namespaces, cgroup },
            _ => return Err(Malformed),
        })
    }
}

/// The steps that `numbers` encode, three numbers for each.
pub(super) fn decode_all(numbers: Numbers<'_>) -> impl Iterator<Item = Result<EntryStep, Malformed>> {
    let mut numbers = numbers.iter();
    core::iter::from_fn(move || {
        let first = numbers.next()?;
        Some(match (numbers.next(), numbers.next()) {
            (Some(second), Some(third)) => EntryStep::decode([first, second, third]),
            _ => Err(Malformed),
        })
    })
}
