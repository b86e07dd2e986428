//! The state directory: what is known of a container when no runtime runs, and how its status follows from
//! that. The status is recorded nowhere: the kernel is asked for it.
//!
//! May use `spawn` and every room below it.

mod document;
mod gate;
mod journal;
pub mod mount_note;
mod process;
mod record;
pub mod resctrl;
mod root;
mod survey;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;
use crate::spawn::{device_node, names, notify};

pub use crate::oci::Status;
pub use document::{Recorded, stored_config};
pub use journal::{Entry, NotedCgroup};
pub use process::{ProcessId, boot_id, send_signal};
pub use record::{NetworkRecord, Record, StoredRecord};
pub use root::Root;
pub use survey::Seen;

use survey::Survey;

const STATE: &str = "state.json";
/// state.json is written under this name and then renamed.
const NEW: &str = "state.json.new";
const CGROUP: &str = "cgroup";
const GATE: &str = "gate";

/// How long a command waits for another command on the same container.
const PATIENCE: Duration = Duration::from_secs(10);

fn missing(id: &ContainerId) -> Error {
    Error::of(Kind::NotFound, format!("{id}: container does not exist"))
}

/// What every command but `delete --force` answers if a `create` was killed halfway.
pub fn unfinished(id: &ContainerId) -> Error {
    Error::of(Kind::NotFound, format!("{id}: container does not exist: its creation was not finished"))
}

/// A container's folder, open.
///
/// `ROOT/ID/` is made by mkdir, which reserves the id. It holds `state.json` (written by rename); `cgroup`, a
/// link whose text is the cgroup's path, made before the cgroup; `mounted`, a link that names the mount of a
/// root in the host's mount namespace, for containers without one of their own; and `gate`, the socket that
/// `start` connects to, until the container has been started.
#[derive(Debug)]
pub struct StateDirectory {
    root: OwnedFd,
    directory: OwnedFd,
    id: ContainerId,
    path: PathBuf,
}

impl StateDirectory {
    /// Locks the folder by flock(2) until it is dropped: one command at a time changes what is recorded. The
    /// lock is not held while a program runs; whether one lives is known from its pidfd.
    ///
    /// # Errors
    /// Another command has held the lock for `patience`, or the folder was removed meanwhile.
    pub fn lock(&self, patience: Duration) -> Result<()> {
        // Saves reading the clock if the lock is free.
        let mut deadline = None;
        loop {
            match rustix::fs::flock(&self.directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN)
                    if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + patience) =>
                {
                    std::thread::sleep(Duration::from_millis(2))
                }
                Err(Errno::AGAIN) => {
                    let text = format!("container {}: another command is working on it", self.id);
                    return Err(Error::of(Kind::Busy, text));
                }
                Err(errno) => return Err(errno).context(|| format!("lock {}", self.path.display())),
            }
        }
        // The command that held the lock before may have deleted the container.
        match rustix::fs::fstat(&self.directory) {
            Ok(status) if status.st_nlink > 0 => Ok(()),
            Ok(_) => Err(missing(&self.id)),
            Err(errno) => Err(errno).context(|| format!("stat of {}", self.path.display())),
        }
    }

    /// Lets other commands lock the folder, until the next [`Self::lock`].
    pub fn unlock(&self) -> Result<()> {
        rustix::fs::flock(&self.directory, FlockOperation::Unlock)
            .context(|| format!("unlock {}", self.path.display()))
    }

    /// [`Self::lock`] with the usual time limit.
    pub fn lock_patiently(&self) -> Result<()> {
        self.lock(PATIENCE)
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder itself.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Removes the folder and everything that pillbox puts there. The journal must be empty.
    pub fn remove(&self) -> Result<()> {
        for name in [GATE, NEW, STATE] {
            match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {}/{name}", self.path.display())),
            }
        }
        let mut removed = rustix::fs::unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR);
        if removed == Err(Errno::NOTEMPTY) {
            // Of a container with files of its own, or left by a `create` that was killed.
            device_node::forget(self.folder());
            notify::forget(self.folder());
            names::forget(self.folder());
            removed = rustix::fs::unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR);
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).context(|| format!("remove {}", self.path.display())),
        }
    }

    /// The container's status, as the kernel knows it.
    pub fn status(&self, record: &Record) -> Result<Status> {
        self.status_of(record.init(), &record.boot_id, record.cgroup.as_deref())
    }

    fn status_of(&self, init: ProcessId, boot_id: &str, cgroup: Option<&str>) -> Result<Status> {
        Survey::default().status(self.is_gate_watched()?, init, boot_id, cgroup)
    }
}
