//! Files that are there as a whole or not at all.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::{PARTIAL, beside, fresh_name};
use crate::error::{Context, Result};
use crate::file;

/// Whatever is there, nobody waits for it.
const READING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Writes a file that survives the power: a file beside it, synced, renamed, and its folder synced.
///
/// # Errors
/// The old content is there then.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, true)?;
    sync_folder(path)
}

/// The same without syncing: after a loss of power the file may be the old one, empty or missing.
///
/// # Errors
/// The old content is there then.
pub fn write_without_sync(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, false)
}

fn write(path: &Path, content: &[u8], synced: bool) -> Result<()> {
    let partial = beside(path, &fresh_name(PARTIAL)?);
    let written = || -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(&partial, flags, Mode::from(0o644))?);
        file.write_all(content)?;
        if synced {
            file.sync_all()?;
        }
        std::fs::rename(&partial, path)
    };
    written().context(|| format!("write {}", path.display())).inspect_err(|_| {
        // The next command would remove it as well.
        let _ = std::fs::remove_file(&partial);
    })
}

/// Reads a small file in as few calls as there can be, for lists read hundreds, and has it parsed. `None` if it is not there.
///
/// # Errors
/// It is no file, or cannot be read.
pub fn read_whole<T>(path: &Path, parse: impl FnOnce(&[u8]) -> T) -> std::io::Result<Option<T>> {
    let file = match rustix::fs::open(path, READING, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        // A socket.
        Err(Errno::NXIO) => return Err(file::no_file()),
        file => file?,
    };
    read_all(&file, parse).map(Some)
}

/// The same of what nothing can be wrong with: a file that is there, and the caller's.
pub(super) fn read_own<T>(path: &Path, caller: Uid, parse: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let file = rustix::fs::open(path, READING | OFlags::NOFOLLOW, Mode::empty()).ok()?;
    let status = rustix::fs::fstat(&file).ok()?;
    let is_own = is_file(&status) && status.st_uid == caller.as_raw();
    if is_own { read_all(&file, parse).ok() } else { None }
}

fn read_all<T>(file: &OwnedFd, parse: impl FnOnce(&[u8]) -> T) -> std::io::Result<T> {
    // On the stack: where the heap gives memory back, a block for each file is mapped and unmapped for each file.
    let mut first = [0; 4096];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut first[..]));
    // Less than there was room for is all there is.
    if let Ok(read @ 1..4096) = read {
        return Ok(parse(&first[..read]));
    }
    // A FIFO gives nothing or an error, many a device more than there is room for.
    if !is_file(&rustix::fs::fstat(file)?) {
        return Err(file::no_file());
    }
    if read? == 0 {
        return Ok(parse(&[]));
    }
    let mut text = first.to_vec();
    loop {
        text.reserve(text.len());
        rustix::io::retry_on_intr(|| rustix::io::read(file, spare_capacity(&mut text)))?;
        if text.len() < text.capacity() {
            return Ok(parse(&text));
        }
    }
}

fn is_file(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
}

/// Syncs the folder of a path, so that a rename there survives.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).context(|| format!("sync {}", folder.display()))
}
