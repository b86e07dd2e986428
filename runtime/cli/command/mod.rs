//! The commands: each reads its flags, calls the library and prints the result.

mod check;
mod checkpoint;
mod completion;
mod exec;
mod explain;
mod features;
mod flag;
mod lifecycle;
mod limits;
mod list;
mod man;
mod mounts;
#[cfg(feature = "network")]
mod net;
mod processes;
mod spec;
mod stream;
mod table;
mod r#try;
mod version;
mod watch;

use std::path::Path;

use pillbox::ContainerId;
use pillbox::container::{Bundle, CommandLine, CreateOptions, Networks};
#[cfg(feature = "network")]
use pillbox::container::{CniNetwork, CniSettings};
use pillbox::error::{Error, Result, Warning, WarningKind};
use pillbox::state::Root;

use crate::arguments::{Arguments, Command, Global};

use flag::{
    BUNDLE, CNI, CNI_ARGS, CNI_CAPABILITY, CNI_NETWORK, CONFIG, CONSOLE_SOCKET, NETCONF, NO_NEW_KEYRING,
    NO_PIVOT, NO_SUBREAPER, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, PUBLISH, SPEC, switch, valued,
};

use stream::read_file;

pub use stream::print;
pub use version::VERSION;

/// All commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "create",
        operands: "ID",
        operand_count: 1..=1,
        help: "make a container; start runs its program",
        flags: &[
            BUNDLE,
            CONFIG,
            SPEC,
            NETCONF,
            PUBLISH,
            CNI,
            CNI_NETWORK,
            CNI_ARGS,
            CNI_CAPABILITY,
            CONSOLE_SOCKET,
            PID_FILE,
            PIDFD_SOCKET,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
            NO_SUBREAPER,
        ],
        ends_at_operand: false,
        run: lifecycle::create,
    },
    Command {
        name: "start",
        operands: "ID",
        operand_count: 1..=1,
        help: "run the program of a created container",
        flags: &[],
        ends_at_operand: false,
        run: lifecycle::start,
    },
    Command {
        name: "run",
        operands: "ID",
        operand_count: 1..=1,
        help: "create, start and wait; the exit status is the program's",
        flags: &[
            BUNDLE,
            CONFIG,
            SPEC,
            NETCONF,
            PUBLISH,
            CNI,
            CNI_NETWORK,
            CNI_ARGS,
            CNI_CAPABILITY,
            CONSOLE_SOCKET,
            PID_FILE,
            PIDFD_SOCKET,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
            NO_SUBREAPER,
            switch("detach", Some('d'), "do not wait"),
            switch("keep", None, "leave the container when its program has ended"),
        ],
        ends_at_operand: false,
        run: lifecycle::run,
    },
    Command {
        name: "exec",
        operands: "ID [COMMAND [ARGUMENT…]]",
        operand_count: 1..=usize::MAX,
        help: "run one more program in a container",
        flags: &[
            CONSOLE_SOCKET,
            PID_FILE,
            PIDFD_SOCKET,
            PRESERVE_FDS,
            valued("process", Some('p'), "FILE", "the program as a process.json says"),
            valued("cwd", None, "DIR", "its working folder"),
            valued("env", Some('e'), "NAME=VALUE", "one more variable; may be repeated"),
            switch("tty", Some('t'), "give it a terminal"),
            valued("user", Some('u'), "UID[:GID]", "its user"),
            valued("additional-gids", Some('g'), "GID", "one more group; may be repeated"),
            switch("detach", Some('d'), "do not wait"),
            valued("process-label", None, "LABEL", "its SELinux label"),
            valued("apparmor", None, "PROFILE", "its AppArmor profile"),
            switch("no-new-privs", None, "set no_new_privs"),
            valued("cap", Some('c'), "CAPABILITY", "one more capability; may be repeated"),
            valued("cgroup", None, "PATH", "a cgroup below the container's"),
            switch("ignore-paused", None, "go ahead in a paused container"),
            NO_SUBREAPER,
        ],
        ends_at_operand: true,
        run: exec::exec,
    },
    Command {
        name: "state",
        operands: "ID",
        operand_count: 1..=1,
        help: "show a container's state as JSON",
        flags: &[],
        ends_at_operand: false,
        run: list::state,
    },
    Command {
        name: "list",
        operands: "",
        operand_count: 0..=0,
        help: "list the containers",
        flags: &[
            switch("quiet", Some('q'), "ids only"),
            valued("format", Some('f'), "FORMAT", "table (default) or json"),
        ],
        ends_at_operand: false,
        run: list::list,
    },
    Command {
        name: "kill",
        operands: "ID [SIGNAL]",
        operand_count: 1..=2,
        help: "send a signal (default: TERM) to the container's first process",
        flags: &[
            switch("all", Some('a'), "send it to all of its processes"),
            switch("regex", Some('r'), "ID is a regular expression: all that match"),
        ],
        ends_at_operand: false,
        run: lifecycle::kill,
    },
    Command {
        name: "delete",
        operands: "ID",
        operand_count: 1..=1,
        help: "remove a container that has stopped or was never started",
        flags: &[
            switch("force", Some('f'), "kill it first if it runs; no error if there is none"),
            switch("regex", Some('r'), "ID is a regular expression: remove all that match"),
        ],
        ends_at_operand: false,
        run: lifecycle::delete,
    },
    Command {
        name: "destroy",
        operands: "ID",
        operand_count: 1..=1,
        help: "the same as delete --force",
        flags: &[],
        ends_at_operand: false,
        run: lifecycle::destroy,
    },
    Command {
        name: "pause",
        operands: "ID",
        operand_count: 1..=1,
        help: "stop all processes of a container",
        flags: &[],
        ends_at_operand: false,
        run: lifecycle::pause,
    },
    Command {
        name: "resume",
        operands: "ID",
        operand_count: 1..=1,
        help: "let a paused container go on",
        flags: &[],
        ends_at_operand: false,
        run: lifecycle::resume,
    },
    Command {
        name: "ps",
        operands: "ID [PS-ARGUMENT…]",
        operand_count: 1..=usize::MAX,
        help: "show a container's processes, by ps(1) (default: ps -ef) or as a list of pids",
        flags: &[valued("format", Some('f'), "FORMAT", "table (default) or json")],
        ends_at_operand: true,
        run: processes::ps,
    },
    Command {
        name: "update",
        operands: "ID",
        operand_count: 1..=1,
        help: "change a container's limits; what is not named stays",
        flags: limits::FLAGS,
        ends_at_operand: false,
        run: limits::update,
    },
    Command {
        name: "mounts",
        operands: "add|remove ID FILE",
        operand_count: 3..=3,
        help: "make or unmount what FILE, a JSON array of mounts as in config.json, lists (- is stdin)",
        flags: &[],
        ends_at_operand: false,
        run: mounts::mounts,
    },
    #[cfg(feature = "network")]
    Command {
        name: "net",
        operands: "list|check|gc|rm [NAME]",
        operand_count: 1..=2,
        help: "show the networks with their containers; look for faults; mend what a crash left; remove a network",
        flags: &[valued("format", Some('f'), "FORMAT", "of list: table (default) or json"), CNI, CNI_NETWORK],
        ends_at_operand: false,
        run: net::net,
    },
    Command {
        name: "events",
        operands: "ID",
        operand_count: 1..=1,
        help: "show what a container uses and when memory ran out, a line of JSON each, until it ends",
        flags: &[
            valued("interval", None, "TIME", "between two looks (default: 5s)"),
            switch("stats", None, "look once"),
        ],
        ends_at_operand: false,
        run: watch::events,
    },
    Command {
        name: "wait",
        operands: "ID",
        operand_count: 1..=1,
        help: "wait until a container ends; print its program's exit status, and exit with it",
        flags: &[],
        ends_at_operand: false,
        run: watch::wait,
    },
    checkpoint::refused("checkpoint"),
    checkpoint::refused("restore"),
    Command {
        name: "features",
        operands: "",
        operand_count: 0..=0,
        help: "show what this runtime supports, as JSON",
        flags: &[],
        ends_at_operand: false,
        run: features::features,
    },
    Command {
        name: "spec",
        operands: "",
        operand_count: 0..=0,
        help: "write a config.json to start from",
        flags: &[
            BUNDLE,
            valued("file", Some('f'), "FILE", "what to write (default: config.json in the bundle)"),
            switch("rootless", None, "for an ordinary user, with a user namespace"),
        ],
        ends_at_operand: false,
        run: spec::spec,
    },
    Command {
        name: "explain",
        operands: "",
        operand_count: 0..=0,
        help: "show what create would do with a bundle, step by step, and do nothing",
        flags: &[
            BUNDLE,
            CONFIG,
            SPEC,
            NETCONF,
            PUBLISH,
            CNI,
            CNI_NETWORK,
            CNI_ARGS,
            CNI_CAPABILITY,
            valued("format", None, "FORMAT", "text (default) or json"),
        ],
        ends_at_operand: false,
        run: explain::explain,
    },
    Command {
        name: "check",
        operands: "",
        operand_count: 0..=0,
        help: "show what this machine offers to containers, what is missing, and what helps",
        flags: &[valued("format", None, "FORMAT", "table (default) or json")],
        ends_at_operand: false,
        run: check::check,
    },
    Command {
        name: "try",
        operands: "[COMMAND [ARGUMENT…]]",
        operand_count: 0..=usize::MAX,
        help: "run a command, or a shell, in a throwaway container over this system's files",
        flags: &[NETCONF, PUBLISH, CNI, CNI_NETWORK, CNI_ARGS, CNI_CAPABILITY],
        ends_at_operand: true,
        run: r#try::r#try,
    },
    Command {
        name: "completion",
        operands: "bash|zsh|fish",
        operand_count: 1..=1,
        help: "print a script that completes pillbox's command line",
        flags: &[],
        ends_at_operand: false,
        run: completion::completion,
    },
    Command {
        name: "man",
        operands: "",
        operand_count: 0..=0,
        help: "print the manual page: pillbox man | man -l -",
        flags: &[],
        ends_at_operand: false,
        run: man::man,
    },
];

