//! What mounts share.

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::ATTACHED_MAX;
use pillbox_init::report::MESSAGE_MAX;
use pillbox_init::wire::Strings;
use rustix::fd::OwnedFd;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

pub(super) const NOTHING: MountAttrFlags = MountAttrFlags::empty();
pub(super) const AS_IT_IS: MountPropagationFlags = MountPropagationFlags::empty();

/// The kernel's text is truncated to what fits into a report besides the numbers.
pub(super) const TEXT_MAX: usize = MESSAGE_MAX - 32;

/// What the kernel said about the mount that failed.
pub type KernelText = Vec<u8, TEXT_MAX>;

/// What was attached so far, if a failure has to unmount it.
pub type Attached = Option<Vec<OwnedFd, ATTACHED_MAX>>;

/// What mounts share. Each descriptor is opened once, when it is first needed.
#[derive(Default)]
pub struct State {
    /// The container's null device, verified.
    pub(super) null: Option<OwnedFd>,
    /// An empty read-only tmpfs, attached where it was first needed: before Linux 6.15 only attached mounts
    /// can be cloned.
    pub(super) empty: Option<OwnedFd>,
    /// The root of a procfs. Files in it are opened with `RESOLVE_NO_XDEV`, which refuses mounts that cover
    /// parts of it.
    pub(super) procfs: Option<OwnedFd>,
    /// The tmpfs where overlays keep changes, and the number of overlays.
    pub(super) layers: Option<OwnedFd>,
    pub(super) overlays: u32,
    pub attached: Attached,
    pub kernel_text: KernelText,
}

impl State {
    /// Keeps the container's procfs for init's own use, if it is complete and writable. Another one only for
    /// init would cost the kernel a grace period when it is unmounted.
    #[inline(never)]
    pub(super) fn keep_procfs(
        &mut self,
        kind: &CStr,
        attributes: MountAttrFlags,
        parameters: Strings<'_>,
        mount: OwnedFd,
    ) {
        let read_only = attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY);
        if kind.to_bytes() == b"proc" && parameters.is_empty() && !read_only && self.procfs.is_none() {
            self.procfs = Some(mount);
        }
    }
}
