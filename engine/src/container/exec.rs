//! One more program in a container that runs.

use pillbox::{ExecOptions, Root, Stdio};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compile::compile_exec;
use super::detach::DetachKeys;
use super::event::{ExecEvent, ExecHappening, Happening, note};
use super::facts::Facts;
use super::keeper::keep_terminal;
use super::options::{Options, Streams};
use super::record::ContainerRecord;
use super::root::RootFolders;
use super::status::{open_running, unless_ended};
use super::streams::{Account, Copying, ProgramStreams, connect};
use super::terminal::{Parting, converse};
use crate::error::{Error, Kind, Result, STATUS};
use crate::store::{ContainerFolder, Store, random_id};

/// What is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// More variables.
    pub environment: Vec<String>,
    /// Its working folder, instead of the container's.
    pub workdir: Option<String>,
    /// Who it runs as, instead of the container's user.
    pub user: Option<String>,
    /// Its streams.
    pub streams: Streams,
    /// Whether everything is allowed.
    pub privileged: bool,
    /// Whether box does not wait for it.
    pub detached: bool,
    /// What lets go of its terminal.
    pub keys: DetachKeys,
}

/// Runs it to its end with the caller's streams; the result is its status.
///
/// # Errors
/// The container does not run; the program cannot be executed.
pub fn exec(
    store: &Store,
    folder: &ContainerFolder,
    request: ExecRequest,
    warn: &mut dyn FnMut(&pillbox::Warning),
) -> Result<u8> {
    let record = ContainerRecord::of(folder)?;
    let container = open_awake(store, folder, &record)?;
    let root = RootFolders::make(store, folder, &record)?;
    let facts = Facts::of_running(store, &record.id, root.accounts()?);
    let process = process(&record, &request, &facts)?;
    let id = random_id()?;
    let happens = |what| note(store, &record, &Happening::Exec(ExecHappening { id: id.clone(), what }));
    happens(ExecEvent::Create(request.command.clone()));
    happens(ExecEvent::Start(request.command.clone()));
    let ended = run(store, folder, &container, request, &process, warn);
    match &ended {
        Ok(Some(status)) => happens(ExecEvent::Die(*status)),
        // Nobody waits for its end.
        Ok(None) => {}
        Err(error) => happens(ExecEvent::Die(error.status())),
    }
    Ok(ended?.unwrap_or(0))
}

/// The runtime's container of one that can run more programs.
fn open_awake(
    store: &Store,
    folder: &ContainerFolder,
    record: &ContainerRecord,
) -> Result<pillbox::Container> {
    let container = open_running(store, folder)?;
    match container.status() {
        Ok(pillbox::Status::Paused) => {
            Err(Error::conflict(format!("container {0}: it is paused: box unpause {0}", record.name)))
        }
        _ => Ok(container),
    }
}

/// Its status; `None` if it goes on by itself.
fn run(
    store: &Store,
    folder: &ContainerFolder,
    container: &pillbox::Container,
    request: ExecRequest,
    process: &Value,
    warn: &mut dyn FnMut(&pillbox::Warning),
) -> Result<Option<u8>> {
    let mut options = ExecOptions::with_process(process.to_string());
    if request.streams.terminal && request.streams.interactive {
        let process = unless_ended(store, folder, container.exec(options)).map_err(not_begun)?;
        return match converse(process, request.keys)? {
            Parting::Ended(status) => Ok(Some(status)),
            Parting::LetGo(master) => keep_terminal(master).map(|()| None),
        };
    }
    let mut copying = Copying::default();
    if request.streams.terminal {
        options = options.stdin(Stdio::Null);
    } else {
        let connected = connect(request.streams.interactive, Account::of(process))?;
        let ProgramStreams { stdin, stdout, stderr } = connected.0;
        copying = connected.1;
        options = options.stdin(stdin).stdout(stdout).stderr(stderr);
    }
    let (root, id) = (Root::at(&store.place().runtime), pillbox::ContainerId::new(folder.id.as_str())?);
    let ended = pillbox::container::exec_in_foreground(&root, &id, &options, &mut |warning| warn(&warning));
    drop(options);
    copying.finish(warn);
    unless_ended(store, folder, ended).map(Some).map_err(not_begun)
}

/// Docker's status for a program that could not be begun for another reason than itself, such as its working folder.
pub(super) fn not_begun(error: Error) -> Error {
    match (error.kind(), error.status()) {
        (Kind::Host | Kind::FileMissing, STATUS) => error.with_status(126),
        _ => error,
    }
}

/// The container, and the program as the runtime takes it, without streams.
///
/// # Errors
/// The container does not run; something cannot be as it is asked for.
pub(super) fn options_of(
    store: &Store,
    folder: &ContainerFolder,
    request: &ExecRequest,
) -> Result<(pillbox::Container, ExecOptions)> {
    let record = ContainerRecord::of(folder)?;
    let container = open_awake(store, folder, &record)?;
    let root = RootFolders::make(store, folder, &record)?;
    let facts = Facts::of_running(store, &record.id, root.accounts()?);
    let process = process(&record, request, &facts)?;
    Ok((container, ExecOptions::with_process(process.to_string())))
}

/// The `process` of a config.json: as the container's own, with what is asked for instead.
///
/// # Errors
/// Something cannot be as it is asked for.
pub(super) fn process(record: &ContainerRecord, request: &ExecRequest, facts: &Facts) -> Result<Value> {
    let ExecRequest { command, environment, workdir, user, streams, privileged, detached: _, keys: _ } =
        request.clone();
    let own = &record.options;
    let mut options = Options {
        command,
        entrypoint: Some(String::new()),
        environment: [own.environment.clone(), environment].concat(),
        workdir: workdir.or(own.workdir.clone()),
        user: user.or(own.user.clone()),
        streams,
        ..own.clone()
    };
    options.rights.privileged |= privileged;
    compile_exec(&record.execution, &options, facts)
}
