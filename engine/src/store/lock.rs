//! flock(2) on the thing itself. A lock ends with its holder.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::message;

/// Whether others may hold the lock as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// For use.
    Shared,
    /// For changes and removal.
    Exclusive,
}

/// How long nobody has to be told what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often whoever waits for a lock looks what its holder does.
const LOOK: Duration = Duration::from_millis(200);

/// A lock that is held until the value is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Locks the file or folder at `path`; `None` if another process holds it.
    ///
    /// # Errors
    /// It is not there.
    pub fn try_at(path: &Path, sharing: Sharing) -> Result<Option<Lock>> {
        loop {
            let file = open(path)?;
            match rustix::fs::flock(&file, operation(sharing, true)) {
                Ok(()) if is_still_at(&file, path) => return Ok(Some(Lock(file))),
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| format!("lock {}", path.display())),
            }
        }
    }

    /// Locks it as soon as nobody else holds it. After a second, what is waited for is said on stderr.
    ///
    /// # Errors
    /// It is not there, or not there any more.
    pub fn at(path: &Path, sharing: Sharing, what: &str) -> Result<Lock> {
        // Nothing tells after a second that flock is still waiting but a signal or a second thread: so a short poll at first.
        if let Some(lock) = Lock::within(path, sharing, PATIENCE)? {
            return Ok(lock);
        }
        notice(what);
        loop {
            let file = open(path)?;
            match rustix::fs::flock(&file, operation(sharing, false)) {
                Ok(()) if is_still_at(&file, path) => return Ok(Lock(file)),
                Ok(()) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| format!("lock {}", path.display())),
            }
        }
    }

    /// The same, and `look` is called before it is waited and again and again meanwhile: what the holder does may have changed.
    ///
    /// # Errors
    /// As for that; those of `look`.
    pub fn at_looking(
        path: &Path,
        sharing: Sharing,
        what: &str,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<Lock> {
        let (began, mut is_told) = (Instant::now(), false);
        loop {
            look()?;
            if let Some(lock) = Lock::within(path, sharing, LOOK)? {
                return Ok(lock);
            }
            if began.elapsed() >= PATIENCE && !std::mem::replace(&mut is_told, true) {
                notice(what);
            }
        }
    }

    /// Locks it if nobody else holds it for longer than that.
    fn within(path: &Path, sharing: Sharing, time: Duration) -> Result<Option<Lock>> {
        let began = Instant::now();
        while began.elapsed() < time {
            if let Some(lock) = Lock::try_at(path, sharing)? {
                return Ok(Some(lock));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }

    /// Whether it is on this very file, and not on another one that had its name before.
    pub fn is_of(&self, file: &File) -> bool {
        match (self.0.metadata(), file.metadata()) {
            (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
            _ => false,
        }
    }

    /// Makes a lock that is held alone one that is held with others.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn share(&self) -> Result<()> {
        rustix::fs::flock(&self.0, FlockOperation::LockShared).context(|| "share a lock")
    }
}

impl From<Lock> for OwnedFd {
    /// To give it to another process.
    fn from(lock: Lock) -> OwnedFd {
        lock.0.into()
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn notice(what: &str) {
    message::say(format_args!("waiting for another command that uses {what}"));
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from).context(|| path.display().to_string())
}

fn operation(sharing: Sharing, at_once: bool) -> FlockOperation {
    match (sharing, at_once) {
        (Sharing::Shared, true) => FlockOperation::NonBlockingLockShared,
        (Sharing::Shared, false) => FlockOperation::LockShared,
        (Sharing::Exclusive, true) => FlockOperation::NonBlockingLockExclusive,
        (Sharing::Exclusive, false) => FlockOperation::LockExclusive,
    }
}

/// Whoever held it before may have removed it, and another one may be there.
fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_share_and_a_remover_is_alone() {
        let folder = std::env::temp_dir().join(format!("box-lock-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let first = Lock::try_at(&folder, Sharing::Shared).unwrap().unwrap();
        let second = Lock::try_at(&folder, Sharing::Shared).unwrap();
        assert!(second.is_some());
        assert!(Lock::try_at(&folder, Sharing::Exclusive).unwrap().is_none());
        drop((first, second));
        let alone = Lock::try_at(&folder, Sharing::Exclusive).unwrap().unwrap();
        assert!(Lock::try_at(&folder, Sharing::Shared).unwrap().is_none());
        std::fs::remove_dir(&folder).unwrap();
        drop(alone);
        assert!(Lock::try_at(&folder, Sharing::Shared).is_err());
    }
}
