//! run: a container from an image, from its beginning to its end, or left to its monitor.

use std::fs::File;
use std::io::Write;

use rustix::termios::isatty;

use super::attach::{DETACH_KEYS, attaching};
use super::container_flags::{FLAGS, IDENTITY_FLAGS, LIMIT_FLAGS, RESTART_FLAG, Wanted};
use super::project::Project;
use super::pull::{POLICY_FLAGS, provide};
use super::registry_flags::{FLAGS as REGISTRY_FLAGS, PLATFORM_FLAGS};
use super::{Arguments, Command, Flag, Global, print, say, status_of, warn};
use crate::container::{
    Attaching, Lifetime, Options, Start, Streams, Timeline, run_in_foreground, start_attached, start_detached,
};
use crate::error::{Context, Error, Result};

pub const COMMAND: Command = Command {
    name: "run",
    aliases: &["container run"],
    operands: "[IMAGE [COMMAND …]]",
    operand_count: 0..=usize::MAX,
    help: "run a program in a container of its own",
    flags: &[
        FLAGS,
        LIMIT_FLAGS,
        RESTART_FLAG,
        IDENTITY_FLAGS,
        POLICY_FLAGS,
        PLATFORM_FLAGS,
        REGISTRY_FLAGS,
        OWN_FLAGS,
    ],
    ends_at_operand: true,
    run,
};

/// What is for the command, and changes nothing in the container.
pub const OWN_FLAGS: &[Flag] = &[
    Flag {
        long: "attach",
        short: Some('a'),
        value: Some("STREAM"),
        help: "stdin, stdout or stderr: which of its streams are box's; otherwise all",
    },
    DETACH_KEYS,
    Flag { long: "detach", short: Some('d'), value: None, help: "leave it running, and print its id" },
    Flag {
        long: "timeline",
        short: None,
        value: Some("[=FILE]"),
        help: "how long each step took, on stderr; with a file as a trace of Chrome's",
    },
    Flag { long: "sig-proxy", short: None, value: None, help: "pass signals on (default; =false)" },
];

fn run(global: &Global, arguments: &Arguments) -> Result<u8> {
    let Some(file) = arguments.text("timeline")? else { return run_timed(global, arguments, None) };
    let named = || format!("--timeline={file}");
    // That it cannot be written is said before anything runs.
    let trace = (!file.is_empty()).then(|| File::create(file).context(named)).transpose()?;
    let timeline = Timeline::begin();
    let ended = run_timed(global, arguments, Some(&timeline));
    match trace {
        Some(mut trace) => writeln!(trace, "{}", timeline.trace()).context(named)?,
        None => timeline.text().lines().for_each(say),
    }
    ended
}

/// What the command line asks for, or the file of the folder that it is called in.
///
/// # Errors
/// A value cannot be; there is neither an image nor such a file.
pub fn wanted(arguments: &Arguments) -> Result<Wanted> {
    let mut wanted = Wanted::parse(arguments)?;
    if arguments.operands.is_empty() {
        let folder = std::env::current_dir().context(|| "the working folder")?;
        wanted.take_project(&Project::of(&folder)?);
        let is_attached = !arguments.is_set("detach") && isatty(rustix::stdio::stdin());
        let streams = &mut wanted.options.streams;
        *streams = Streams { interactive: true, terminal: streams.terminal || is_attached };
    }
    Ok(wanted)
}

fn run_timed(global: &Global, arguments: &Arguments, timeline: Option<&Timeline>) -> Result<u8> {
    let mut wanted = wanted(arguments)?;
    let detached = arguments.is_set("detach");
    let attaching = streams(arguments, &mut wanted.options.streams)?;
    let is_throwaway = arguments.is_set("rm");
    if !detached {
        check_terminal(&wanted.options)?;
    }
    // Nobody is attached whose end would be that of its stdin.
    wanted.options.keeps_stdin = detached && wanted.options.streams.interactive;
    let store = Timeline::measure(timeline, "store", || global.store())?;
    let found = Timeline::measure(timeline, "image", || provide(&store, wanted.image(), arguments))?;
    // Whoever is on a network with a name is announced there, which is its monitor's work. Without one nobody can let go.
    let Streams { interactive, terminal } = wanted.options.streams;
    let has_monitor = detached
        || !is_throwaway
        || (interactive && terminal)
        || attaching != Attaching::default()
        || wanted.options.log.driver.is_elsewhere()
        || !wanted.options.network.names().is_empty();
    let lifetime = match (is_throwaway, has_monitor) {
        (false, _) => Lifetime::Kept,
        (true, true) => Lifetime::OfProgram,
        (true, false) => Lifetime::OfCommand,
    };
    let own = Timeline::measure(timeline, "create", || wanted.create(&store, found, lifetime, Start::Now))?;
    if detached {
        let id = own.record.id.clone();
        Timeline::measure(timeline, "start", || start_detached(&store, own, &mut say))?;
        return print(&format!("{id}\n"));
    }
    if !own.record.is_foreground {
        if !attaching.stdout && !attaching.stderr {
            print(&format!("{}\n", own.record.id))?;
        }
        let outcome =
            Timeline::measure(timeline, "run", || start_attached(&store, own, &attaching, &mut say))?;
        return status_of(outcome);
    }
    let streams = own.record.options.streams;
    if streams.terminal && !streams.interactive {
        close_keyboard()?;
    }
    run_in_foreground(&store, own, timeline, &mut |warning| warn(warning))
}

/// Which streams are box's, by `--attach`. Whoever is to read what box reads has a stdin.
fn streams(arguments: &Arguments, streams: &mut Streams) -> Result<Attaching> {
    let mut attaching = attaching(arguments)?;
    let wanted = arguments.texts("attach")?;
    let Some(first) = wanted.first() else { return Ok(attaching) };
    if arguments.is_set("detach") {
        return Err(Error::invalid(format!("--attach {first}: --detach attaches nothing: leave one out")));
    }
    (attaching.stdout, attaching.stderr) = (false, false);
    for stream in &wanted {
        match stream.to_ascii_lowercase().as_str() {
            "stdin" => streams.interactive = true,
            "stdout" => attaching.stdout = true,
            "stderr" => attaching.stderr = true,
            _ => return Err(Error::invalid(format!("--attach {stream}: must be stdin, stdout or stderr"))),
        }
    }
    Ok(attaching)
}

fn check_terminal(options: &Options) -> Result<()> {
    let streams = options.streams;
    if streams.terminal && streams.interactive && !isatty(rustix::stdio::stdin()) {
        return Err(Error::invalid("--tty: stdin is no terminal: leave -t out, or run box in one"));
    }
    Ok(())
}

/// What is typed does not reach a program that was not to have stdin.
fn close_keyboard() -> Result<()> {
    let null = File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(null)?)
}
