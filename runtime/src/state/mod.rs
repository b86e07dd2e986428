//! The state directory: what is known of a container when the runtime is gone, and what its status is.
//!
//! `ROOT/ID/` is made by mkdir, which is the lock on the id, and holds `state.json` (written by rename),
//! `cgroup` (a link whose text is the cgroup's path, made before the cgroup), `mounted` (likewise which mount of the
//! host's namespace is the root of a container without one of its own, and where) and `gate` (the socket that `start`
//! connects to, there until it did). Nothing in it says what the status is: that is asked of the kernel.

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
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;
use crate::spawn::{device_node, notify};

pub use crate::oci::Status;
pub use document::{Recorded, stored_config};
pub use journal::{Entry, NotedCgroup};
pub use process::{ProcessId, boot_id, send_signal};
pub use record::{Record, StoredRecord};
pub use root::Root;
pub use survey::Seen;

use survey::Survey;

const STATE: &str = "state.json";
/// It is written under this name.
const NEW: &str = "state.json.new";
const CGROUP: &str = "cgroup";
const GATE: &str = "gate";

/// How long a command waits for another one on the same container.
const PATIENCE: Duration = Duration::from_secs(10);

fn missing(id: &ContainerId) -> Error {
    Error::of(Kind::NotFound, format!("{id}: container does not exist"))
}

/// What everybody but `delete --force` says to what a killed `create` has left.
pub fn unfinished(id: &ContainerId) -> Error {
    Error::of(Kind::NotFound, format!("{id}: container does not exist: its creation was not finished"))
}

/// A container's folder, open.
#[derive(Debug)]
pub struct StateDirectory {
    root: OwnedFd,
    directory: OwnedFd,
    id: ContainerId,
    path: PathBuf,
}

impl StateDirectory {
    /// One command at a time changes what is recorded: flock(2) on the folder, until it is dropped. Nobody holds it while a
    /// program runs: who lives is asked of pidfds.
    ///
    /// # Errors
    /// Another command has had it for `patience`; the folder was removed meanwhile.
    pub fn lock(&self, patience: Duration) -> Result<()> {
        // The clock is not looked at for a lock that is free.
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
        // Whoever had the lock before may have deleted the container.
        match rustix::fs::fstat(&self.directory) {
            Ok(status) if status.st_nlink > 0 => Ok(()),
            Ok(_) => Err(missing(&self.id)),
            Err(errno) => Err(errno).context(|| format!("stat of {}", self.path.display())),
        }
    }

    /// Lets other commands have it, until the next [`Self::lock`].
    pub fn unlock(&self) -> Result<()> {
        rustix::fs::flock(&self.directory, FlockOperation::Unlock)
            .context(|| format!("unlock {}", self.path.display()))
    }

    /// [`Self::lock`], with the ordinary patience.
    pub fn lock_patiently(&self) -> Result<()> {
        self.lock(PATIENCE)
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The folder itself.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Removes the folder with what pillbox puts there; nothing is left in the journal.
    pub fn remove(&self) -> Result<()> {
        for name in [GATE, NEW, STATE] {
            match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {}/{name}", self.path.display())),
            }
        }
        let mut removed = rustix::fs::unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR);
        if removed == Err(Errno::NOTEMPTY) {
            // From a `create` that was killed.
            device_node::forget(self.folder());
            notify::forget(self.folder());
            removed = rustix::fs::unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR);
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).context(|| format!("remove {}", self.path.display())),
        }
    }

    /// What the kernel says about the container.
    pub fn status(&self, record: &Record) -> Result<Status> {
        self.status_of(record.init(), &record.boot_id, record.cgroup.as_deref())
    }

    fn status_of(&self, init: ProcessId, boot_id: &str, cgroup: Option<&str>) -> Result<Status> {
        Survey::default().status(self.is_gate_watched()?, init, boot_id, cgroup)
    }
}
