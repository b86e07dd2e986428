//! tmpcopyup: copies into a new tmpfs what it is going to cover.
//!
//! Every file is opened by its name relative to its folder's descriptor, and no symbolic link is ever
//! followed. So only what lies in the folder is read, wherever the image's links point, even if another
//! process changes the image meanwhile.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use heapless::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::path::{PATH_MAX, c_str};

/// How deeply folders may be nested; each level takes two descriptors and a few kilobytes of the stack.
const DEPTH_MAX: u32 = 64;

/// The most bytes that the names of a file's extended attributes can have, and also that one value can have:
/// XATTR_LIST_MAX, XATTR_SIZE_MAX.
const ATTRIBUTES_MAX: usize = 65_536;

/// Copies the content of `from` into `to`; after a failure `culprit` has the name of the file that could not
/// be copied.
pub fn copy<const N: usize>(from: &OwnedFd, to: &OwnedFd, culprit: &mut Vec<u8, N>) -> Result<(), Errno> {
    // The mount's target is an O_PATH descriptor, which cannot be listed.
    let from = open(from, c".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let to = open(to, c".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    copy_folder(&from, &to, 0, culprit)
}

/// Opens one name in a folder. Never follows a link, and never blocks.
fn open(folder: &OwnedFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn copy_folder<const N: usize>(
    from: &OwnedFd,
    to: &OwnedFd,
    depth: u32,
    culprit: &mut Vec<u8, N>,
) -> Result<(), Errno> {
    if depth == DEPTH_MAX {
        return Err(Errno::LOOP);
    }
    let mut space = [const { MaybeUninit::<u8>::uninit() }; 2048];
    let mut entries = RawDir::new(from, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if let Err(errno) = copy_entry(from, to, name, depth, culprit) {
            // The deepest call failed first, and has set it.
            if culprit.is_empty() {
                let _ = culprit.extend_from_slice(name.to_bytes());
            }
            return Err(errno);
        }
    }
    Ok(())
}

fn copy_entry<const N: usize>(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    depth: u32,
    culprit: &mut Vec<u8, N>,
) -> Result<(), Errno> {
    let status = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => {
            let source = open(from, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let made = open(to, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            copy_folder(&source, &made, depth + 1, culprit)?;
            copy_attributes(&source, &made, &status)
        }
        FileType::RegularFile => copy_file(from, to, name),
        FileType::Symlink => copy_link(from, to, name, &status),
        kind => copy_node(to, name, kind, &status),
    }
}

#[inline(never)]
fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let source = open(from, name, OFlags::RDONLY)?;
    // Checked again on the open file: the name may refer to another file by now.
    let status = rustix::fs::fstat(&source)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Errno::AGAIN);
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    const AT_ONCE: usize = 1 << 30;
    while rustix::fs::sendfile(&made, &source, None, AT_ONCE)? > 0 {}
    copy_attributes(&source, &made, &status)
}

#[inline(never)]
fn copy_link(from: &OwnedFd, to: &OwnedFd, name: &CStr, status: &Stat) -> Result<(), Errno> {
    let mut text = [0u8; PATH_MAX];
    // The last byte stays NUL. A text that fills the rest was truncated, and is longer than any path.
    let length = rustix::fs::readlinkat_raw(from, name, &mut text[..PATH_MAX - 1])?;
    if length == PATH_MAX - 1 {
        return Err(Errno::NAMETOOLONG);
    }
    rustix::fs::symlinkat(c_str(&text)?, to, name)?;
    own(rustix::fs::chownat(to, name, uid(status), gid(status), AtFlags::SYMLINK_NOFOLLOW)).map(drop)
}

/// Copies a device, a pipe or a socket.
#[inline(never)]
fn copy_node(to: &OwnedFd, name: &CStr, kind: FileType, status: &Stat) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
    match rustix::fs::mknodat(to, name, kind, mode, status.st_rdev as _) {
        Ok(()) => {}
        // Devices cannot be made in a user namespace: the copy does without them.
        Err(Errno::PERM) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    own(rustix::fs::chownat(to, name, uid(status), gid(status), AtFlags::SYMLINK_NOFOLLOW))?;
    // No other process can reach the tmpfs yet: the name is that of the new node, not of a link.
    rustix::fs::chmodat(to, name, mode, AtFlags::empty())
}

fn uid(status: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(status.st_uid))
}

fn gid(status: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(status.st_gid))
}

/// Whether the owner could be set. A file whose owner is not mapped in this user namespace belongs to its
/// root.
fn own(result: Result<(), Errno>) -> Result<bool, Errno> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Copies owner, extended attributes, mode and times, in the order in which none undoes another.
#[inline(never)]
fn copy_attributes(from: &OwnedFd, to: &OwnedFd, status: &Stat) -> Result<(), Errno> {
    let owned = own(rustix::fs::fchown(to, uid(status), gid(status)))?;
    copy_extended_attributes(from, to);
    // A set-id program of an unmapped user must not become root's.
    let mode = status.st_mode & if owned { 0o7777 } else { 0o1777 };
    rustix::fs::fchmod(to, Mode::from_raw_mode(mode))?;
    let time = |seconds: i64, nanoseconds: i64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(status.st_atime, status.st_atime_nsec as i64),
        last_modification: time(status.st_mtime, status.st_mtime_nsec as i64),
    };
    rustix::fs::futimens(to, &times)
}

/// Copies the extended attributes that the tmpfs accepts from this process.
#[inline(never)]
fn copy_extended_attributes(from: impl AsFd, to: impl AsFd) {
    // Pages of these buffers that nothing is written to take no memory.
    let mut names = [const { MaybeUninit::uninit() }; ATTRIBUTES_MAX];
    let mut value = [const { MaybeUninit::uninit() }; ATTRIBUTES_MAX];
    let Ok((names, _)) = rustix::fs::flistxattr(&from, &mut names[..]) else { return };
    let mut rest = &*names;
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = &rest[name.count_bytes() + 1..];
        if let Ok((value, _)) = rustix::fs::fgetxattr(&from, name, &mut value[..]) {
            let _ = rustix::fs::fsetxattr(&to, name, value, XattrFlags::empty());
        }
    }
}