/// The folder with the state of all containers.
fn root(global: &Global) -> Root {
    global.root.as_ref().map_or_else(Root::from_environment, Root::at)
}

fn container_id(arguments: &Arguments) -> Result<ContainerId> {
    ContainerId::new(arguments.operand(0)?)
}

fn bundle(global: &Global, arguments: &Arguments) -> Result<Bundle> {
    let (folder, config) = place(global, arguments);
    Bundle::read(folder, config)
}

fn create_options(global: &Global, arguments: &Arguments, detach: bool) -> Result<CreateOptions> {
    let mut options = CreateOptions::default();
    options.line = command_line(arguments, detach)?;
    options.preserve_fds = arguments.number("preserve-fds")?;
    options.no_pivot = arguments.is_set("no-pivot");
    options.no_new_keyring = arguments.is_set("no-new-keyring");
    options.driver = global.driver;
    Ok(options)
}

#[cfg(not(feature = "network"))]
fn networks(global: &Global, arguments: &Arguments) -> Result<Option<Networks>> {
    named_networks(global, arguments, None)
}

/// Without the feature there are none.
#[cfg(not(feature = "network"))]
fn named_networks(
    _: &Global,
    arguments: &Arguments,
    _: Option<std::path::PathBuf>,
) -> Result<Option<Networks>> {
    let flags = ["netconf", "publish", "cni", "cni-network", "cni-args", "cni-capability"];
    match flags.into_iter().find(|flag| arguments.value(flag).is_some()) {
        Some(flag) => {
            Err(Error::formatted(format_args!("--{flag}: this pillbox was built without networks")))
        }
        None => Ok(None),
    }
}

