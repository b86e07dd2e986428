//! Clients that are there before the monitor: each has a socket in the runtime folder, to which the monitor connects before the
//! program runs. So nothing of what that writes is lost to them, whoever starts it.

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::client::Client;
use super::protocol::{Hello, VERSION};
use crate::error::{Context, Result};
use crate::store::{ContainerId, Store, random_id};

/// A client that waits for the monitor of a container. The socket goes with the value; what a killed client leaves refuses
/// connections, and is removed then.
#[derive(Debug)]
pub struct Waiting {
    path: PathBuf,
    listener: UnixListener,
}

impl Waiting {
    /// From now on the next monitor of the container comes, and needs not be told what is wanted.
    ///
    /// # Errors
    /// There can be no socket.
    pub fn begin(store: &Store, id: &ContainerId, hello: Hello) -> Result<Waiting> {
        let folder = folder(store);
        store.place().make_runtime()?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.context(|| folder.display().to_string())?;
        let path = folder.join(format!("{}{}", prefix(id, hello), &random_id()?[..16]));
        let listener = UnixListener::bind(&path).context(|| path.display().to_string())?;
        Ok(Waiting { path, listener })
    }

    /// What to wait on until the monitor comes.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// The monitor, which has come.
    ///
    /// # Errors
    /// It has gone again.
    pub fn accept(&self) -> Result<UnixStream> {
        Ok(self.listener.accept().context(|| "the container's monitor")?.0)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Beside the monitors' own folders.
fn folder(store: &Store) -> PathBuf {
    store.place().runtime.join(".waiting")
}

/// What a client wants stands in the name of its socket: the monitor does not wait for it to say so.
fn prefix(id: &ContainerId, hello: Hello) -> String {
    let letter = |is_wanted, letter| if is_wanted { letter } else { '-' };
    format!("{}.{}{}.", id.short(), letter(hello.output, 'o'), letter(hello.input, 'i'))
}

/// Connects to all who wait for a container.
pub fn gather(store: &Store, id: &ContainerId) -> Vec<Client> {
    let wants = |name: &str| {
        let marks = name.strip_prefix(id.short())?.strip_prefix('.')?.split('.').next()?;
        Some(Hello { version: VERSION, output: marks.contains('o'), input: marks.contains('i') })
    };
    let entries = std::fs::read_dir(folder(store)).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let hello = wants(entry.file_name().to_str()?)?;
        Client::of(reach(&entry.path())?, hello).ok()
    });
    found.collect()
}

fn reach(path: &Path) -> Option<UnixStream> {
    let reached = UnixStream::connect(path);
    if reached.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) {
        // Of one that was killed.
        let _ = std::fs::remove_file(path);
    }
    reached.ok()
}
