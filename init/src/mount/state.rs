//! What mounts share.

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::TAKEN_BACK_MAX;
use pillbox_init::report::MESSAGE_MAX;
use pillbox_init::wire::Strings;
use rustix::fd::OwnedFd;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

pub(super) const NOTHING: MountAttrFlags = MountAttrFlags::empty();
pub(super) const AS_IT_IS: MountPropagationFlags = MountPropagationFlags::empty();

/// The kernel's text is cut to what fits into a report beside the numbers.
pub(super) const TEXT_MAX: usize = MESSAGE_MAX - 32;

/// What the kernel said about the mount that failed.
pub type KernelText = Vec<u8, TEXT_MAX>;

/// What was attached so far, where a failure takes it back.
pub type Attached = Option<Vec<OwnedFd, TAKEN_BACK_MAX>>;

/// What mounts share: each is opened once, when first needed.
#[derive(Default)]
pub struct State {
    /// The container's null device, verified.
    pub(super) null: Option<OwnedFd>,
    /// A read-only tmpfs without content, where it was first needed: before Linux 6.15 only what is attached can be cloned.
    pub(super) empty: Option<OwnedFd>,
    /// A procfs, by a descriptor of its root: what covers parts of it (`RESOLVE_NO_XDEV`) is refused.
    pub(super) procfs: Option<OwnedFd>,
    /// Where overlays keep changes, and how many there are.
    pub(super) layers: Option<OwnedFd>,
    pub(super) overlays: u32,
    pub attached: Attached,
    pub kernel_text: KernelText,
}

impl State {
    /// One more procfs, only for init, would cost the kernel a grace period when it goes: the container's will do if it is
    /// a whole one that may be written to.
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
