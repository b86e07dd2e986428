//! Which state of a folder was seen.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use crate::error::{Context, Result};

/// How old a change must be before what is read after it counts as all there is: kernels before 6.13 stamp changes by their clock's
/// ticks, of which one may hold several.
const SETTLED: Duration = Duration::from_millis(50);

/// The state of a folder in which files are replaced and never changed in place: another one after each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The folder's inode.
    pub inode: u64,
    /// When something in it was made, replaced or removed last, since 1970: the time that nobody can set, as whoever restores files
    /// sets the others.
    pub changed: Duration,
}

impl Stamp {
    /// Of a folder that nobody has made yet.
    pub const NOWHERE: Stamp = Stamp { inode: 0, changed: Duration::ZERO };

    /// Of a folder; `None` if there is none.
    pub fn of(folder: &Path) -> Option<Stamp> {
        rustix::fs::stat(folder).ok().map(Stamp::from)
    }

    /// Whether nothing more can happen to the folder that leaves it this stamp. `now` is when it was taken, or before.
    pub fn is_settled(self, now: Duration) -> bool {
        now.checked_sub(self.changed).is_some_and(|age| age >= SETTLED)
    }
}

impl From<Stat> for Stamp {
    fn from(status: Stat) -> Stamp {
        let seconds = u64::try_from(status.st_ctime).unwrap_or(0);
        let nanoseconds = u32::try_from(status.st_ctime_nsec).unwrap_or(0);
        Stamp { inode: status.st_ino, changed: Duration::new(seconds, nanoseconds) }
    }
}

/// A folder of many, each of which is looked at.
#[derive(Debug)]
pub struct Stamps(OwnedFd);

impl Stamps {
    /// Of the folders in this one.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn within(folder: &Path) -> Result<Stamps> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty());
        opened.map(Stamps).context(|| format!("read {}", folder.display()))
    }

    /// That of the folder itself.
    pub fn own(&self) -> Option<Stamp> {
        rustix::fs::fstat(&self.0).ok().map(Stamp::from)
    }

    /// That of one in it; `None` if it is gone.
    pub fn of(&self, name: &str) -> Option<Stamp> {
        rustix::fs::statat(&self.0, name, AtFlags::empty()).ok().map(Stamp::from)
    }
}

/// The time since 1970 by the clock that stamps files.
pub fn stamping_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_set_back_hides_no_change() {
        let folder = std::env::temp_dir().join(format!("box-stamps-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let before = Stamp::of(&folder).unwrap();
        let modified = std::fs::metadata(&folder).unwrap().modified().unwrap();
        std::thread::sleep(SETTLED);
        std::fs::write(folder.join("file"), "").unwrap();
        std::fs::File::open(&folder).unwrap().set_modified(modified).unwrap();
        assert_ne!(Stamp::of(&folder), Some(before));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
