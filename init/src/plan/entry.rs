//! How init gets to where the operations of its plan belong.

use super::NEVER_OPEN;
use crate::wire::{Malformed, Numbers};

/// One step on the way.
///
/// Init itself is executed outside: it is never in a container's cgroup while it shares memory with the runtime, for an
/// out-of-memory kill there takes every process of that memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStep {
    /// prctl(PR_SET_DUMPABLE, 0): others will see it from the next step on.
    SetUndumpable,
    /// setns(2) into what the descriptor stands for, with CLONE_NEW* bits; the descriptor closes.
    Enter {
        /// A namespace or a pidfd.
        descriptor: u32,
        /// Which namespaces.
        namespaces: u32,
    },
    /// clone3(2) with CLONE_PARENT: a child of the runtime's goes on in its stead. A joined pid namespace takes
    /// only children, and what is new in a joined user namespace has to be made there.
    Clone {
        /// CLONE_NEW* bits: the child is in new namespaces of these kinds.
        namespaces: u32,
        /// The cgroup that it begins in, which closes in the child; else it stays where it is.
        cgroup: Option<u32>,
    },
}

impl EntryStep {
    /// The step as it stands in a plan.
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

/// The steps that stand in `numbers`, three for each.
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
