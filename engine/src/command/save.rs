//! save, load, import: images and files.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use super::commit::CHANGE;
use super::paths::refuse_path;
use super::registry_flags::{FLAGS as REGISTRY_FLAGS, PLATFORM_FLAGS, access, platform};
use super::{Arguments, Command, Flag, Global, print};
use crate::archive::{Imported, import, load, save};
use crate::container::change_execution;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{Execution, Platform};
use crate::output::write_output;
use crate::reference::Reference;
use crate::registry::{download_trusted, is_url};

pub const SAVE: Command = Command {
    name: "save",
    aliases: &["image save"],
    operands: "IMAGE …",
    operand_count: 1..=usize::MAX,
    help: "write images into a tar, for box, docker, podman and skopeo",
    flags: &[&[Flag {
        long: "output",
        short: Some('o'),
        value: Some("FILE"),
        help: "the tar (default: stdout)",
    }]],
    ends_at_operand: false,
    run: run_save,
};

pub const LOAD: Command = Command {
    name: "load",
    aliases: &["image load"],
    operands: "",
    operand_count: 0..=0,
    help: "load images from a tar of docker's, podman's or of an OCI layout",
    flags: &[
        &[
            Flag { long: "input", short: Some('i'), value: Some("FILE"), help: "the tar (default: stdin)" },
            Flag { long: "quiet", short: Some('q'), value: None, help: "no name is shown" },
        ],
        PLATFORM_FLAGS,
    ],
    ends_at_operand: false,
    run: run_load,
};

pub const IMPORT: Command = Command {
    name: "import",
    aliases: &["image import"],
    operands: "FILE|URL|- [NAME[:TAG]]",
    operand_count: 1..=2,
    help: "make an image of a tar of a root file system",
    flags: &[
        &[
            Flag { long: "message", short: Some('m'), value: Some("TEXT"), help: "a comment in its history" },
            CHANGE,
            Flag { long: "sha256", short: None, value: Some("HEX"), help: "what the tar is to be" },
        ],
        PLATFORM_FLAGS,
        REGISTRY_FLAGS,
    ],
    ends_at_operand: false,
    run: run_import,
};

fn run_save(global: &Global, arguments: &Arguments) -> Result<u8> {
    let output = arguments.value("output").map(Path::new);
    if output.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::invalid("save: a tar is nothing for a terminal: --output FILE, or into a pipe"));
    }
    let names = arguments.operands_from(0)?;
    names.iter().try_for_each(|name| refuse_path("save", name))?;
    let store = global.store()?;
    let records = names.iter().map(|name| store.find_image(name)).collect::<Result<Vec<_>>>()?;
    match output {
        None => {
            let mut stdout = std::io::stdout().lock();
            save(&store, &records, &mut stdout).and_then(|()| Ok(stdout.flush()?))?;
        }
        Some(path) => write_output("--output ", path, |file| save(&store, &records, file))?,
    }
    records.iter().for_each(|record| store.events().note_image(record, "save"));
    Ok(0)
}

fn run_load(global: &Global, arguments: &Arguments) -> Result<u8> {
    let platform = platform(arguments)?;
    let input = arguments.value("input").map(Path::new);
    let mut stream: Box<dyn Read + Send> = open(input, "--input")?;
    let store = global.store()?;
    let named = || input.map_or("stdin".to_string(), |path| format!("--input {}", path.display()));
    let records = load(&store, &mut stream, platform.as_ref()).context(named)?;
    if arguments.is_set("quiet") {
        return Ok(0);
    }
    let lines = records.iter().map(|record| match record.reference() {
        Some(name) => format!("Loaded image: {}\n", name.familiar()),
        None => format!("Loaded image ID: {}\n", record.id),
    });
    print(&lines.collect::<String>())
}

fn run_import(global: &Global, arguments: &Arguments) -> Result<u8> {
    let text = arguments.operand(0)?.unwrap_or_default();
    let name = arguments.operand(1)?.map(Reference::parse).transpose()?;
    if let Some(name) = name.as_ref().filter(|name| name.digest.is_some()) {
        return Err(Error::invalid(format!("{}: a digest is no name to be given", name.familiar())));
    }
    let platform = platform(arguments)?.unwrap_or_else(Platform::of_machine);
    let mut execution = Execution::default();
    change_execution(&mut execution, &arguments.texts("change")?)?;
    let message = Some(arguments.text("message")?.unwrap_or("Imported from -").to_string());
    let expected = expected(arguments)?;
    let input = Some(Path::new(text)).filter(|path| *path != "-");
    let mut stream: Box<dyn Read + Send> = match is_url(text) {
        true => download_trusted(text, &access(arguments)?, expected.is_some())?.body,
        false => open(input, "import")?,
    };
    let store = global.store()?;
    let imported = Imported { name: name.as_ref(), platform, message, execution, expected };
    let record = import(&store, &mut *stream, imported).context(|| text.to_string())?;
    print(&format!("{}\n", record.id))
}

/// `--sha256`.
fn expected(arguments: &Arguments) -> Result<Option<Digest>> {
    let Some(text) = arguments.text("sha256")? else { return Ok(None) };
    let bare = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let wrong = |_| Error::invalid(format!("--sha256 {text}: must have 64 hexadecimal digits"));
    format!("sha256:{bare}").parse().map(Some).map_err(wrong)
}

/// A file, or stdin.
fn open(input: Option<&Path>, what: &str) -> Result<Box<dyn Read + Send>> {
    match input {
        Some(path) if path.is_dir() => {
            Err(Error::invalid(format!("{what} {}: a folder: it must be a tar", path.display())))
        }
        Some(path) => Ok(Box::new(File::open(path).context(|| format!("{what} {}", path.display()))?)),
        None if std::io::stdin().is_terminal() => {
            Err(Error::invalid(format!("{what}: a terminal has no tar: name a file, or use a pipe")))
        }
        None => Ok(Box::new(std::io::stdin())),
    }
}
