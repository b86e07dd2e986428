//! The root file system: how it is attached, and what it is in the end.

use std::ffi::CStr;

use pillbox_init::plan::Operation;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::builder::Builder;
use super::text::c_string;
use super::{Intent, mount};
use crate::error::Result;
use crate::validate::{RootfsPropagation, ValidSpec};

/// The tree that becomes the root, attached where init can pivot to it.
pub(super) fn compile_root(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    from_seed: bool,
    own_user_namespace: bool,
    intent: &Intent,
) -> Result<()> {
    if !intent.scratch_over.is_empty() {
        builder.push(Operation::AttachScratchRoot { at: c"/tmp" });
        for layer in &intent.scratch_over {
            mount::compile_layer(builder, layer, own_user_namespace)?;
        }
        return Ok(());
    }
    let rootfs = c_string("root.path", &intent.rootfs)?;
    let tree = builder.tree(&rootfs, true, "root.path", false, false);
    let at: &CStr = if from_seed { crate::seed::ROOT_IN_SEED } else { &rootfs };
    let propagation = match spec.rootfs_propagation {
        RootfsPropagation::Private => MountPropagationFlags::PRIVATE,
        _ => MountPropagationFlags::DOWNSTREAM,
    };
    builder.push(Operation::AttachRoot { tree, at, propagation });
    Ok(())
}

/// What the root, and with `r…` every mount, is in the end.
pub(super) fn set_propagation(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    propagation: MountPropagationFlags,
) {
    builder.push(Operation::SetMountAttributes {
        target: c"/",
        set: MountAttrFlags::empty(),
        propagation,
        recursive: spec.rootfs_propagation_recursive,
    });
}

pub(super) fn set_attributes(
    builder: &mut Builder<'_>,
    target: &CStr,
    set: MountAttrFlags,
    propagation: MountPropagationFlags,
) {
    builder.push(Operation::SetMountAttributes { target, set, propagation, recursive: false });
}
