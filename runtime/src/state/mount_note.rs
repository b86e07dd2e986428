//! Notes which mount of the host's namespace is the root of a container without a mount namespace of its own.
//!
//! The note is made before the mount. Other mounts at the same place are the caller's and stay.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::error::{Context, Result};
use crate::state::boot_id;

/// The note for a detached tree that will be mounted at `path`.
pub fn of(root: &OwnedFd, path: &str) -> Result<String> {
    let id = mount_id(root).context(|| format!("statx {path}"))?;
    Ok(format!("{id} {} {path}", boot_id()?))
}

/// Unmounts the noted mount if it is there.
pub fn unmount(note: &str) -> Result<()> {
    let Some((id, boot, path)) = parse(note) else { return Ok(()) };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mount = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        mount => mount.context(|| format!("open {path}"))?,
    };
    // It was never mounted, or is no longer.
    let found = mount_id(&mount).context(|| format!("statx {path}"))?;
    if found != id || boot_id()? != boot {
        return Ok(());
    }
    // Through the descriptor, in case something else has been mounted over it since.
    let exactly = format!("/proc/self/fd/{}", mount.as_raw_fd());
    rustix::mount::unmount(&*exactly, UnmountFlags::DETACH).context(|| format!("unmount {path}"))
}

/// Mount id, boot id and path.
fn parse(note: &str) -> Option<(u64, &str, &str)> {
    let (id, rest) = note.split_once(' ')?;
    let (boot, path) = rest.split_once(' ')?;
    Some((id.parse().ok()?, boot, path))
}

/// The mount's id. Since Linux 6.8 no other mount has it until the next boot.
pub fn mount_id(mount: &OwnedFd) -> rustix::io::Result<u64> {
    const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
    let wanted = StatxFlags::MNT_ID | StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    rustix::fs::statx(mount, c"", AtFlags::EMPTY_PATH, wanted).map(|found| found.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_path_may_have_spaces() {
        assert_eq!(parse("7 boot /a b/c d"), Some((7, "boot", "/a b/c d")));
        for other in ["", "/rootfs", "x boot /a", "7 boot"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
