//! version: what this box is.

use serde_json::{Value, json};

use super::format::Format;
use super::{Arguments, Command, Flag, Global, print};
use crate::error::Result;
use crate::image::Platform;

pub const COMMAND: Command = Command {
    name: "version",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "show the version",
    flags: &[&[Flag {
        long: "format",
        short: Some('f'),
        value: Some("FORMAT"),
        help: "json, or fields as {{.Client.Version}}",
    }]],
    ends_at_operand: false,
    run: version,
};

fn version(_: &Global, arguments: &Arguments) -> Result<u8> {
    match Format::parse(arguments.text("format")?)? {
        Format::Table => print(&line()),
        format => print(&format.row(&document())?),
    }
}

/// As Docker has it, where client and server are two programs.
fn document() -> Value {
    let system = rustix::system::uname();
    let this = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": "linux",
        "Arch": Platform::of_machine().architecture,
        "KernelVersion": system.release().to_string_lossy(),
    });
    json!({"Client": this, "Server": this})
}

pub fn line() -> String {
    format!("box version {}\n", env!("CARGO_PKG_VERSION"))
}
