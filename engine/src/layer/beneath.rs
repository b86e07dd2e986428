//! Opening something beneath a folder.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Through no link.
pub const WITHOUT_LINKS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Links lead to what they would in a container whose root the folder is.
pub const AS_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// openat2(2); an empty path is the folder itself. While others rename or mount something the kernel wants to be asked again.
///
/// # Errors
/// As the kernel says.
pub fn open_beneath(
    folder: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    create_beneath(folder, path, flags, Mode::empty(), resolve)
}

/// The same with the mode of a file that is made.
///
/// # Errors
/// As the kernel says.
pub fn create_beneath(
    folder: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    loop {
        match rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}