/// What the container is to be connected to: as the flags say, and without `--netconf` as netconf.json beside
/// the configuration says, if it is there.
#[cfg(feature = "network")]
fn networks(global: &Global, arguments: &Arguments) -> Result<Option<Networks>> {
    let beside = if global.netconf.is_none() { beside(global, arguments) } else { None };
    named_networks(global, arguments, beside)
}

/// What the container is to be connected to: the networks of `--netconf` or of another file, those of CNI
/// plugins, published ports.
#[cfg(feature = "network")]
fn named_networks(
    global: &Global,
    arguments: &Arguments,
    beside: Option<std::path::PathBuf>,
) -> Result<Option<Networks>> {
    let mut networks = match (arguments.value("netconf").or(global.netconf.as_deref()), beside) {
        (Some(path), _) => Networks::read(Path::new(path))?,
        (None, Some(path)) => Networks::read(&path)?,
        (None, None) => Networks::default(),
    };
    cni_networks(global, arguments)?.into_iter().for_each(|network| networks.add_cni(network));
    networks.set_cni(cni_settings(arguments)?);
    networks.publish(&arguments.values("publish")?)?;
    Ok(Some(networks).filter(|networks| !networks.is_empty()))
}

/// Those of `--cni` and `--cni-network`.
#[cfg(feature = "network")]
fn cni_networks(global: &Global, arguments: &Arguments) -> Result<Vec<CniNetwork>> {
    let mut networks = Vec::new();
    for file in arguments.values("cni")? {
        networks.push(CniNetwork::read(&file)?);
    }
    for name in arguments.values("cni-network")? {
        let mut skipped = Vec::new();
        networks.push(CniNetwork::find(&name, &mut skipped)?);
        skipped.iter().for_each(|why| warn(global, &Warning::ignored(format_args!("{why}"))));
    }
    Ok(networks)
}

