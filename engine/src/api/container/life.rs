//! What is done to containers: start, stop, kill, pause, rename, remove.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use pillbox::Signal;

use super::{named, not_running, running};
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::command::remove_container;
use crate::container::monitor::{Kind as Frame, Size, connect, encode_value};
use crate::container::{
    ContainerRecord, Happening, LogDriver, Patience, Status, Taken, Volumes, inspect as document, note,
    open_running, rename as give_name, signal as send, start_detached, stop as stop_container, take,
};
use crate::error::{Error, Kind};
use crate::store::ContainerFolder;

/// How long a monitor is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that is known of it.
pub fn inspect(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let mut document = document(&daemon.store, &folder)?;
    // Docker's SDK reads the logs of drivers that it knows alone, and box's own is read in the same way.
    let driver = &mut document["HostConfig"]["LogConfig"]["Type"];
    if driver == LogDriver::Local.name() {
        *driver = LogDriver::JsonFile.name().into();
    }
    // Docker knows of no health before the first start.
    if document["State"]["Status"] == "created"
        && let Some(state) = document["State"].as_object_mut()
    {
        state.remove("Health");
    }
    if exchange.head.query.is_set("size") {
        let (own, whole) = super::list::sizes(&daemon.store, &folder, &record);
        (document["SizeRw"], document["SizeRootFs"]) = (own.into(), whole.into());
    }
    Ok(Reply::Json(200, document))
}

/// Starts it; one that runs is left alone.
pub fn start(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    match Status::of(&daemon.store, &folder)? {
        Status::Running { .. } | Status::Restarting(_) => Ok(Reply::Empty(304)),
        Status::Paused { .. } => Err(Fault::conflict("cannot start a paused container, try unpause instead")),
        _ => begin(daemon, &record).map(|()| Reply::Empty(204)),
    }
}

fn begin(daemon: &Daemon, record: &ContainerRecord) -> Outcome<()> {
    let mut warn = |text: &str| daemon.log.write(crate::api::log::Level::Info, text);
    match take(&daemon.store, &record.id)? {
        Taken::Own(own) => {
            start_detached(&daemon.store, *own, &mut warn).map_err(|error| start_fault(daemon, record, error))
        }
        // Somebody else was faster.
        Taken::Running(_) => Ok(()),
    }
}

/// Clients tell from Docker's words what is wrong with the program, or with the network.
fn start_fault(daemon: &Daemon, record: &ContainerRecord, error: Error) -> Fault {
    const NETWORK: &str = "failed to set up container networking";
    if matches!(error.status(), 126 | 127) {
        return Fault::invalid(with_dockers_words(&error));
    }
    let names = record.options.network.names();
    if let Some(fault) = names.iter().find_map(|name| daemon.network(name).err()) {
        return fault.context(NETWORK);
    }
    match error.kind() {
        Kind::PortTaken => {
            Fault::new(500, format!("{NETWORK}: {error}: Bind failed: port is already allocated"))
        }
        // The container itself is there.
        Kind::NotFound => Fault::new(500, error.to_string()),
        // A parameter of the kernel's, for one. Clients take a status of 127 for it as well.
        Kind::FileMissing => Fault::invalid(with_dockers_words(&error)),
        _ => error.into(),
    }
}

/// Why a program cannot be executed, with the words by which clients tell 126 from 127.
pub fn with_dockers_words(error: &Error) -> String {
    let words = match (error.status(), error.kind()) {
        (127, _) => "executable file not found",
        (126, _) => "permission denied",
        (_, Kind::FileMissing) => "no such file or directory",
        _ => return error.to_string(),
    };
    // The runtime has its own for what is no program.
    let text = error.to_string().replace("no such file or folder", "no such file or directory");
    // Nothing is said twice.
    match text.contains(words) {
        true => text,
        false => format!("{text}: {words}"),
    }
}

/// Asks it to end.
pub fn stop(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, _) = named(daemon, exchange)?;
    let status = Status::of(&daemon.store, &folder)?;
    let runs = status.is_alive() || matches!(status, Status::Restarting(_));
    end(daemon, exchange, &folder)?;
    Ok(Reply::Empty(if runs { 204 } else { 304 }))
}

fn end(daemon: &Daemon, exchange: &Exchange<'_>, folder: &ContainerFolder) -> Outcome<()> {
    let timeout = exchange.head.query.number::<i64>("t")?.map(patience);
    let signal = exchange.head.query.text("signal").map(parse_signal).transpose()?;
    Ok(stop_container(&daemon.store, folder, timeout, signal, &mut |_| {})?)
}

