//! version: what this box is.

use super::{Arguments, Command, Global, print};
use crate::error::Result;

pub const COMMAND: Command = Command {
    name: "version",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "show the version",
    flags: &[],
    ends_at_operand: false,
    run: version,
};

fn version(_: &Global, _: &Arguments) -> Result<u8> {
    print(&line())
}

pub fn line() -> String {
    format!("box version {}\n", env!("CARGO_PKG_VERSION"))
}
