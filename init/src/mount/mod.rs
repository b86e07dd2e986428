//! Mounts: made or cloned detached, given their attributes, then attached to a target inside the root.

mod bind;
mod file_system;
mod mask;
mod root;
mod target;

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::TAKEN_BACK_MAX;
use pillbox_init::report::{MESSAGE_MAX, Stage};
use pillbox_init::wire::Strings;
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use self::file_system::new_file_system;
use crate::execute::Init;
use crate::failure::{At, Failure};

pub use bind::{bind, clone_tree, set_attributes};
pub use file_system::{detached, mount, mount_with_data, remount};
pub use mask::{make_path_readonly, mask_path};
pub use root::{attach_root, attach_scratch_root, chroot, mount_overlay, open_root, pivot_root};
pub use target::{attach, is_procfs};

const NOTHING: MountAttrFlags = MountAttrFlags::empty();
const AS_IT_IS: MountPropagationFlags = MountPropagationFlags::empty();

/// The kernel's text is cut to what fits into a report beside the numbers.
pub const TEXT_MAX: usize = MESSAGE_MAX - 32;

/// What mounts share: each is opened once, when first needed.
#[derive(Default)]
pub struct State {
    /// The container's null device, verified.
    null: Option<OwnedFd>,
    /// A read-only tmpfs without content, where it was first needed: before Linux 6.15 only what is attached can be cloned.
    empty: Option<OwnedFd>,
    /// A procfs, by a descriptor of its root: what covers parts of it (`RESOLVE_NO_XDEV`) is refused.
    procfs: Option<OwnedFd>,
    /// Where overlays keep changes, and how many there are.
    layers: Option<OwnedFd>,
    overlays: u32,
    /// What was attached so far, where a failure takes it back.
    pub attached: Option<Vec<OwnedFd, TAKEN_BACK_MAX>>,
    /// What the kernel said about the mount that failed.
    pub kernel_text: Vec<u8, TEXT_MAX>,
}

impl State {
    /// One more procfs, only for init, would cost the kernel a grace period when it goes: the container's will do if it is
    /// a whole one that may be written to.
    #[inline(never)]
    fn keep_procfs(
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

/// A procfs that is one whatever lies at /proc: the one that init mounted there, or one of its own. In a user namespace
/// that may be refused (with the host's processes always): there the container's own will do, if that is a whole one.
pub fn procfs<'i>(init: &'i mut Init<'_>) -> Result<&'i OwnedFd, Failure> {
    if init.mount.procfs.is_none() {
        let none = Strings::default();
        let procfs = match new_file_system(init, c"proc", c"proc", none, none, None, NOTHING) {
            Err(refused) => open_mounted_procfs(init).map_err(|verified| verified.unwrap_or(refused))?,
            made => made?,
        };
        init.mount.kernel_text.clear();
        init.mount.procfs = Some(procfs);
    }
    Ok(init.mount.procfs.as_ref().ok_or(Errno::BADF)?)
}

/// What lies at the container's /proc, if it is the root of a procfs. What covers parts of it is up to whoever opens files
/// there, as for every procfs here. `None` where nothing is there at all.
fn open_mounted_procfs(init: &Init<'_>) -> Result<OwnedFd, Option<Failure>> {
    const PROC_SUPER_MAGIC: u32 = 0x9fa0;
    const PROC_ROOT_INO: u64 = 1;
    let mounted = init.root().and_then(|root| crate::path::open(root, c"/proc")).map_err(|_| None)?;
    let [kind, inode] = [
        rustix::fs::fstatfs(&mounted).map(|status| status.f_type as u64),
        rustix::fs::fstat(&mounted).map(|status| status.st_ino),
    ];
    match (kind, inode) {
        (Ok(kind), Ok(PROC_ROOT_INO)) if kind as u32 == PROC_SUPER_MAGIC => Ok(mounted),
        _ => Err(Some(Failure::new(Errno::PERM, Stage::Verify, 0))),
    }
}

pub fn write_sysctl(init: &mut Init<'_>, path: &CStr, value: &CStr) -> Result<(), Failure> {
    let procfs = procfs(init)?;
    let only_here = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let file = crate::path::open_with(procfs, path, OFlags::WRONLY, only_here).at(Stage::Target)?;
    rustix::io::write(&file, value.to_bytes())?;
    Ok(())
}
