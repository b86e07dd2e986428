//! exec: one more program in a container that runs.

use rustix::termios::isatty;

use super::attach::{DETACH_KEYS, keys};
use super::container_flags::environment;
use super::{Arguments, Command, Flag, Global, warn};
use crate::container::{ExecRequest, Streams, exec as exec_in, exec_detached};
use crate::error::{Error, Result};

pub const COMMAND: Command = Command {
    name: "exec",
    aliases: &["container exec"],
    operands: "CONTAINER COMMAND …",
    operand_count: 2..=usize::MAX,
    help: "run one more program in a container that runs",
    flags: &[&[
        DETACH_KEYS,
        Flag { long: "detach", short: Some('d'), value: None, help: "leave it running" },
        Flag { long: "interactive", short: Some('i'), value: None, help: "the program reads what box reads" },
        Flag { long: "tty", short: Some('t'), value: None, help: "give it a terminal" },
        Flag { long: "env", short: Some('e'), value: Some("NAME=VALUE"), help: "a variable" },
        Flag { long: "env-file", short: None, value: Some("FILE"), help: "variables, one a line" },
        Flag { long: "workdir", short: Some('w'), value: Some("FOLDER"), help: "its working folder" },
        Flag { long: "user", short: Some('u'), value: Some("USER[:GROUP]"), help: "who it runs as" },
        Flag { long: "privileged", short: None, value: None, help: "everything is allowed" },
    ]],
    ends_at_operand: true,
    run: exec,
};

fn exec(global: &Global, arguments: &Arguments) -> Result<u8> {
    let text = |flag: &str| arguments.text(flag).map(|text| text.map(str::to_string));
    let streams = Streams { interactive: arguments.is_set("interactive"), terminal: arguments.is_set("tty") };
    let request = ExecRequest {
        command: arguments.operands_from(1)?,
        environment: environment(arguments)?,
        workdir: text("workdir")?,
        user: text("user")?,
        streams,
        privileged: arguments.is_set("privileged"),
        detached: arguments.is_set("detach"),
        keys: keys(arguments)?,
    };
    if streams.terminal && streams.interactive && !request.detached && !isatty(rustix::stdio::stdin()) {
        return Err(Error::invalid("--tty: stdin is no terminal: leave -t out, or run box in one"));
    }
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    match request.detached {
        true => exec_detached(&store, &folder, request).map(|()| 0),
        false => exec_in(&store, &folder, request, &mut |warning| warn(warning)),
    }
}
