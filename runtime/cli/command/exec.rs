//! exec: one more process in a container.

use pillbox::container::{self, ExecOptions};
use pillbox::error::{Context, Error, Result, Warning};
use rustix::process::{Gid, Uid};

use super::{command_line, container_id, read_file, root, warn};
use crate::arguments::{Arguments, Global};

/// The exit status if nothing could be started: callers of runc tell it from the program's own status.
const NOT_STARTED: u8 = 255;

pub fn exec(global: &Global, arguments: Arguments) -> Result<u8> {
    run(global, &arguments).map_err(|error| error.with_status(NOT_STARTED))
}

fn run(global: &Global, arguments: &Arguments) -> Result<u8> {
    let id = container_id(arguments)?;
    let text = |flag: &str| Ok::<_, Error>(arguments.values(flag)?.pop());
    let process = match arguments.value("process") {
        Some(path) => Some(read_file(path).context(|| format!("--process {}", path.display()))?),
        None => None,
    };
    let words = (1..arguments.operands.len()).map(|index| arguments.operand(index).map(str::to_string));
    // By fields, for the setters would move the options each time.
    let mut options = ExecOptions::default();
    options.process = process;
    options.arguments = words.collect::<Result<_>>()?;
    options.environment = arguments.values("env")?;
    options.cwd = text("cwd")?;
    options.user = text("user")?.map(|user| parse_user(&user)).transpose()?;
    let gids = arguments.values("additional-gids")?;
    let gids = gids.iter().flat_map(|list| list.split(','));
    options.additional_gids = gids.map(|gid| parse_gid("--additional-gids", gid)).collect::<Result<_>>()?;
    options.capabilities = arguments.values("cap")?;
    options.no_new_privileges = arguments.is_set("no-new-privs");
    options.terminal = arguments.is_set("tty");
    options.apparmor = text("apparmor")?;
    options.process_label = text("process-label")?;
    options.cgroup = text("cgroup")?;
    options.ignore_paused = arguments.is_set("ignore-paused");
    options.preserve_fds = arguments.number("preserve-fds")?;
    let detach = arguments.is_set("detach");
    options.line = command_line(arguments, detach)?;
    let (root, mut warn) = (root(global), |warning: Warning| warn(global, &warning));
    if detach {
        container::exec(&root, &id, &options, &mut warn).map(|_| 0)
    } else {
        container::exec_in_foreground(&root, &id, &options, &mut warn)
    }
}

/// Takes numbers only: a name would have to be looked up in a file of the container's.
fn parse_user(text: &str) -> Result<(Uid, Option<Gid>)> {
    match text.split_once(':') {
        None => Ok((parse_uid(text)?, None)),
        Some((uid, gid)) => Ok((parse_uid(uid)?, Some(parse_gid("--user", gid)?))),
    }
}

fn parse_uid(text: &str) -> Result<Uid> {
    parse_id("--user", text).map(Uid::from_raw)
}

fn parse_gid(flag: &str, text: &str) -> Result<Gid> {
    parse_id(flag, text).map(Gid::from_raw)
}

fn parse_id(flag: &str, text: &str) -> Result<u32> {
    // For the kernel, u32::MAX means "no id".
    let id = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    id.filter(|&id| id != u32::MAX).ok_or_else(|| {
        Error::formatted(format_args!("{flag} {text:?}: must be a number from 0 to {}", u32::MAX - 1))
    })
}
