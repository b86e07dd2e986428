//! The commands of box: a file for each, which reads flags, calls the library and prints.

mod arguments;
mod attach;
mod boot;
mod build;
mod build_output;
mod build_progress;
mod builder;
mod commit;
mod completion;
mod confirmation;
mod container_flags;
mod create;
mod documents;
mod events;
mod exec;
mod explain;
mod files;
mod filter;
mod format;
mod history;
mod image_filter;
mod image_inspect;
mod image_prune;
mod images;
mod inspect;
mod interrupt;
mod login;
mod logs;
mod manifest;
mod mount_flags;
mod network;
mod progress;
mod project;
mod prune;
mod ps;
mod pull;
mod push;
mod registry_flags;
mod rm;
mod rmi;
mod run;
mod save;
mod start;
mod stats;
mod stop;
mod system;
mod table;
mod tag;
mod template;
mod top;
mod update;
mod version;
mod volume;

use std::ffi::OsString;
use std::io::Write;

pub use arguments::{Arguments, Command, Flag, Global, Request, Topic};

use crate::container::{Outcome, sweep};
use crate::error::{Context, Result};
use crate::store::{Environment, Place, Store};

/// All commands.
pub const COMMANDS: &[Command] = &[
    run::COMMAND,
    ps::COMMAND,
    logs::COMMAND,
    exec::COMMAND,
    attach::COMMAND,
    create::COMMAND,
    start::START,
    stop::STOP,
    start::RESTART,
    stop::KILL,
    stop::PAUSE,
    stop::UNPAUSE,
    stop::WAIT,
    rm::COMMAND,
    inspect::INSPECT,
    inspect::CONTAINER_INSPECT,
    top::COMMAND,
    inspect::PORT,
    inspect::RENAME,
    files::CP,
    files::DIFF,
    files::EXPORT,
    commit::COMMAND,
    stats::COMMAND,
    update::COMMAND,
    events::COMMAND,
    boot::COMMAND,
    network::CREATE,
    network::LS,
    network::INSPECT,
    network::RM,
    volume::CREATE,
    volume::LS,
    volume::INSPECT,
    volume::RM,
    volume::PRUNE,
    network::PRUNE,
    prune::CONTAINERS,
    prune::SYSTEM,
    system::DF,
    system::INFO,
    system::CHECK,
    build::COMMAND,
    builder::PRUNE,
    pull::COMMAND,
    push::COMMAND,
    images::COMMAND,
    tag::COMMAND,
    rmi::COMMAND,
    history::COMMAND,
    image_inspect::COMMAND,
    image_prune::COMMAND,
    save::SAVE,
    save::LOAD,
    save::IMPORT,
    login::LOGIN,
    login::LOGOUT,
    manifest::INSPECT,
    explain::COMMAND,
    completion::COMMAND,
    version::COMMAND,
];

impl Global {
    /// Opens the store that the command line means, and puts away what killed commands have left.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub fn store(&self) -> Result<Store> {
        let (data, runtime) = (self.data_root.clone(), self.exec_root.clone());
        let user = rustix::process::geteuid();
        let store = Store::open(Place::of_user(user, &Environment::of_process(), data, runtime)?)?;
        sweep(&store)?;
        Ok(store)
    }
}

/// Runs a command line; the result is the exit status.
///
/// # Errors
/// Whatever failed, in a line.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<u8> {
    match arguments::parse(arguments, COMMANDS)? {
        Request::Run(command, global, arguments) => (command.run)(&global, &arguments),
        Request::Help(topic) => print(&arguments::help(topic, COMMANDS)),
        Request::Version => print(&version::line()),
    }
}

/// What was left out or lost, if it is of weight: a container is less confined than was asked for, a setting of the host was
/// changed, output is lost, something is left behind.
fn warn(warning: &pillbox::Warning) {
    use pillbox::WarningKind::{Hook, HostChanged, LeftBehind, LessConfined, OutputLost, Unlimited};
    if matches!(warning.kind(), Hook | HostChanged | LeftBehind | LessConfined | OutputLost | Unlimited) {
        eprintln!("box: warning: {warning}");
    }
}

/// A line for the user.
fn say(text: &str) {
    eprintln!("box: {text}");
}

/// Does the same to each container that is named, and prints the names of those with which it went well. What is wrong with one
/// does not keep the others from it.
fn each(arguments: &Arguments, mut act: impl FnMut(&str) -> Result<()>) -> Result<u8> {
    let mut status = 0;
    for name in arguments.operands_from(0)? {
        match act(&name) {
            Ok(()) => {
                print(&format!("{name}\n"))?;
            }
            Err(error) => {
                say(&error.to_string());
                status = 1;
            }
        }
    }
    Ok(status)
}

/// With which status box exits after it was attached.
fn status_of(outcome: Outcome) -> Result<u8> {
    match outcome {
        Outcome::Ended(status) => Ok(status),
        Outcome::Running | Outcome::Detached | Outcome::Lost => Ok(0),
    }
}

/// Writes to stdout. A reader that has gone is no error.
fn print(text: &str) -> Result<u8> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        done => done.map(|()| 0).context(|| "stdout"),
    }
}
