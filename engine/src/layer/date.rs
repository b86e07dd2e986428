//! Dating back: nothing in a layer is younger than a moment that its maker names, so that it is the same whenever it is made.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps};

use super::beneath::{WITHOUT_LINKS, open_beneath};
use crate::error::{Context, Result};

/// Sets the times of everything in a folder back that is younger than `latest`, in seconds since 1970.
///
/// # Errors
/// The kernel refused; the path is named.
pub fn date_back(folder: &Path, latest: i64) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(folder, flags, Mode::empty()).context(|| folder.display().to_string())?;
    let mut folders = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        let named = || String::from_utf8_lossy(&folder).into_owned();
        let opened = open(&top, &folder).context(named)?;
        for entry in Dir::read_from(&opened).context(named)? {
            let entry = entry.context(named)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let status = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW).context(named)?;
            if (status.st_mtime, status.st_mtime_nsec) > (latest, 0) {
                let moment = Timespec { tv_sec: latest, tv_nsec: 0 };
                let times = Timestamps { last_access: moment, last_modification: moment };
                rustix::fs::utimensat(&opened, name, &times, AtFlags::SYMLINK_NOFOLLOW).context(named)?;
            }
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                let path = match &folder[..] {
                    b"" => name.to_bytes().to_vec(),
                    folder => [folder, b"/", name.to_bytes()].concat(),
                };
                folders.push(path);
            }
        }
    }
    Ok(())
}

fn open(top: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    open_beneath(top, path, OFlags::RDONLY | OFlags::DIRECTORY, WITHOUT_LINKS)
}
