//! daemon: Docker's API. What serves it stands on the commands, and so comes from above.

use super::{Arguments, Command, Flag, Global};
use crate::error::{Error, Result};

/// The command's name.
pub const DAEMON: &str = "daemon";

const fn valued(long: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, value: Some(value), help }
}

pub const COMMAND: Command = Command {
    name: DAEMON,
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "serve Docker's API for docker, compose and whatever else speaks it; also called boxd",
    flags: &[&[
        Flag {
            long: "host",
            short: Some('H'),
            value: Some("ADDRESS"),
            help: "unix://PATH (default: /run/boxd.sock), fd:// for systemd's sockets, tcp://ADDRESS:PORT",
        },
        Flag {
            long: "tlsverify",
            short: None,
            value: None,
            help: "clients on the network have certificates",
        },
        valued("tlscacert", "FILE", "the authorities that vouch for them"),
        valued("tlscert", "FILE", "boxd's own certificate"),
        valued("tlskey", "FILE", "the key of that"),
        valued("idle", "TIME", "end when nothing has happened for so long"),
        valued("pidfile", "FILE", "write the process's number into a file"),
        valued("log", "FILE", "write requests that fail into a file, one JSON object a line"),
        valued("log-level", "LEVEL", "debug, info (default) or error"),
        valued("data-root", "DIR", "where images and containers are kept"),
        valued("exec-root", "DIR", "where states of running containers are kept"),
        Flag {
            long: "metrics",
            short: None,
            value: None,
            help: "answer /metrics with figures for Prometheus",
        },
    ]],
    ends_at_operand: false,
    run: daemon,
};

fn daemon(global: &Global, arguments: &Arguments) -> Result<u8> {
    let missing = || Error::invalid("daemon: this program has none");
    global.serve.ok_or_else(missing)?(global, arguments)
}
