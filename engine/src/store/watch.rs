//! Changes in a folder, for those who follow a file in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::Timespec;
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::error::Result;

/// How often it is looked where the kernel does not tell: it has so many watchers for a user, 128 by default, whose other programs
/// need some as well.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How often it is looked where it does: some file systems do not.
const LOOK_ANYWAY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A watched folder.
#[derive(Debug)]
pub struct FolderWatch(Option<OwnedFd>);

impl FolderWatch {
    /// Begins to watch what is made in a folder, and what is written there.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn begin(folder: &Path) -> Result<FolderWatch> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = match inotify::init(flags) {
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return Ok(FolderWatch(None)),
            watch => watch?,
        };
        let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        match inotify::add_watch(&watch, folder, wanted) {
            Err(Errno::NOSPC | Errno::NOMEM) => Ok(FolderWatch(None)),
            added => Ok(added.map(|_| FolderWatch(Some(watch)))?),
        }
    }

    /// One whom nobody tells anything.
    #[cfg(test)]
    pub fn untold() -> FolderWatch {
        FolderWatch(None)
    }

    /// What is to be waited for, if anything is, and for how long at most.
    pub fn wait(&self) -> (Option<BorrowedFd<'_>>, Timespec) {
        match &self.0 {
            Some(watch) => (Some(watch.as_fd()), LOOK_ANYWAY),
            None => (None, LOOK),
        }
    }

    /// Forgets what it was told: what has happened is seen in the files.
    pub fn forget(&self) {
        let Some(watch) = &self.0 else { return };
        let mut told = [0; 4096];
        while rustix::io::read(watch, &mut told).is_ok_and(|length| length > 0) {}
    }
}
