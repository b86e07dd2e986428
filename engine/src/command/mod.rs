//! The commands of box: a file for each, which reads flags, calls the library and prints.

mod arguments;
mod attach;
mod boot;
mod build;
mod build_cache;
mod build_context;
mod build_metadata;
mod build_output;
mod build_part;
mod build_progress;
mod build_screen;
mod builder;
mod commit;
mod completion;
mod confirmation;
mod container_flags;
mod create;
mod daemon;
mod documents;
mod enter;
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
mod limit_flags;
mod log_flags;
mod login;
mod logs;
mod man;
mod manifest;
mod moment;
mod mount_flags;
mod network;
mod network_inspect;
mod network_list;
mod paths;
mod port_list;
mod progress;
mod project;
mod prune;
mod prune_filter;
mod ps;
mod pull;
mod push;
mod refused;
mod registry_flags;
mod rm;
mod rmi;
mod run;
mod save;
mod start;
mod stats;
mod stdout;
mod stop;
mod system;
mod table;
mod tag;
mod template;
mod top;
mod update;
mod usage;
mod version;
mod volume;

use std::ffi::OsString;

pub use arguments::{Arguments, Command, Flag, Global, Request, Serve, Topic};
pub use build_cache::{CacheFolder, CacheName, CacheWish, caches, parse_sources, source_of, target_of};
pub use builder::prune_builds;
pub use daemon::DAEMON;
pub use events::{EVENT_FILTERS, is_meant, message as describe_event};
pub use filter::{is_labelled, is_named};
pub use image_filter::Filter as ImageFilter;
pub use image_inspect::describe as describe_image;
pub use image_prune::prune_images;
pub use limit_flags::parse_rule as parse_device_rule;
pub use log_flags::log_options;
pub use mount_flags::{PROPAGATIONS, check_target, parse_tmpfs, parse_volume};
pub use network::{make as make_network, prune_networks, remove as remove_network};
pub use prune_filter::PruneFilter;
pub use rm::remove as remove_container;
pub use rmi::{ImagesGone, remove as remove_image};
use stdout::print;
pub use system::describe as describe_system;
pub use table::human_size;
pub use top::processes_table;
pub use volume::{prune_volumes, volumes_in_use};

use crate::container::{Outcome, Swept, sweep};
use crate::error::{Error, Kind, Result, STATUS};
use crate::message;
use crate::store::{Broken, ContainerFolder, Store};

/// All commands.
pub const COMMANDS: &[Command] = &[
    run::COMMAND,
    ps::COMMAND,
    logs::COMMAND,
    exec::COMMAND,
    enter::COMMAND,
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
    network_list::COMMAND,
    network_inspect::INSPECT,
    network::RM,
    network::CONNECT,
    network::DISCONNECT,
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
    man::COMMAND,
    daemon::COMMAND,
    version::COMMAND,
];

impl Global {
    /// Opens the store that the command line means, and puts away what killed commands have left.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub fn store(&self) -> Result<Store> {
        self.store_and_containers().map(|(store, _)| store)
    }

    /// The same, with all containers, which were looked at meanwhile.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub fn store_and_containers(&self) -> Result<(Store, Vec<Swept>)> {
        let (data, runtime) = (self.data_root.clone(), self.exec_root.clone());
        let store = Store::of_caller(data, runtime)?;
        let swept = sweep(&store, &mut |error| say(&format!("warning: {error}")))?;
        Ok((store, swept))
    }
}

/// Runs a command line; the result is the exit status. `serve` is what `daemon` does.
///
/// # Errors
/// Whatever failed, in a line.
pub fn run(arguments: impl Iterator<Item = OsString>, serve: Serve) -> Result<u8> {
    match arguments::parse(arguments, COMMANDS)? {
        Request::Run(command, global, arguments) => {
            let global = Global { serve: Some(serve), ..global };
            (command.run)(&global, &arguments).map_err(|error| with_dockers_status(command, error))
        }
        Request::Help(topic) => print(&arguments::help(topic, COMMANDS)),
        Request::Version => print(&version::line()),
    }
}

/// Docker's statuses: 125 is for a command line that is wrong, and for whatever keeps `run` from its program; 1 for the rest.
fn with_dockers_status(command: &Command, error: Error) -> Error {
    let is_own = error.status() == STATUS;
    match is_own && command.name != run::COMMAND.name && error.kind() != Kind::Invalid {
        true => error.with_status(1),
        false => error,
    }
}

/// What was left out or lost, if it is of weight: a container is less confined than was asked for, a setting of the host was
/// changed, output is lost, something is left behind.
fn warn(warning: &pillbox::Warning) {
    use pillbox::WarningKind::{Hook, HostChanged, LeftBehind, LessConfined, OutputLost, Unlimited};
    if matches!(warning.kind(), Hook | HostChanged | LeftBehind | LessConfined | OutputLost | Unlimited) {
        message::say(format_args!("warning: {warning}"));
    }
}

/// A line for the user.
fn say(text: &str) {
    message::say(text);
}

/// What is wrong with one container keeps no command from the others: it is told, and the container passed over. One that has just gone
/// is none.
fn whole<T>(folder: &ContainerFolder, result: Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => {
            say(&format!("warning: container {}: {error}", folder.id.short()));
            None
        }
        Ok(value) => Some(value),
    }
}

/// Records that cannot be read are told, because a list passes over them.
fn tell_broken(broken: &[Broken]) {
    for record in broken {
        say(&format!("warning: {record}: box system check --repair"));
    }
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
