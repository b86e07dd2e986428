//! run: a container from an image, from its beginning to its end.

use rustix::termios::isatty;

use super::container_flags::{FLAGS, parse};
use super::{Arguments, Command, Global, warn};
use crate::container::{Source, Start, create, run_in_foreground};
use crate::error::{Error, Result};
use crate::store::Store;

pub const COMMAND: Command = Command {
    name: "run",
    aliases: &["container run"],
    operands: "IMAGE [COMMAND …]",
    operand_count: 1..=usize::MAX,
    help: "run a program in a container of its own",
    flags: &[FLAGS],
    ends_at_operand: true,
    run,
};

fn run(global: &Global, arguments: &Arguments) -> Result<u8> {
    let options = parse(arguments)?;
    if !arguments.is_set("rm") {
        return Err(Error::invalid(
            "run: --rm is missing: containers that outlive their command are not there yet",
        ));
    }
    let streams = options.streams;
    if streams.terminal && streams.interactive && !isatty(rustix::stdio::stdin()) {
        return Err(Error::invalid("--tty: stdin is no terminal: leave -t out, or run box in one"));
    }
    let store = global.store()?;
    let source = Source::find(&store, arguments.operand(0)?.unwrap_or_default())?;
    say_if_squashed(&store);
    let name = arguments.text("name")?.map(str::to_string);
    let own = create(&store, source, name, options, true, Start::Now)?;
    if streams.terminal && !streams.interactive {
        close_keyboard()?;
    }
    run_in_foreground(&store, own, &mut |warning| warn(warning))
}

/// What is typed does not reach a program that was not to have stdin.
fn close_keyboard() -> Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(null)?)
}

fn say_if_squashed(store: &Store) {
    if store.maps().is_some_and(|maps| maps.is_squashed()) {
        eprintln!(
            "box: you have no ranges of ids (newuidmap, /etc/subuid, /etc/subgid): all files in containers belong to root there, and there is no other user"
        );
    }
}
