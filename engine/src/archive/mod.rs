//! Images from files: plain tars of a root file system, OCI layouts.

mod layout;
mod rootfs;

pub use layout::{import_layout, is_layout};
pub use rootfs::import_rootfs;
