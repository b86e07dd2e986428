//! Paths that are made read-only or covered.

use core::ffi::CStr;

use pillbox_init::report::Stage;
use pillbox_init::sys;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::file_system::NewFileSystem;
use super::state::{NOTHING, State};
use super::target::{attach, open_existing};
use super::tree::clone_tree;
use crate::failure::{At, Failure};
use crate::path;

pub fn make_path_readonly(root: &OwnedFd, path: &CStr) -> Result<(), Failure> {
    let Some(target) = open_existing(root, path)? else { return Ok(()) };
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

pub fn mask_path(mounts: &mut State, root: &OwnedFd, path: &CStr) -> Result<(), Failure> {
    let Some(target) = open_existing(root, path)? else { return Ok(()) };
    let folder = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
    if folder && mounts.empty.is_none() {
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
        let new = NewFileSystem { attributes, ..NewFileSystem::of(c"tmpfs") };
        let mount = new.make(&mut mounts.kernel_text)?;
        attach(mount.as_fd(), &target)?;
        mounts.empty = Some(mount);
        return Ok(());
    }
    if !folder && mounts.null.is_none() {
        mounts.null = Some(open_null(root)?);
    }
    let mask = if folder { &mounts.empty } else { &mounts.null };
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