/// Less than nothing is as long as it takes.
fn patience(seconds: i64) -> Patience {
    u64::try_from(seconds)
        .map_or(Patience::Endless, |seconds| Patience::Limited(Duration::from_secs(seconds)))
}

fn parse_signal(text: &str) -> Outcome<Signal> {
    pillbox::signal::parse(text).map_err(|_| Fault::invalid(format!("invalid signal: {text}")))
}

/// Ends it and starts it again.
pub fn restart(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    end(daemon, exchange, &folder)?;
    begin(daemon, &record)?;
    note(&daemon.store, &record, &Happening::Restart);
    Ok(Reply::Empty(204))
}

/// Sends it a signal.
pub fn kill(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let doing = format!("cannot kill container: {}", exchange.parameter(0));
    let signal = exchange.head.query.text("signal").map(parse_signal).transpose();
    let signal = signal.map_err(|fault| fault.context(&doing))?.unwrap_or(Signal::KILL);
    send(&daemon.store, &folder, signal).map_err(|error| match error.kind() {
        Kind::Conflict => not_running(&record).context(&doing),
        _ => error.into(),
    })?;
    Ok(Reply::Empty(204))
}

/// Stops all its processes.
pub fn pause(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = running(daemon, exchange)?;
    if let Status::Paused { .. } = Status::of(&daemon.store, &folder)? {
        return Err(Fault::conflict(format!("container {} is already paused", record.id)));
    }
    open_running(&daemon.store, &folder)?.pause()?;
    note(&daemon.store, &record, &Happening::Pause);
    Ok(Reply::Empty(204))
}

/// Lets them go on.
pub fn unpause(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let Status::Paused { .. } = Status::of(&daemon.store, &folder)? else {
        return Err(Fault::new(500, format!("Container {} is not paused", record.id)));
    };
    open_running(&daemon.store, &folder)?.resume()?;
    note(&daemon.store, &record, &Happening::Unpause);
    Ok(Reply::Empty(204))
}

/// Gives it another name.
pub fn rename(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let name = exchange.head.query.text("name").map(|name| name.trim_start_matches('/').to_string());
    let name = name.ok_or_else(|| Fault::invalid("Neither old nor new names may be empty"))?;
    if name == record.name {
        return Err(Fault::invalid("Renaming a container with the same name as its current name"));
    }
    give_name(&daemon.store, &folder, &name).map_err(|error| {
        super::create::taken(&daemon.store, Some(&name), error).context("Error when allocating new name")
    })?;
    Ok(Reply::Empty(204))
}

/// Tells its terminal how large it is.
pub fn resize(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = running(daemon, exchange)?;
    let size = size(exchange)?;
    let stream = connect(&daemon.store, &folder.id)?.ok_or_else(|| not_running(&record))?;
    (&stream).write_all(&encode_value(Frame::Resize, &size))?;
    // The monitor hangs up when it has done all that was said: what the client types from now on finds the new size.
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    Ok(Reply::Empty(200))
}

/// `h` and `w`.
pub fn size(exchange: &Exchange<'_>) -> Outcome<Size> {
    let query = &exchange.head.query;
    let number = |name| {
        query.number::<u16>(name)?.ok_or_else(|| Fault::invalid(format!("parameter {name} is missing")))
    };
    Ok(Size { rows: number("h")?, columns: number("w")? })
}

/// What Docker says of one that is not removed without force.
fn why_it_stays(status: &Status) -> Option<&'static str> {
    match status {
        Status::Paused { .. } => {
            Some("paused: unpause and then stop the container before removing or force remove")
        }
        Status::Restarting(_) => Some("restarting: stop the container before removing or force remove"),
        status if status.is_alive() => Some("running: stop the container before removing or force remove"),
        _ => None,
    }
}

/// Removes it with everything that it has changed.
pub fn remove(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let query = &exchange.head.query;
    let (force, name) = (query.is_set("force"), exchange.parameter(0).trim_start_matches('/'));
    if query.is_set("link") {
        return Err(Fault::invalid("link: box has no links"));
    }
    // By force it goes whatever it does, and also if nobody knows that.
    if !force && let Some(state) = why_it_stays(&Status::of(&daemon.store, &folder)?) {
        return Err(Fault::conflict(format!("cannot remove container \"{name}\": container is {state}")));
    }
    let volumes = if query.is_set("v") { Volumes::Go } else { Volumes::Stay };
    match remove_container(&daemon.store, &record.id, force, volumes) {
        // It has gone by itself.
        Err(error) if error.kind() == Kind::NotFound => Ok(Reply::Empty(204)),
        removed => {
            daemon.delete_later(removed?);
            Ok(Reply::Empty(204))
        }
    }
}
