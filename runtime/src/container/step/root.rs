//! The root of a container, if no path leads to it, or if it is in the mount namespace of the host.

use std::path::Path;

use super::{Line, Making, Prepared, Step};
use crate::error::Result;
use crate::plan::{Descriptor, Plan, RootInside};
use crate::root::RootSource;
use crate::state::{Entry, StateDirectory, mount_note};

/// Opens or makes a root to which no path leads. The state folder comes first: it keeps other commands from
/// making the same container, and from using the same upper layer.
pub struct OpenGiven;

impl Step for OpenGiven {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        given(&prepared.plan).is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Making { prepared, replanned, opened, .. } = making;
        opened.open_root(replanned.as_ref().unwrap_or(&prepared.plan))
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        lines.extend(given(&prepared.plan).map(|(source, inside)| {
            let when = if inside.is_some() { ", made in init's namespaces when it asks for it" } else { "" };
            ("OpenRoot", format!("{source}{when}"))
        }));
        Ok(())
    }
}

fn given(plan: &Plan) -> Option<(&RootSource, &Option<RootInside>)> {
    plan.descriptors.iter().find_map(|descriptor| match descriptor {
        Descriptor::Root { source, inside } => Some((source, inside)),
        _ => None,
    })
}

/// Notes which mount it will be: no mount namespace ends with the container, so it has to be unmounted.
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
