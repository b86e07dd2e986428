//! Processes that this one has started and that stay: monitors, and what serves networks. Nobody waits for their ends, but whoever lives on
//! is to see to it that nothing is left of them.

use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pillbox::Spawned;

/// One of them, by what it was started with.
pub enum Unreaped {
    /// In the cgroup of this process.
    Child(Child),
    /// In the cgroup of monitors.
    Spawned(Spawned),
}

impl Unreaped {
    fn has_ended(&mut self) -> bool {
        match self {
            Unreaped::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Unreaped::Spawned(spawned) => spawned.has_ended(),
        }
    }
}

impl From<Child> for Unreaped {
    fn from(child: Child) -> Self {
        Unreaped::Child(child)
    }
}

impl From<Spawned> for Unreaped {
    fn from(spawned: Spawned) -> Self {
        Unreaped::Spawned(spawned)
    }
}

static UNREAPED: Mutex<Vec<Unreaped>> = Mutex::new(Vec::new());

fn unreaped() -> MutexGuard<'static, Vec<Unreaped>> {
    UNREAPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One more.
pub fn leave_unreaped(process: impl Into<Unreaped>) {
    reap();
    unreaped().push(process.into());
}

/// Forgets those that have ended.
pub fn reap() {
    unreaped().retain_mut(|process| !process.has_ended());
}

/// Whether there are any.
pub fn are_unreaped() -> bool {
    !unreaped().is_empty()
}
