//! Starting a monitor, and reaching one that is there.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Beginning, Monitored, NAME, runtime_folder, socket_path};
use crate::container::event::{Happening, note};
use crate::container::own::{Own, remove_volumes, set_aside_folder};
use crate::container::own_cgroup::start;
use crate::container::record::ContainerRecord;
use crate::container::unreaped::leave_unreaped;
use crate::error::{Context, Error, Result};
use crate::inside::null;
use crate::store::{ContainerFolder, ContainerId, Lock, Store};

/// Starts the monitor of a container that is not running, and gives it the container's lock. The socket is that of its first client.
///
/// # Errors
/// It cannot be started.
pub fn start_monitor(store: &Store, own: Own) -> Result<UnixStream> {
    let Own { folder, record, lock } = own;
    spawn(store, &folder.id, &record, lock, Beginning::Make)
}

/// How long a monitor may take until it has a container in its hands.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a monitor for a container that runs and whose own was killed. How the container ends from now on is recorded.
///
/// # Errors
/// It cannot be started.
pub fn adopt(store: &Store, folder: &ContainerFolder, record: &ContainerRecord, lock: Lock) -> Result<()> {
    let mut monitor = spawn(store, &folder.id, record, lock, Beginning::Adopt)?;
    // It closes its end when it has found the container, or that it is gone. Somebody who stops it keeps nobody waiting.
    let _ = monitor.set_read_timeout(Some(PATIENCE));
    let _ = std::io::copy(&mut monitor, &mut std::io::sink());
    Ok(())
}

/// Starts a monitor for a container that is to be started again, and whose own was killed before it did.
///
/// # Errors
/// It cannot be started.
pub fn start_again(
    store: &Store,
    folder: &ContainerFolder,
    record: &ContainerRecord,
    lock: Lock,
) -> Result<()> {
    spawn(store, &folder.id, record, lock, Beginning::Again).map(drop)
}

fn spawn(
    store: &Store,
    id: &ContainerId,
    record: &ContainerRecord,
    lock: Lock,
    beginning: Beginning,
) -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair().context(|| "a pair of sockets")?;
    let place = store.place();
    let arguments = [NAME, beginning.name()].map(OsStr::new);
    let arguments =
        [&arguments[..], &[place.data.as_os_str(), place.runtime.as_os_str(), id.as_str().as_ref()]];
    let lock = OwnedFd::from(lock);
    let null = null()?;
    let streams = [lock.as_fd(), theirs.as_fd(), null.as_fd()];
    let parent = record.options.namespaces.cgroup_parent.as_deref();
    leave_unreaped(start(&arguments.concat(), streams, parent).context(|| "start a monitor")?);
    Ok(ours)
}

/// Reaches the monitor of a container that is running; `None` if there is none.
///
/// # Errors
/// It does not answer.
pub fn connect(store: &Store, id: &ContainerId) -> Result<Option<UnixStream>> {
    use std::io::ErrorKind;
    let path = socket_path(&runtime_folder(store, id));
    match UnixStream::connect(&path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).context(|| path.display().to_string()),
    }
}

impl Monitored {
    /// Makes the folder of its socket and pipes.
    pub(super) fn make_runtime_folder(&self) -> Result<std::path::PathBuf> {
        let folder = runtime_folder(&self.store, &self.folder.id);
        // The runtime's own folder, as it makes it, so that a container's users get at the files in its state.
        self.store.place().make_runtime()?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.context(|| format!("make the folder {}", folder.display()))?;
        Ok(folder)
    }

    /// Lets others work on the container, whose end is recorded, or removes it.
    pub(super) fn give_up(&mut self) -> Result<()> {
        let removed = if self.record.auto_remove { self.remove() } else { Ok(()) };
        let folder = runtime_folder(&self.store, &self.folder.id);
        // Right before the lock: by the socket others wait for that.
        let forgotten = std::fs::remove_dir_all(&folder);
        self.lock = None;
        match forgotten {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                removed.and(Err(Error::from(error).context(folder.display())))
            }
            _ => removed,
        }
    }

    fn remove(&mut self) -> Result<()> {
        remove_volumes(&self.store, &self.record)?;
        self.leftover = Some(set_aside_folder(&self.store, &self.folder, Some(&self.record))?);
        note(&self.store, &self.record, &Happening::Destroy);
        Ok(())
    }
}