#[cfg(feature = "network")]
fn beside(global: &Global, arguments: &Arguments) -> Option<std::path::PathBuf> {
    let (folder, config) = place(global, arguments);
    let folder = config.map_or(folder, |config| config.parent().unwrap_or(folder));
    Some(folder.join("netconf.json")).filter(|path| path.exists())
}

#[cfg(feature = "network")]
fn cni_settings(arguments: &Arguments) -> Result<CniSettings> {
    let mut settings = CniSettings::default();
    settings.path = std::env::var("PATH").ok();
    settings.args = arguments.values("cni-args")?.join(";");
    if let Ok(path) = std::env::var("CNI_PATH") {
        settings.folders = path.split(':').filter(|folder| !folder.is_empty()).map(str::to_string).collect();
    }
    for given in arguments.values("cni-capability")? {
        let (name, value) = given
            .split_once('=')
            .ok_or_else(|| Error::formatted(format_args!("--cni-capability {given}: must be NAME=JSON")))?;
        settings.capabilities.push((name.to_string(), value.to_string()));
    }
    Ok(settings)
}

/// The folder of the bundle, and the file with the configuration if it is another one than config.json there.
fn place<'a>(global: &'a Global, arguments: &'a Arguments) -> (&'a Path, Option<&'a Path>) {
    let folder = arguments.value("bundle").unwrap_or(".".as_ref());
    let config = arguments.value("config").or(arguments.value("spec")).or(global.spec.as_deref());
    (Path::new(folder), config.map(Path::new))
}

fn command_line(arguments: &Arguments, detach: bool) -> Result<CommandLine> {
    let path = |flag: &str| arguments.value(flag).map(Into::into);
    Ok(CommandLine {
        detach,
        console_socket: path("console-socket"),
        pid_file: path("pid-file"),
        pidfd_socket: path("pidfd-socket"),
        listen_fds: listen_fds()?,
        notify: notify_socket(),
    })
}

/// sd_listen_fds(3): the descriptors are for the process that LISTEN_PID names. If it is not set, they are
/// for this process, as in crun and runc.
fn listen_fds() -> Result<u32> {
    let meant = std::env::var("LISTEN_PID").map_or(true, |pid| pid == std::process::id().to_string());
    match std::env::var("LISTEN_FDS") {
        Ok(text) if meant => {
            text.parse().map_err(|_| Error::formatted(format_args!("LISTEN_FDS={text}: not a whole number")))
        }
        _ => Ok(0),
    }
}

/// The socket on which a service manager waits to hear that the container is ready: sd_notify(3).
fn notify_socket() -> Option<String> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|socket| socket.starts_with(['/', '@']))
}

/// Writes a warning to the log and to stderr; most warnings only with `--debug`, because callers take any
/// output on stderr for a failure.
fn warn(global: &Global, warning: &Warning) {
    if global.debug || is_always_shown(warning.kind()) {
        global.log.write("warning", warning.text());
        eprintln!("pillbox: warning: {warning}");
    }
}

/// Warnings that are always shown: a hook has failed (config.md: the runtime "MUST log a warning"), a
/// container is less confined than requested, a setting of the host was changed, output is lost, or something
/// is left of a container that has ended.
fn is_always_shown(kind: WarningKind) -> bool {
    use WarningKind::{Hook, HostChanged, LeftBehind, LessConfined, OutputLost};
    matches!(kind, Hook | HostChanged | LeftBehind | LessConfined | OutputLost)
}
