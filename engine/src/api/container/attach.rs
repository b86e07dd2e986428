//! `POST /containers/ID/attach` and `GET /containers/ID/attach/ws`: the client's connection becomes the program's streams, also before that is started.

use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::logs::send_log;
use super::named;
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::hijack::{Attached, Form, Shown};
use crate::container::monitor::{Hello, VERSION, Waiting, connect};
use crate::container::{Caller, ContainerRecord, DetachKeys, Happening, Status, Wants, note, relay};
use crate::error::Context;
use crate::store::{ContainerFolder, Store};
use crate::time::Moment;

/// How often it is looked whether a container that was never started is still there.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

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
    let monitor = monitor.map(|monitor| monitor.reach(folder, &mut attached, wants.input.is_some()));
    if let Some(monitor) = monitor.transpose()?.flatten() {
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
    /// Waits for it, and answers the client meanwhile. What that sends is kept for the program if it is for that; `None` if the client or
    /// the container has gone.
    fn reach(
        self,
        folder: &ContainerFolder,
        attached: &mut Attached<'_>,
        keeps_input: bool,
    ) -> Outcome<Option<UnixStream>> {
        let waiting = match self {
            Monitor::There(stream) => return Ok(Some(stream)),
            Monitor::Expected(waiting) => waiting,
        };
        loop {
            match first(waiting.listener(), attached)? {
                First::Monitor => return Ok(Some(waiting.accept()?)),
                First::Words => attached.read_ahead(keeps_input),
                First::Leave => return Ok(None),
                First::Nothing if !ContainerRecord::is_there(folder) => return Ok(None),
                First::Nothing => {}
            }
            if attached.has_left() {
                return Ok(None);
            }
        }
    }
}

/// What comes first of the monitor and the client.
enum First {
    Monitor,
    /// There is something to be read of the client.
    Words,
    /// It has gone.
    Leave,
    Nothing,
}

fn first(monitor: &UnixListener, attached: &Attached<'_>) -> Outcome<First> {
    let is_read = attached.is_read_ahead();
    if is_read && attached.has_input() {
        return Ok(First::Words);
    }
    // That the other end is closed is always told.
    let wanted = if is_read { PollFlags::IN } else { PollFlags::empty() };
    let client = attached.input();
    let mut polled = [PollFd::new(monitor, PollFlags::IN), PollFd::from_borrowed_fd(client, wanted)];
    match poll(&mut polled, Some(&LOOK)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno).context(|| "wait for the container")?,
    }
    let [monitor, client] = polled.map(|one| one.revents());
    Ok(match () {
        // Whoever has gone may have left something to be read.
        () if client.contains(PollFlags::IN) => First::Words,
        () if !client.is_empty() => First::Leave,
        () if !monitor.is_empty() => First::Monitor,
        () => First::Nothing,
    })
}
