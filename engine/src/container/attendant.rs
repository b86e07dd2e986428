//! Attends a program of `exec --detach`: it is its parent, so that somebody knows how it ended, and writes that down.
//!
//! It is this program once more. Its stdin is a socket to the command that wants the program: on it comes what is asked for, and why it
//! could not begin goes back, or nothing.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::event::{ExecEvent, ExecHappening, Happening, note};
use super::exec::{ExecRequest, not_begun, options_of};
use super::exec_session::ExecSession;
use super::monitor::Failure;
use super::own_cgroup::{OwnCgroup, start};
use super::record::ContainerRecord;
use super::unreaped::leave_unreaped;
use crate::error::{Context, Error, Kind, Result};
use crate::inside::{leave_streams, null};
use crate::store::{ContainerFolder, Store, random_id};

/// The name by which the program is called for it.
const NAME: &str = "box-attendant";

/// What it is asked for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    /// The container.
    container: String,
    /// The id of the program.
    id: String,
    request: ExecRequest,
}

/// Begins a program without streams, and leaves it to a process of its own.
///
/// # Errors
/// The container does not run; the program cannot be executed.
pub fn exec_detached(store: &Store, folder: &ContainerFolder, request: ExecRequest) -> Result<()> {
    let record = ContainerRecord::of(folder)?;
    // What is wrong with it is found before it is told of.
    options_of(store, folder, &request)?;
    let id = random_id()?;
    let happens = |what| note(store, &record, &Happening::Exec(ExecHappening { id: id.clone(), what }));
    happens(ExecEvent::Create(request.command.clone()));
    happens(ExecEvent::Start(request.command.clone()));
    attend(store, folder, &record, &id, request).inspect_err(|error| happens(ExecEvent::Die(error.status())))
}

/// It has begun when this returns.
fn attend(
    store: &Store,
    folder: &ContainerFolder,
    record: &ContainerRecord,
    id: &str,
    request: ExecRequest,
) -> Result<()> {
    let (mut ours, theirs) = UnixStream::pair().context(|| "a pair of sockets")?;
    let place = store.place();
    let arguments = [NAME.as_ref(), place.data.as_os_str(), place.runtime.as_os_str()];
    let null = null()?;
    let streams = [theirs.as_fd(), null.as_fd(), null.as_fd()];
    let parent = record.options.namespaces.cgroup_parent.as_deref();
    leave_unreaped(
        start(&arguments, streams, parent).context(|| "start a process that attends the program")?,
    );
    drop(theirs);
    let task = Task { container: folder.id.as_str().to_string(), id: id.to_string(), request };
    let wrong = |error: serde_json::Error| Error::invalid(format!("exec: {error}"));
    let task = serde_json::to_vec(&task).map_err(wrong)?;
    let lost = || "the process that attends the program";
    ours.write_all(&task).and_then(|()| ours.shutdown(Shutdown::Write)).context(lost)?;
    let mut said = Vec::new();
    ours.read_to_end(&mut said).context(lost)?;
    match serde_json::from_slice::<Option<Failure>>(&said) {
        Ok(None) => Ok(()),
        Ok(Some(Failure { text, status, kind })) => {
            Err(Error::new(kind.unwrap_or(Kind::Host), text).with_status(status))
        }
        Err(_) => Err(Error::new(Kind::Host, "the process that attends the program has gone")),
    }
}

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| name == NAME)
}

/// What the program does when it was called for this; the result is its exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    // Nobody reads what it would say: whoever started it is told by the socket.
    u8::from(attended(arguments).is_err())
}

fn attended(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let mut next = || arguments.next().ok_or_else(|| Error::invalid("an argument is missing"));
    let (data, runtime) = (next()?, next()?);
    let cgroup = OwnCgroup::of_arguments(arguments);
    let stdin = rustix::stdio::stdin();
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin, 3).context(|| "the attendant's streams")?;
    leave_streams().context(|| "the attendant's streams")?;
    std::env::set_current_dir("/").context(|| "/")?;
    let store = Store::of_caller(Some(data.into()), Some(runtime.into()))?;
    let done = run(&store, UnixStream::from(socket));
    if let Some(cgroup) = cgroup {
        cgroup.leave();
    }
    done
}

fn run(store: &Store, mut socket: UnixStream) -> Result<()> {
    let mut task = Vec::new();
    socket.read_to_end(&mut task).context(|| "the command's socket")?;
    let task: Task =
        serde_json::from_slice(&task).map_err(|error| Error::invalid(format!("exec: {error}")))?;
    let folder = store.containers().find(&task.container)?;
    let begun = ExecSession::begin(store, &folder, &task.request, None).map_err(not_begun);
    let failure = begun.as_ref().err().map(|error| Failure {
        text: error.to_string(),
        status: error.status(),
        kind: Some(error.kind()),
    });
    // Whoever has gone meanwhile needs no answer.
    let _ = serde_json::to_writer(&socket, &failure);
    drop(socket);
    let session = begun?;
    let record = ContainerRecord::of(&folder)?;
    let status = session.finish(None)?;
    note(store, &record, &Happening::Exec(ExecHappening { id: task.id, what: ExecEvent::Die(status) }));
    Ok(())
}
