//! enter: a shell in a container that runs, for people; with the tools of another image if it has none of its own.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::termios::isatty;

use super::container_flags::environment;
use super::pull::{POLICY_FLAGS, provide};
use super::registry_flags::{FLAGS as REGISTRY_FLAGS, PLATFORM_FLAGS};
use super::{Arguments, Command, Flag, Global, warn};
use crate::container::{
    ContainerRecord, ExecRequest, Lifetime, Namespaces, Network, NetworkMode, Options, RootFolders, Source,
    Start, Streams, create, exec, open_running, run_in_foreground,
};
use crate::error::{Context, Error, Result};
use crate::layer::open_beneath;
use crate::store::{ContainerFolder, Store};

pub const COMMAND: Command = Command {
    name: "enter",
    aliases: &["container enter"],
    operands: "CONTAINER [COMMAND …]",
    operand_count: 1..=usize::MAX,
    help: "a shell in a container that runs",
    flags: &[
        &[
            Flag {
                long: "with",
                short: None,
                value: Some("IMAGE"),
                help: "that image's shell and tools, beside the container's root, which is /container then",
            },
            Flag { long: "env", short: Some('e'), value: Some("NAME=VALUE"), help: "a variable" },
            Flag { long: "env-file", short: None, value: Some("FILE"), help: "variables, one a line" },
            Flag { long: "workdir", short: Some('w'), value: Some("FOLDER"), help: "its working folder" },
            Flag { long: "user", short: Some('u'), value: Some("USER[:GROUP]"), help: "who it runs as" },
        ],
        POLICY_FLAGS,
        PLATFORM_FLAGS,
        REGISTRY_FLAGS,
    ],
    ends_at_operand: true,
    run: enter,
};

/// What is tried, in this order.
const SHELLS: [&str; 4] = ["/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/busybox"];

/// The container's root, among another image's tools: its first process is 1 there as well.
const ROOT: (&str, &str) = ("container", "/proc/1/root");

fn enter(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let name = arguments.operand(0)?.unwrap_or_default();
    let folder = store.containers().find(name)?;
    // That it runs is said before anything is pulled.
    let container = open_running(&store, &folder)?;
    let command = arguments.operands_from(1)?;
    if let Some(image) = arguments.text("with")? {
        return enter_with(&store, &folder, image, command, arguments);
    }
    let command = match command.is_empty() {
        true => find_shell(container.pid()?, name)?,
        false => command,
    };
    let text = |flag: &str| arguments.text(flag).map(|text| text.map(str::to_string));
    let request = ExecRequest {
        command,
        environment: environment(arguments)?,
        workdir: text("workdir")?,
        user: text("user")?,
        streams: streams(),
        ..ExecRequest::default()
    };
    exec(&store, &folder, request, &mut |warning| warn(warning))
}

/// What is typed is for the program, and in a terminal it has one.
fn streams() -> Streams {
    let terminal = isatty(rustix::stdio::stdin()) && isatty(rustix::stdio::stdout());
    Streams { interactive: true, terminal }
}

/// The container's own shell.
fn find_shell(pid: i32, name: &str) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Whoever may not look there finds out by trying.
    let Ok(root) = rustix::fs::open(&path, flags, Mode::empty()) else { return Ok(vec![SHELLS[1].into()]) };
    let is_there =
        |shell: &&&str| open_beneath(&root, shell.as_bytes(), OFlags::PATH, ResolveFlags::IN_ROOT).is_ok();
    let shell = SHELLS.iter().find(is_there).ok_or_else(|| {
        Error::not_found(format!(
            "container {name}: it has no shell: box enter --with IMAGE {name} brings that of an image, such as busybox"
        ))
    })?;
    let applet = shell.ends_with("busybox").then(|| "sh".to_string());
    Ok(std::iter::once((*shell).to_string()).chain(applet).collect())
}

/// A container of the other image, in the namespaces of the first one; it is gone with its program.
fn enter_with(
    store: &Store,
    folder: &ContainerFolder,
    image: &str,
    command: Vec<String>,
    arguments: &Arguments,
) -> Result<u8> {
    let record = ContainerRecord::of(folder)?;
    let found = provide(store, image, arguments)?;
    let source = Source::find(store, image, found)?;
    let id = Some(record.id.clone());
    let text = |flag: &str| arguments.text(flag).map(|text| text.map(str::to_string));
    let mut options = Options {
        command: if command.is_empty() { vec!["sh".to_string()] } else { command },
        entrypoint: Some(String::new()),
        environment: environment(arguments)?,
        workdir: Some(text("workdir")?.unwrap_or_else(|| "/".to_string())),
        user: Some(text("user")?.unwrap_or_else(|| "0:0".to_string())),
        streams: streams(),
        namespaces: Namespaces { pid_of: id.clone(), ipc_of: id, ..Namespaces::default() },
        network: Network { mode: NetworkMode::Container(record.id.clone()), ..Network::default() },
        ..Options::default()
    };
    // To see the root of processes with as many rights as they have.
    options.rights.added = vec!["SYS_PTRACE".to_string()];
    options.labels.insert("box.enter".to_string(), record.name);
    let own = create(store, source, None, options, Lifetime::OfCommand, Start::Now)?;
    let linked = RootFolders::make(store, &own.folder, &own.record).and_then(|root| {
        let (name, target) = ROOT;
        std::os::unix::fs::symlink(target, root.upper().join(name)).context(|| format!("/{name}"))
    });
    if let Err(error) = linked {
        own.remove(store)?;
        return Err(error);
    }
    run_in_foreground(store, own, None, &mut |warning| warn(warning))
}
