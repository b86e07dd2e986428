//! cp, export, diff: the files of containers, running or not.

use std::path::Path;

use super::stdout::print_bytes;
use super::{Arguments, Command, Flag, Global};
use crate::container::{
    CopyOptions, copy_from_stream, copy_into, copy_out, copy_to_stream, export as export_files,
};
use crate::error::{Error, Kind, Result};
use crate::layer::{ChangeKind, Rights};
use crate::message;
use crate::output::write_output;
use crate::store::ContainerFolder;

pub const CP: Command = Command {
    name: "cp",
    aliases: &["container cp"],
    operands: "CONTAINER:PATH PATH|- | PATH|- CONTAINER:PATH",
    operand_count: 2..=2,
    help: "copy files out of a container or into it; - is a tar",
    flags: &[&[
        Flag { long: "archive", short: Some('a'), value: None, help: "owners and rights stay as they are" },
        Flag { long: "follow-link", short: Some('L'), value: None, help: "copy what a link leads to" },
        Flag { long: "quiet", short: Some('q'), value: None, help: "say nothing (as always)" },
    ]],
    ends_at_operand: false,
    run: cp,
};

pub const EXPORT: Command = Command {
    name: "export",
    aliases: &["container export"],
    operands: "CONTAINER",
    operand_count: 1..=1,
    help: "write a container's files as a tar",
    flags: &[&[Flag { long: "output", short: Some('o'), value: Some("FILE"), help: "instead of stdout" }]],
    ends_at_operand: false,
    run: export,
};

pub const DIFF: Command = Command {
    name: "diff",
    aliases: &["container diff"],
    operands: "CONTAINER",
    operand_count: 1..=1,
    help: "show what a container has added (A), changed (C) and deleted (D)",
    flags: &[],
    ends_at_operand: false,
    run: diff,
};

/// A path of the host's, a stream, or a path in a container.
enum Side<'a> {
    Host(&'a str),
    Stream,
    Container(&'a str, &'a str),
}

/// What begins like a path is one, whatever colons it has.
fn side(text: &str) -> Side<'_> {
    match text.split_once(':') {
        _ if text == "-" => Side::Stream,
        _ if text.starts_with(['/', '.']) => Side::Host(text),
        Some((name, path)) if !name.is_empty() && !name.contains('/') => Side::Container(name, path),
        _ => Side::Host(text),
    }
}

fn cp(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let rights = if arguments.is_set("archive") { Rights::Kept } else { Rights::Own };
    let options = CopyOptions { rights, follow: arguments.is_set("follow-link") };
    let (from, to) = (arguments.operand(0)?.unwrap_or_default(), arguments.operand(1)?.unwrap_or_default());
    let find = |name: &str| store.containers().find(name);
    let copied = match (side(from), side(to)) {
        (Side::Container(name, path), Side::Stream) => {
            copy_to_stream(&store, &find(name)?, path, &mut std::io::stdout().lock(), options)
        }
        (Side::Container(name, path), Side::Host(to)) => {
            copy_out(&store, &find(name)?, path, Path::new(to), options)
        }
        (Side::Stream, Side::Container(name, path)) => {
            copy_from_stream(&store, &find(name)?, &mut std::io::stdin().lock(), Path::new(path), options)
        }
        (Side::Host(from), Side::Container(name, path)) => {
            copy_into(&store, &find(name)?, from, Path::new(path), options)
        }
        (Side::Container(..), Side::Container(..)) => Err(Error::invalid(
            "cp: from container to container: copy to the host first, or through a pipe with -",
        )),
        (Side::Host(_) | Side::Stream, Side::Host(_) | Side::Stream) => {
            Err(Error::invalid(format!("cp {from} {to}: one of them must be CONTAINER:PATH")))
        }
    };
    copied.map(|()| 0).map_err(|error| error.with_status(1))
}

fn export(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    let exported = match arguments.value("output") {
        Some(path) => write_output("--output ", Path::new(path), |file| export_files(&store, &folder, file)),
        None if rustix::termios::isatty(rustix::stdio::stdout()) => {
            Err(Error::invalid("export: stdout is a terminal: say --output FILE, or send it elsewhere"))
        }
        None => export_files(&store, &folder, &mut std::io::stdout().lock()),
    };
    match exported {
        // The reader has what it wants.
        Err(error) if error.kind() == Kind::Closed => Ok(0),
        exported => exported.map(|()| 0),
    }
}

fn diff(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let folder: ContainerFolder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    let mut text = Vec::new();
    for change in crate::container::changes(&store, &folder)? {
        let letter = match change.kind {
            ChangeKind::Added => b"A ",
            ChangeKind::Changed => b"C ",
            ChangeKind::Deleted => b"D ",
        };
        text.extend([&letter[..], &message::name(&change.path), b"\n"].concat());
    }
    print_bytes(&text)
}
