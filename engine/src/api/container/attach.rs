//! `POST /containers/ID/attach` and `GET /containers/ID/attach/ws`: the client's connection becomes the program's streams, also before that is started.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::logs::send_log;
use super::named;
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::hijack::{Attached, Form, Shown};
use crate::container::monitor::{Hello, VERSION, Waiting, connect};
use crate::container::{ContainerRecord, DetachKeys, Happening, Status, Wants, note, relay};
use crate::store::{ContainerFolder, Store};
use crate::time::Moment;

/// How often it is looked whether a container that was never started is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Attaches the client.
pub fn attach(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let form = Form::of(record.options.streams.terminal);
    serve(daemon, exchange, (&folder, &record), form)
}

/// The same by a web socket.
pub fn attach_by_web_socket(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    if !exchange.head.is_web_socket() {
        return Ok(Reply::Text(400, "not websocket protocol"));
    }
    serve(daemon, exchange, (&folder, &record), Form::WebSocket)
}

fn serve(
    daemon: &Daemon,
    exchange: &mut Exchange<'_>,
    (folder, record): (&ContainerFolder, &ContainerRecord),
    form: Form,
) -> Outcome<Reply> {
    let query = &exchange.head.query;
    let shown = Shown { stdout: query.is_set("stdout"), stderr: query.is_set("stderr") };
    let (logs, stream) = (query.is_set("logs"), query.is_set("stream"));
    if let Status::Paused { .. } = Status::of(&daemon.store, folder)?
        && stream
    {
        let text =
            format!("container {} is paused, unpause the container before attach", exchange.parameter(0));
        return Err(Fault::conflict(text));
    }
    let streams = record.options.streams;
    let keys = DetachKeys::parse(query.text("detachKeys").unwrap_or_default())?;
    let wants = Wants {
        stdout: stream && shown.stdout,
        stderr: stream && shown.stderr,
        input: (stream && query.is_set("stdin") && streams.interactive).then_some(keys),
        ends_input: !record.options.keeps_stdin,
        terminal: streams.terminal,
    };
    let output = wants.stdout || wants.stderr;
    let hello = Hello { version: VERSION, output, input: wants.input.is_some() };
    // Before the client is told that it is attached: nothing is missed from then on.
    let monitor = if stream { Some(find(&daemon.store, folder, hello)?) } else { None };
    // One that starts from now on tells the client itself what its program writes.
    let until = matches!(monitor, Some(Monitor::Expected(_))).then(Moment::now);
    let connection = exchange.connection();
    note(&daemon.store, record, &Happening::Attach);
    let begun = match form {
        Form::WebSocket => exchange.accept_web_socket()?,
        form => exchange.hijack(form.name())?,
    };
    if logs {
        send_log(&daemon.store, folder, record, (shown, until), form, connection)?;
    }
    let mut attached = Attached::new(connection, begun, form, shown);
    if let Some(monitor) = monitor.map(|monitor| monitor.reach(folder, connection)).transpose()?.flatten() {
        // What became of the program is said by `wait`.
        let _ = relay(&monitor, wants, &mut attached);
    }
    attached.end();
    Ok(Reply::Sent)
}

/// The monitor of a container, or the wait for it.
enum Monitor {
    There(UnixStream),
    Expected(Waiting),
}

fn find(store: &Store, folder: &ContainerFolder, hello: Hello) -> Outcome<Monitor> {
    // In this order: a monitor that begins meanwhile comes by itself.
    let waiting = Waiting::begin(store, &folder.id, hello)?;
    Ok(match connect(store, &folder.id)? {
        Some(stream) => Monitor::There(stream),
        None => Monitor::Expected(waiting),
    })
}

impl Monitor {
    /// Waits for it; `None` if the client or the container has gone.
    fn reach(self, folder: &ContainerFolder, connection: &UnixStream) -> Outcome<Option<UnixStream>> {
        use crate::container::{Waited, wait_for_either};
        let waiting = match self {
            Monitor::There(stream) => return Ok(Some(stream)),
            Monitor::Expected(waiting) => waiting,
        };
        loop {
            match wait_for_either(waiting.listener().as_fd(), connection.as_fd(), Some(LOOK))? {
                Waited::Ready => return Ok(Some(waiting.accept()?)),
                Waited::Gone => return Ok(None),
                Waited::Nothing if !ContainerRecord::is_there(folder) => return Ok(None),
                Waited::Nothing => {}
            }
        }
    }
}
