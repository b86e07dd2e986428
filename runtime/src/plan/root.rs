//! The root file system: how it is attached, and what it is in the end.

use std::ffi::CStr;

use pillbox_init::plan::operation::{AttachRoot, AttachScratchRoot, SetMountAttributes};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::builder::{Builder, HostTree, Need};
use super::text::c_string;
use super::{Intent, mount};
use crate::error::{Error, Result};
use crate::validate::{NamespaceKind, RootfsPropagation, ValidSpec};

/// Where the container's root is attached in a copy of the seed: over all that is there. Copies share the tmpfs, and
/// who may unmount in a container reaches it: nothing in it may be needed.
const ROOT_IN_SEED: &CStr = c"/";

/// The tree that becomes the root, attached where init can pivot to it.
pub(super) fn compile_root(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    from_seed: bool,
    own_user_namespace: bool,
    intent: &Intent,
) -> Result<()> {
    if !intent.scratch_over.is_empty() {
        builder.push(AttachScratchRoot { at: c"/tmp" });
        for layer in &intent.scratch_over {
            mount::compile_layer(builder, layer, own_user_namespace)?;
        }
        return Ok(());
    }
    let rootfs = c_string("root.path", intent.root_source.as_ref().unwrap_or(&intent.rootfs))?;
    // Only the runtime has the descriptor that such a link leads through, and there must be a place to mount the root at.
    let needs = if !builder.host.privileged { "root's rights" } else { "a mount namespace of its own" };
    let can = builder.host.privileged && spec.namespace(NamespaceKind::Mount).is_some();
    if let (Some(source), false) = (&intent.root_source, can) {
        return Err(Error::formatted(format_args!(
            "root.path: {source}: no path leads to where this link does: such a root needs {needs}"
        )));
    }
    let tree = builder.tree(HostTree { path: &rootfs, field: "root.path", recursive: true, need: Need::Any });
    let place = if intent.root_source.is_some() { &c_string("bundle", &intent.bundle)? } else { &rootfs };
    let at: &CStr = if from_seed { ROOT_IN_SEED } else { place };
    let propagation = match spec.rootfs_propagation {
        RootfsPropagation::Private => MountPropagationFlags::PRIVATE,
        _ => MountPropagationFlags::DOWNSTREAM,
    };
    builder.push(AttachRoot { tree, at, propagation });
    Ok(())
}

/// What the root, and with `r…` every mount, is in the end.
pub(super) fn set_propagation(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    propagation: MountPropagationFlags,
) {
    builder.push(SetMountAttributes {
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
    builder.push(SetMountAttributes { target, set, propagation, recursive: false });
}
