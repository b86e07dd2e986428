//! The monitor: the parent of a container that outlives its command. It copies output into the log and to whoever is attached, passes
//! input on, and records the end.
//!
//! It is this program once more, in a session of its own. Its stdin is the container's lock, which it holds as long as it lives;
//! its stdout is a socket to the command that started it, its first client.

mod client;
mod health;
mod input;
mod life;
mod names;
mod output;
mod protocol;
mod served;
mod spawn;
mod waiting;
mod watch;

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

pub(super) use input::Input;
pub(super) use output::{Look, Output};
pub use protocol::{Decoder, Failure, Hello, Kind, Size, VERSION, decode_value, encode, encode_value};
pub use spawn::{adopt, connect, start_again, start_monitor};
pub use waiting::Waiting;

use super::overlay::Overlay;
use super::own_cgroup::OwnCgroup;
use super::record::ContainerRecord;
use crate::error::{Context, Error, Result};
use crate::inside::leave_streams;
use crate::store::{ContainerFolder, ContainerId, Leftover, Store};

/// The name by which the program is called for it.
const NAME: &str = "box-monitor";

/// How a monitor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// It makes the container.
    Make,
    /// The container runs, and its monitor was killed.
    Adopt,
    /// The program has ended, and is started again.
    Again,
}

impl Beginning {
    fn name(self) -> &'static str {
        match self {
            Beginning::Make => "make",
            Beginning::Adopt => "adopt",
            Beginning::Again => "again",
        }
    }
}

/// The folder with a container's socket and pipes.
fn runtime_folder(store: &Store, id: &ContainerId) -> PathBuf {
    // Beside the runtime's own folders, which do not begin with a dot.
    store.place().runtime.join(".monitors").join(id.short())
}

/// Where others reach a container's monitor.
fn socket_path(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| name == NAME)
}

/// What the program does when it was called for this; the result is its exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    // Nobody reads what it would say: whoever started it is told by the socket.
    u8::from(monitor(arguments).is_err())
}

fn monitor(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let mut next = || arguments.next().ok_or_else(|| Error::invalid("an argument is missing"));
    let beginning = match next()?.to_str() {
        Some("adopt") => Beginning::Adopt,
        Some("again") => Beginning::Again,
        _ => Beginning::Make,
    };
    let (data, runtime, id) = (next()?, next()?, next()?);
    let cgroup = OwnCgroup::of_arguments(arguments);
    let (lock, first) = take_stdio()?;
    // So that a file system that was the command's can be unmounted.
    std::env::set_current_dir("/").context(|| "/")?;
    let store = Store::of_caller(Some(data.into()), Some(runtime.into()))?;
    let folder = store.containers().find(&id.to_string_lossy())?;
    let record = ContainerRecord::of(&folder)?;
    let monitored = Monitored { store, folder, record, lock: Some(lock), overlay: None, leftover: None };
    let lived = life::live(monitored, beginning, first);
    if let Some(cgroup) = cgroup {
        cgroup.leave();
    }
    lived
}

/// The container of a monitor.
#[derive(Debug)]
struct Monitored {
    store: Store,
    folder: ContainerFolder,
    record: ContainerRecord,
    /// Given up when everything is recorded.
    lock: Option<OwnedFd>,
    /// Of the run that has ended: it is unmounted when everybody has heard of that.
    overlay: Option<Overlay>,
    /// What is to be deleted of a container that is gone, when everybody has heard of that.
    leftover: Option<Leftover>,
}

/// The lock and the socket, in whose place there is nothing to read or write then.
fn take_stdio() -> Result<(OwnedFd, UnixStream)> {
    let take = |stream| rustix::io::fcntl_dupfd_cloexec(stream, 3).context(|| "the monitor's streams");
    let lock = take(rustix::stdio::stdin())?;
    let socket = take(rustix::stdio::stdout())?;
    leave_streams().context(|| "the monitor's streams")?;
    Ok((lock, UnixStream::from(socket)))
}
