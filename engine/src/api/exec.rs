//! `/exec`: one more program in a container. What is known of one stands in the runtime folder, so that it outlives boxd.

use serde::Deserialize;
use serde_json::json;

use super::container::{Words, not_running, size, with_dockers_words};
use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};
use super::hijack::{Attached, Form, Shown};
use crate::container::log::Stream;
use crate::container::monitor::Size;
use crate::container::{
    Caller, ContainerRecord, DetachKeys, ExecEvent, ExecHappening, ExecRecord, ExecRequest, ExecSession,
    ExecState, ExecStreams, Happening, Status, Streams, began_at, note,
};
use crate::error::Kind;
use crate::store::Store;

/// What the thread that waits for a detached program may have on its stack. Only what is touched takes memory.
const STACK: usize = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    user: String,
    privileged: bool,
    tty: bool,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    env: Vec<String>,
    working_dir: String,
    detach_keys: String,
    cmd: Option<Words>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StartBody {
    detach: bool,
    tty: bool,
    console_size: Option<[u16; 2]>,
}

/// Takes the wish for a program down.
pub fn create(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let folder = daemon.container(exchange.parameter(0))?;
    let record = ContainerRecord::of(&folder)?;
    let body: CreateBody = exchange.document()?;
    let command = body.cmd.unwrap_or_default().0;
    if command.is_empty() {
        return Err(Fault::invalid("No exec command specified"));
    }
    match Status::of(&daemon.store, &folder)? {
        Status::Paused { .. } => {
            let name = exchange.parameter(0);
            return Err(Fault::conflict(format!(
                "Container {name} is paused, unpause the container before exec"
            )));
        }
        status if !status.is_alive() => return Err(not_running(&record)),
        _ => {}
    }
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let request = ExecRequest {
        command,
        environment: body.env,
        workdir: text(body.working_dir),
        user: text(body.user),
        streams: Streams { interactive: body.attach_stdin, terminal: body.tty },
        privileged: body.privileged,
        detached: false,
        keys: DetachKeys::parse(&body.detach_keys)?,
    };
    let wanted =
        ExecStreams { stdin: body.attach_stdin, stdout: body.attach_stdout, stderr: body.attach_stderr };
    ExecRecord::sweep(&daemon.store)?;
    let exec = ExecRecord::new(&record.id, request, wanted)?;
    exec.write(&daemon.store)?;
    note_exec(&daemon.store, &exec, ExecEvent::Create(exec.request.command.clone()));
    Ok(Reply::Json(201, json!({"Id": exec.id})))
}

/// Runs it.
pub fn start(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let mut exec = ExecRecord::find(&daemon.store, exchange.parameter(0))?;
    let body: StartBody = exchange.document_if_any()?.unwrap_or_default();
    match exec.state {
        ExecState::Created => {}
        ExecState::Running { .. } => {
            return Err(Fault::conflict(format!("exec {} is already running", exec.id)));
        }
        ExecState::Ended { .. } => {
            return Err(Fault::conflict(format!("Error: Exec command {} has already run", exec.id)));
        }
    }
    let folder = daemon.container(&exec.container).map_err(|_| gone(&exec))?;
    exec.request.detached = body.detach;
    exec.request.streams.terminal |= body.tty;
    let size = body.console_size.filter(|size| !size.contains(&0));
    let size = size.map(|[rows, columns]| Size { rows, columns });
    note_exec(&daemon.store, &exec, ExecEvent::Start(exec.request.command.clone()));
    let begun = ExecSession::begin(&daemon.store, &folder, &exec.request, size);
    if body.detach {
        let session = begun.map_err(|error| match error.kind() {
            Kind::Conflict => gone(&exec),
            _ => error.into(),
        })?;
        note_running(&daemon.store, &mut exec, &session)?;
        let store = daemon.store.clone();
        // Its end is recorded by whoever is there then.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            if let Ok(status) = session.finish(None) {
                let _ = note_end(&store, &mut exec, status);
            }
        });
        return Ok(Reply::Empty(200));
    }
    let form = Form::of(exec.request.streams.terminal);
    let shown = Shown { stdout: exec.wanted.stdout, stderr: exec.wanted.stderr };
    // It has ended since the program was taken down.
    if let Err(error) = &begun
        && error.kind() == Kind::Conflict
    {
        return Err(gone(&exec));
    }
    // Before the client is told: it asks for the program and sets its terminal's size at once.
    let _terminal = match &begun {
        Ok(session) => {
            note_running(&daemon.store, &mut exec, session)?;
            daemon.terminals.keep(&exec.id, session.terminal())?
        }
        Err(_) => None,
    };
    let connection = exchange.connection();
    let rest = exchange.hijack(form.name())?;
    let mut client = Attached::new(connection, rest, form, shown);
    let status = match begun {
        Ok(session) => session.finish(Some(&mut client))?,
        // Clients learn this from what they see.
        Err(error) => {
            let text = with_dockers_words(&error);
            client.show(Stream::Stdout, format!("OCI runtime exec failed: {text}\r\n").as_bytes());
            error.status()
        }
    };
    // Before the connection is closed: the client asks at once.
    note_end(&daemon.store, &mut exec, status)?;
    Ok(Reply::Sent)
}

