//! Unmounts from a running container.

use pillbox_init::plan::operation::Unmount;
use pillbox_init::report::Stage;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::path::DecInt;

use crate::failure::{At, Failure};
use crate::path::Root;
use crate::{mount, path};

/// Unmounts what is mounted at a path. The container's programs may replace folders by links meanwhile: so
/// the folder is opened once, through no link, and a link at the name in it is not followed.
pub fn unmount(root: &OwnedFd, step: &Unmount<'_>) -> Result<(), Failure> {
    let Unmount { folder, name, rehearse } = *step;
    let place = OFlags::PATH | OFlags::DIRECTORY;
    let folder = path::open_with(root, folder, place, ResolveFlags::NO_SYMLINKS).at(Stage::Target)?;
    if rehearse {
        let status = rustix::fs::statx(&folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
            .at(Stage::Target)?;
        let mounted = status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        return if mounted { Ok(()) } else { Err(Errno::INVAL).at(Stage::Verify) };
    }
    rustix::process::fchdir(&folder)?;
    Ok(rustix::mount::unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Unmounts what the plan has attached, the last mount first. Errors are ignored: the failure that led here
/// is the one to report.
pub fn unmount_attached(mounts: &mut mount::State, root: &Root) {
    let mut attached = mounts.attached.take().unwrap_or_default();
    while let (Some(mount), Ok(root)) = (attached.pop(), root.get()) {
        let _ = unmount_this(root, &mount);
    }
}

/// Unmounts by descriptor, wherever the path leads by now: a folder as the current folder, a file through its
/// number in procfs.
fn unmount_this(root: &OwnedFd, mount: &OwnedFd) -> Result<(), Errno> {
    if rustix::process::fchdir(mount).is_ok() {
        return rustix::mount::unmount(c".", UnmountFlags::DETACH);
    }
    let procfs = path::open(root, c"/proc")?;
    if !mount::is_procfs(procfs.as_fd())? {
        return Err(Errno::PERM);
    }
    let place = OFlags::PATH | OFlags::DIRECTORY;
    let numbers = path::open_with(&procfs, c"self/fd", place, ResolveFlags::NO_XDEV)?;
    rustix::process::fchdir(&numbers)?;
    rustix::mount::unmount(DecInt::from_fd(mount).as_c_str(), UnmountFlags::DETACH)
}
