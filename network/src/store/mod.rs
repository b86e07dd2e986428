//! What is recorded of networks on this host: below one folder, which is void when the boot is over.
//!
//! | name | what |
//! |---|---|
//! | `lock` | locked by flock(2) while anything here is read or changed |
//! | `boot` | a link whose text is the boot's id; what is recorded in another boot is forgotten, for nothing of it exists |
//! | `networks/NAME` | a [`Network`](crate::Network) that was set up on the host, so that its rules can be put back |
//! | `attachments/KEY` | an [`Attachment`](crate::Attachment), written before any of it is made |
//! | `leases/NETWORK/ADDRESS` | a link whose text is the key of the attachment that has the address |
//! | `leases/NETWORK/order-SUBNET` | which addresses were given, and which were freed in which order |
//! | `ports/PROTOCOL-PORT/ADDRESS` | a link whose text is the key of the attachment that has the port of that address of the host's, or of `any` |
//! | `new` | a record that is being written |
//!
//! Links and records are complete or absent, whenever a command is killed. What an address or a port is
//! reserved for is said by the attachment alone: a link that its attachment does not list, or whose
//! attachment is not there, reserves nothing, and the next command that needs it takes it over.

mod folder;
mod holder;
mod lease;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod leftover_tests;
mod order;
mod port;
mod port_name;
mod process;
mod record;
mod reservation;
mod socket;
mod sweep;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use folder::Folder;

pub use record::Stale;
pub use reservation::Reservation;
pub use sweep::Swept;

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const LOCK: &str = "lock";
const BOOT: &str = "boot";

/// How long a command waits for others: a crowd of them on a busy machine takes more than ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder with what is recorded.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    boot: String,
}

impl Store {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    /// It belongs to another user, others may write to it, it cannot be made.
    pub fn open(path: &Path) -> Result<Store> {
        Store::with(Folder::make(path)?)
    }

    /// Opens the folder if it is there.
    ///
    /// # Errors
    /// It belongs to another user, others may write to it.
    pub fn find(path: &Path) -> Result<Option<Store>> {
        Folder::open(path)?.map(Store::with).transpose()
    }

    fn with(folder: Folder) -> Result<Store> {
        let boot = std::fs::read_to_string(BOOT_ID).context(format_args!("read {BOOT_ID}"))?;
        Ok(Store { folder, boot: boot.trim_end().to_string() })
    }

    /// The id of this boot, for [`Attachment::boot`](crate::Attachment).
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Waits until no other command works here, up to a minute, and keeps all others out.
    ///
    /// # Errors
    /// [`Kind::Busy`]: other commands have held the lock for that long.
    pub fn lock(&self) -> Result<Locked<'_>> {
        self.lock_within(PATIENCE)
    }

    /// [`lock`](Self::lock) with another time limit.
    ///
    /// # Errors
    /// The same.
    pub fn lock_within(&self, patience: Duration) -> Result<Locked<'_>> {
        // Opened anew each time: one open file would not keep a program's own threads apart.
        let lock = self.folder.open_file(LOCK, OFlags::RDWR | OFlags::CREATE)?;
        self.wait_for(&lock, patience)?;
        let locked = Locked { store: self, _lock: lock, made: Vec::new() };
        if self.folder.text(BOOT)?.as_deref() != Some(&self.boot) {
            self.forget()?;
        }
        Ok(locked)
    }

    fn wait_for(&self, lock: &OwnedFd, patience: Duration) -> Result<()> {
        // The clock is read only if the lock is not free.
        let mut deadline = None;
        let mut pause = Duration::from_micros(100);
        loop {
            match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::AGAIN) => {}
                result => return result.context(format_args!("{}", self.folder.step("lock", LOCK))),
            }
            let now = Instant::now();
            if now >= *deadline.get_or_insert(now + patience) {
                let held = format!("other commands have held it for {} ms", patience.as_millis());
                return Err(Error::new(Kind::Busy, format!("{}: {held}", self.folder.step("lock", LOCK))));
            }
            std::thread::sleep(pause);
            // A crowd that asked more often would keep the processors from the command that has the lock.
            pause = Duration::from_millis(10).min(pause * 2);
        }
    }

    /// Removes what another boot has left, and begins anew.
    fn forget(&self) -> Result<()> {
        for name in self.folder.names(".")?.iter().filter(|name| *name != LOCK && *name != BOOT) {
            self.folder.remove_all(name)?;
        }
        self.folder.unlink(BOOT)?;
        self.folder.link(BOOT, &self.boot).map(drop)
    }
}

/// The store while all others are kept out. What was reserved meanwhile, but is in no attachment that was
/// noted, is given back when this is dropped.
#[derive(Debug)]
pub struct Locked<'a> {
    store: &'a Store,
    /// Closing it unlocks.
    _lock: OwnedFd,
    /// What was reserved and not noted yet, and the attachments' keys.
    made: Vec<(Reservation, String)>,
}

impl Locked<'_> {
    /// The id of this boot.
    pub(crate) fn boot(&self) -> &str {
        &self.store.boot
    }

    fn folder(&self) -> &Folder {
        &self.store.folder
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        for (reservation, key) in std::mem::take(&mut self.made) {
            // What stays for an error reserves nothing.
            let _ = self.free(&reservation, &key);
        }
    }
}

/// Checks a name that becomes that of a file.
fn check_name(what: &str, name: &str) -> Result<()> {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+:-".contains(&byte);
    if (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_right) {
        return Ok(());
    }
    Err(Error::invalid(format_args!(
        "{what} {name:?}: must be 1 to 200 letters, digits and _.+:-, not beginning with a dot"
    )))
}
