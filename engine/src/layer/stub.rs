//! What the runtime has made in a container's root to mount something there: empty files and folders that nobody asked for.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::tree::split;
use crate::error::{Context, Result};

/// Removes empty files and folders from `upper` that no layer of `lower` has, the topmost one first. A folder that is then as it is
/// below, with nothing in it, goes as well.
///
/// # Errors
/// The kernel refused.
pub fn remove_stubs(upper: &Path, lower: &[PathBuf], paths: &[String]) -> Result<()> {
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).context(|| path.display().to_string())
    };
    let upper = open(upper)?;
    let lower = lower.iter().map(|layer| open(layer)).collect::<Result<Vec<_>>>()?;
    // What lies deeper goes first.
    let mut paths: Vec<&[u8]> = paths.iter().map(|path| path.trim_matches('/').as_bytes()).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in paths.into_iter().filter(|path| !path.is_empty()) {
        if seen(&lower, path)?.is_none() {
            remove(&upper, &lower, path).context(|| String::from_utf8_lossy(path).into_owned())?;
        }
    }
    Ok(())
}

fn remove(upper: &OwnedFd, lower: &[OwnedFd], path: &[u8]) -> Result<()> {
    let (above, name) = split(path);
    // A link or a file that the program has put there is no place of ours.
    let Ok(folder) = below(upper, above, OFlags::PATH | OFlags::DIRECTORY) else { return Ok(()) };
    let Ok(status) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    let removed = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR),
        FileType::RegularFile if status.st_size == 0 => rustix::fs::unlinkat(&folder, name, AtFlags::empty()),
        _ => return Ok(()),
    };
    match removed {
        Err(Errno::NOTEMPTY) => Ok(()),
        removed => {
            removed?;
            restore(upper, lower, above)
        }
    }
}

/// The folder is as it was.
fn restore(upper: &OwnedFd, lower: &[OwnedFd], path: &[u8]) -> Result<()> {
    let Some(before) = seen(lower, path)? else { return Ok(()) };
    let folder = below(upper, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let is_empty =
        Dir::read_from(&folder)?.flatten().all(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."));
    if !is_empty {
        return Ok(());
    }
    let now = rustix::fs::fstat(&folder)?;
    let is_same = (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid);
    let is_opaque = ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|mark| rustix::fs::fgetxattr(&folder, *mark, &mut [0; 1][..]).is_ok());
    if is_same && !is_opaque && !path.is_empty() {
        let (above, name) = split(path);
        let above = below(upper, above, OFlags::PATH | OFlags::DIRECTORY)?;
        return Ok(rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR)?);
    }
    let moment = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    let times = Timestamps {
        last_access: moment(before.st_atime, before.st_atime_nsec),
        last_modification: moment(before.st_mtime, before.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(&folder, &times)?)
}

/// What the layers have at a path together.
fn seen(layers: &[OwnedFd], path: &[u8]) -> Result<Option<Stat>> {
    for layer in layers {
        match below(layer, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(found) => {
                let status = rustix::fs::fstat(&found)?;
                let is_hidden = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
                    && status.st_rdev == 0;
                return Ok((!is_hidden).then_some(status));
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

fn below(top: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}