fn gone(exec: &ExecRecord) -> Fault {
    Fault::conflict(format!("container {} is not running", exec.container))
}

fn note_running(store: &Store, exec: &mut ExecRecord, session: &ExecSession) -> Outcome<()> {
    let pid = session.pid();
    exec.state = ExecState::Running { pid, began: began_at(pid).unwrap_or(0) };
    exec.write(store)?;
    Ok(())
}

fn note_end(store: &Store, exec: &mut ExecRecord, status: u8) -> Outcome<()> {
    let pid = if let ExecState::Running { pid, .. } = exec.state { pid } else { 0 };
    exec.state = ExecState::Ended { status, pid };
    exec.write(store)?;
    note_exec(store, exec, ExecEvent::Die(status));
    Ok(())
}

/// One of a container that has gone is nobody's any more.
fn note_exec(store: &Store, exec: &ExecRecord, what: ExecEvent) {
    let record = store.containers().find(&exec.container).and_then(|folder| ContainerRecord::of(&folder));
    if let Ok(record) = record {
        note(store, &record, &Happening::Exec(ExecHappening { id: exec.id.clone(), what }));
    }
}

/// Tells its terminal how large it is.
pub fn resize(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let exec = ExecRecord::find(&daemon.store, exchange.parameter(0))?;
    let Size { rows, columns } = size(exchange)?;
    daemon.terminals.resize(&exec.id, rows, columns)?;
    Ok(Reply::Empty(200))
}

/// What is known of it.
pub fn inspect(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let ExecRecord { id, container, request, wanted, state, .. } =
        ExecRecord::find(&daemon.store, exchange.parameter(0))?;
    let (runs, status, pid) = match state {
        ExecState::Created => (false, None, 0),
        ExecState::Running { pid, .. } => (true, None, pid),
        ExecState::Ended { status, pid } => (false, Some(status), pid),
    };
    let mut process = json!({
        "tty": request.streams.terminal,
        "entrypoint": request.command.first(),
        "arguments": request.command.get(1..),
        "privileged": request.privileged,
    });
    if let Some(user) = request.user {
        process["user"] = json!(user);
    }
    Ok(Reply::Json(
        200,
        json!({
            "ID": id,
            "Running": runs,
            "ExitCode": status,
            "ProcessConfig": process,
            "OpenStdin": wanted.stdin,
            "OpenStdout": wanted.stdout,
            "OpenStderr": wanted.stderr,
            "CanRemove": false,
            "ContainerID": container,
            "DetachKeys": "",
            "Pid": pid,
        }),
    ))
}
