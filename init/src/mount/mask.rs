//! Paths that are made read-only or covered.

use core::ffi::CStr;

use pillbox_init::report::Stage;
use pillbox_init::sys;
use pillbox_init::wire::Strings;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::file_system::new_file_system;
use super::target::{attach, open_existing};
use super::{NOTHING, clone_tree};
use crate::execute::Init;
use crate::failure::{At, Failure};
use crate::path;

pub fn make_path_readonly(init: &Init<'_>, path: &CStr) -> Result<(), Failure> {
    let Some(target) = open_existing(init, path)? else { return Ok(()) };
    let tree = clone_tree(&target, true).at(Stage::Source)?;
    sys::mount_setattr(
        &tree,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
        NOTHING,
        MountPropagationFlags::PRIVATE,
        false,
    )
    .at(Stage::Attributes)?;
    attach(tree.as_fd(), &target)
}

pub fn mask_path(init: &mut Init<'_>, path: &CStr) -> Result<(), Failure> {
    let Some(target) = open_existing(init, path)? else { return Ok(()) };
    let folder = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
    if folder && init.mount.empty.is_none() {
        let none = Strings::default();
        let mount =
            new_file_system(init, c"tmpfs", c"tmpfs", none, none, None, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        attach(mount.as_fd(), &target)?;
        init.mount.empty = Some(mount);
        return Ok(());
    }
    if !folder && init.mount.null.is_none() {
        init.mount.null = Some(open_null(init.root()?)?);
    }
    let mask = if folder { &init.mount.empty } else { &init.mount.null };
    let tree = clone_tree(mask.as_ref().ok_or(Errno::BADF)?, false)?;
    attach(tree.as_fd(), &target)
}

/// The image may have anything at /dev/null: only the null device itself will do.
fn open_null(root: &OwnedFd) -> Result<OwnedFd, Failure> {
    let null = path::open(root, c"/dev/null").at(Stage::Source)?;
    let status = rustix::fs::fstat(&null)?;
    let device = (rustix::fs::major(status.st_rdev as _), rustix::fs::minor(status.st_rdev as _));
    if FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && device == (1, 3) {
        Ok(null)
    } else {
        Err(Errno::NODEV).at(Stage::Verify)
    }
}
