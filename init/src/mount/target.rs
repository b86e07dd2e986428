//! The targets of mounts, each resolved once, inside the root.

use core::ffi::CStr;

use pillbox_init::plan::TargetRule;
use pillbox_init::report::Stage;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MoveMountFlags;

use super::state::Attached;
use crate::failure::{At, Failure};
use crate::path::{self, Missing};

/// Resolves a mount's target, makes it if it is missing, and checks that mounts are allowed there.
pub(super) fn open_target(
    root: &OwnedFd,
    path: &CStr,
    rule: TargetRule,
    missing: Missing,
) -> Result<OwnedFd, Failure> {
    let resolve = match rule {
        TargetRule::NoSymlinks | TargetRule::Procfs => ResolveFlags::NO_SYMLINKS,
        TargetRule::Ordinary | TargetRule::InsideProc | TargetRule::NoFollow => ResolveFlags::empty(),
    };
    let link = match rule {
        TargetRule::NoFollow => path::open_with(root, path, OFlags::PATH | OFlags::NOFOLLOW, resolve).ok(),
        _ => None,
    };
    let target = match link {
        Some(target) => target,
        None => path::open_or_make(root, path, missing, resolve).at(Stage::Target)?,
    };
    if rule != TargetRule::InsideProc && is_procfs(target.as_fd()).at(Stage::Target)? {
        return Err(Errno::PERM).at(Stage::Verify);
    }
    Ok(target)
}

pub fn is_procfs(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    const PROC_SUPER_MAGIC: u32 = 0x9fa0;
    Ok(rustix::fs::fstatfs(file)?.f_type as u32 == PROC_SUPER_MAGIC)
}

pub(super) fn open_existing(root: &OwnedFd, path: &CStr) -> Result<Option<OwnedFd>, Failure> {
    match path::open(root, path) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).at(Stage::Target),
    }
}

/// [`attach`] of a mount that a later failure may have to unmount.
pub(super) fn attach_noted(
    attached: &mut Attached,
    tree: BorrowedFd<'_>,
    target: &OwnedFd,
) -> Result<(), Failure> {
    if let Some(attached) = attached {
        let mount = rustix::io::fcntl_dupfd_cloexec(tree, 3)?;
        attached.push(mount).map_err(|_| Errno::MFILE)?;
    }
    let attachment = attach(tree, target);
    if let (Err(_), Some(attached)) = (&attachment, attached) {
        attached.pop();
    }
    attachment
}

pub fn attach(tree: BorrowedFd<'_>, target: &OwnedFd) -> Result<(), Failure> {
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let attached = rustix::mount::move_mount(tree, c"", target, c"", by_descriptor);
    match attached {
        // This has many causes; a file on a folder, or a folder on a file, is one that can be named.
        Err(Errno::INVAL) if is_folder(tree)? != is_folder(target.as_fd())? => Err(Errno::NOTDIR),
        attached => attached,
    }
    .at(Stage::Attach)
}

pub fn is_folder(place: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(place)?.st_mode) == FileType::Directory)
}
