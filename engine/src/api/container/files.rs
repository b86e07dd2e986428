//! Files of containers: `archive`, `export`, `changes`.

use std::io::{Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::named;
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::container::{
    CopyOptions, Happening, archive_of, changes as container_changes, copy_from_stream, export as export_tar,
    note_of,
};
use crate::error::{Error, Kind};
use crate::inside::TarStream;
use crate::layer::tar::{Archive, Entry, EntryKind};
use crate::layer::{ChangeKind, Rights};
use crate::time::{Moment, rfc3339};

/// Go's bits for what a file is.
const GO_FOLDER: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_PIPE: u32 = 1 << 25;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHARACTER: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;

/// Everything that was read, to be read once more.
struct Tee<'t> {
    stream: &'t mut TarStream,
    read: Vec<u8>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.read.extend_from_slice(&buffer[..length]);
        Ok(length)
    }
}

/// A tar of a file or folder.
pub fn get_archive(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    archive(daemon, exchange, true)
}

/// What is known of a file, in a header.
pub fn head_archive(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    archive(daemon, exchange, false)
}

fn archive(daemon: &Daemon, exchange: &mut Exchange<'_>, with_content: bool) -> Outcome<Reply> {
    let (folder, _) = named(daemon, exchange)?;
    let path = path(exchange)?;
    let name = exchange.parameter(0).to_string();
    let fault = |error: Error| match error.kind() {
        Kind::NotFound => Fault::missing(format!("Could not find the file {path} in container {name}")),
        _ => error.into(),
    };
    let (mut stream, _reached) = archive_of(&daemon.store, &folder, &path).map_err(fault)?;
    let mut tee = Tee { stream: &mut stream, read: Vec::new() };
    let first = Archive::new(&mut tee).next_entry();
    let begun = std::mem::take(&mut tee.read);
    let entry = match first {
        Ok(Some(entry)) => entry,
        // Why there is nothing is said by whoever packs.
        first => {
            let none = first.and_then(|_| Err(Error::not_found("nothing")));
            return Err(stream.finish::<Reply>(none).map_or_else(fault, |_| Fault::new(500, "no file")));
        }
    };
    exchange.add_header("X-Docker-Container-Path-Stat", BASE64.encode(stat(&entry, &path).to_string()));
    if !with_content {
        // Nobody reads the rest.
        let _ = stream.finish(Err::<(), _>(Error::new(Kind::Closed, "enough")));
        return Ok(Reply::Empty(200));
    }
    let mut out = exchange.stream("application/x-tar")?;
    let written = out.write_all(&begun).and_then(|()| std::io::copy(&mut stream, &mut out));
    stream.finish(written.map_err(Error::from))?;
    note_of(&daemon.store, &folder, &Happening::Archive);
    exchange.end(out)
}

fn path(exchange: &Exchange<'_>) -> Outcome<String> {
    let path = exchange
        .head
        .query
        .text("path")
        .ok_or_else(|| Fault::invalid("bad parameter: Path cannot be empty"))?;
    // To Docker everything is below the root.
    Ok(if path.starts_with('/') { path.to_string() } else { format!("/{path}") })
}

/// As Go has it.
fn stat(entry: &Entry, path: &str) -> Value {
    let (kind, target) = match &entry.kind {
        EntryKind::File | EntryKind::HardLink(_) => (0, String::new()),
        EntryKind::Folder => (GO_FOLDER, String::new()),
        EntryKind::SymbolicLink(target) => (GO_LINK, String::from_utf8_lossy(target).into_owned()),
        EntryKind::Character(_) => (GO_DEVICE | GO_CHARACTER, String::new()),
        EntryKind::Block(_) => (GO_DEVICE, String::new()),
        EntryKind::Fifo => (GO_PIPE, String::new()),
    };
    let special = [(0o4000, GO_SETUID), (0o2000, GO_SETGID), (0o1000, GO_STICKY)];
    let special =
        special.into_iter().filter(|(bit, _)| entry.mode & bit != 0).fold(0, |bits, (_, bit)| bits | bit);
    let name = Path::new(path).file_name().map_or("/".into(), |name| name.to_string_lossy());
    let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0);
    let moment = Moment(seconds.saturating_mul(1_000_000_000) + u64::from(entry.mtime.nanoseconds));
    let size = if entry.kind == EntryKind::Folder { 4096 } else { entry.size };
    json!({
        "name": name,
        "size": size,
        "mode": kind | special | (entry.mode & 0o777),
        "mtime": rfc3339(moment),
        "linkTarget": target,
    })
}

/// Unpacks a tar into a folder.
pub fn put_archive(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, _) = named(daemon, exchange)?;
    let path = path(exchange)?;
    let name = exchange.parameter(0).to_string();
    // Docker: files are root's, unless the client says that they keep their owners. A folder never becomes a file here.
    let rights = if exchange.head.query.is_set("copyUIDGID") { Rights::Kept } else { Rights::Own };
    let options = CopyOptions { rights, follow: false };
    let mut body = exchange.body();
    copy_from_stream(&daemon.store, &folder, &mut body, Path::new(&path), options).map_err(|error| {
        match error.kind() {
            Kind::NotFound => Fault::missing(format!("Could not find the file {path} in container {name}")),
            _ => error.into(),
        }
    })?;
    Ok(Reply::Empty(200))
}

/// A tar of all files.
pub fn export(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, _) = named(daemon, exchange)?;
    exchange.write_late("application/octet-stream", |out| export_tar(&daemon.store, &folder, out))
}

/// What it has changed in its image.
pub fn changes(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, _) = named(daemon, exchange)?;
    let kind = |kind: ChangeKind| match kind {
        ChangeKind::Changed => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    let found = container_changes(&daemon.store, &folder)?;
    Ok(Reply::Json(
        200,
        found
            .iter()
            .map(|change| json!({"Path": String::from_utf8_lossy(&change.path), "Kind": kind(change.kind)}))
            .collect(),
    ))
}
