//! The root of a container that shares the host's mount namespace.

use std::path::Path;

use super::{Making, Prepared, Step};
use crate::error::Result;
use crate::state::{Entry, StateDirectory, mount_note};

/// Notes which mount it will be: no namespace takes it along when the container is gone.
pub struct NoteMount;

impl Step for NoteMount {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.plan.mounts_at.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let plan = making.plan();
        match (&plan.mounts_at, making.opened.root(plan)) {
            (Some(path), Some(root)) => {
                making.directory()?.note(Entry::Mounted, mount_note::of(root, path)?.as_ref())
            }
            _ => Ok(()),
        }
    }
}

/// Unmounts it, with everything below.
pub fn undo(_: &StateDirectory, note: &Path) -> Result<()> {
    note.to_str().map_or(Ok(()), mount_note::unmount)
}
