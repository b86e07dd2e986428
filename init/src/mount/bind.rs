//! Existing mount trees: bound, and given other attributes.

use pillbox_init::plan::TargetRule;
use pillbox_init::plan::operation::{BindMount, SetMountAttributes};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::state::{AS_IT_IS, NOTHING, State};
use super::target::{attach_noted, is_folder, is_procfs, open_target};
use super::tree::{self, attach_tree};
use crate::channel::Channel;
use crate::descriptor::Descriptors;
use crate::failure::{At, Failure};
use crate::path::{self, Missing, Root};

pub fn bind(
    mounts: &mut State,
    root: &Root,
    descriptors: &Descriptors<'_>,
    channel: &mut Channel<'_>,
    step: &BindMount<'_>,
) -> Result<(), Failure> {
    let BindMount {
        tree: of,
        target,
        rule,
        set,
        clear,
        drop,
        recursive_set,
        recursive_clear,
        propagation,
        recursive_propagation,
    } = *step;
    let tree = tree::open(root, descriptors, of).at(Stage::Source)?;
    let missing = if is_folder(tree.as_fd()).at(Stage::Source)? { Missing::Folder } else { Missing::File };
    if rule == TargetRule::Procfs && !is_procfs(tree.as_fd()).at(Stage::Source)? {
        return Err(Errno::PERM).at(Stage::Source);
    }
    let target = open_target(root.get()?, target, rule, missing)?;
    attach_tree(channel, of, tree, |tree| {
        if propagation != AS_IT_IS {
            sys::mount_setattr(tree, NOTHING, NOTHING, propagation, recursive_propagation)
                .at(Stage::Attributes)?;
        }
        if !(set | clear).is_empty() {
            match sys::mount_setattr(tree, set, clear | drop, AS_IT_IS, false) {
                Err(Errno::PERM) if drop != NOTHING => sys::mount_setattr(tree, set, clear, AS_IT_IS, false),
                done => done,
            }
            .at(Stage::Attributes)?;
        }
        if !(recursive_set | recursive_clear).is_empty() {
            sys::mount_setattr(tree, recursive_set, recursive_clear, AS_IT_IS, true).at(Stage::Attributes)?;
        }
        attach_noted(&mut mounts.attached, tree, &target)
    })?;
    Ok(())
}

pub fn set_attributes(mounts: &State, root: &OwnedFd, step: &SetMountAttributes<'_>) -> Result<(), Failure> {
    let SetMountAttributes { target, set, propagation, recursive } = *step;
    // In a running container another process may have changed the path since: the mount that was just
    // attached is meant.
    if let Some(mount) = mounts.attached.as_ref().and_then(|attached| attached.last()) {
        return Ok(sys::mount_setattr(mount, set, NOTHING, propagation, recursive)?);
    }
    let mount = path::open(root, target).at(Stage::Target)?;
    sys::mount_setattr(mount, set, NOTHING, propagation, recursive)?;
    Ok(())
}
