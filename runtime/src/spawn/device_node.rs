//! Device nodes for containers in a user namespace, which may not call mknod(2).

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, makedev};
use rustix::io::Result;
use rustix::mount::OpenTreeFlags;

use crate::plan::DeviceNode;

/// Whether `tree` is the device that `node` describes.
pub fn is(tree: &OwnedFd, node: &DeviceNode) -> Result<bool> {
    let status = rustix::fs::fstat(tree)?;
    Ok(FileType::from_raw_mode(status.st_mode) == node.kind
        && status.st_rdev as u64 == makedev(node.major, node.minor) as u64)
}

/// Makes the node with number `index` in the state folder `folder`. The result is a detached mount of the
/// node, which must keep its name until the mount is attached: see [`forget`].
///
/// # Errors
/// `EPERM`: the runtime is in a user namespace itself.
pub fn make(folder: BorrowedFd<'_>, index: u32, node: &DeviceNode) -> Result<OwnedFd> {
    let DeviceNode { kind, major, minor, mode, uid, gid } = *node;
    let name = &*name(index);
    rustix::fs::mknodat(folder, name, kind, Mode::empty(), makedev(major, minor))?;
    rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::chmodat(folder, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(folder, name, flags)
}

/// Removes the names of all nodes that were made; their mounts stay.
pub fn forget(folder: BorrowedFd<'_>) {
    (0..)
        .map(name)
        .take_while(|name| rustix::fs::unlinkat(folder, &**name, AtFlags::empty()).is_ok())
        .count();
}

fn name(index: u32) -> String {
    format!("device.{index}")
}
