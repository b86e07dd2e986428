//! Mounts: made or cloned detached, given their attributes, then attached to a target inside the root.
//!
//! May use `copy_up` and every part of init below it.

mod bind;
mod file_system;
mod mask;
mod procfs;
mod root;
mod state;
mod target;
mod tree;

pub use bind::{bind, set_attributes};
pub use file_system::{detached, mount, mount_with_data, remount};
pub use mask::{make_path_readonly, mask_path};
pub use procfs::{procfs, write_sysctl};
pub use root::{
    attach_root, attach_scratch_root, chroot, enter_chroot, enter_cover, mount_overlay, open_root, pivot_root,
};
pub use state::State;
pub use target::{attach, is_procfs};
pub use tree::clone_tree;
