//! explain: what run would do.

use super::container_flags::{FLAGS, IDENTITY_FLAGS, LIMIT_FLAGS, RESTART_FLAG};
use super::pull::POLICY_FLAGS;
use super::registry_flags::{FLAGS as REGISTRY_FLAGS, PLATFORM_FLAGS};
use super::run::{OWN_FLAGS, wanted};
use super::{Arguments, Command, Flag, Global, print};
use crate::container::{Explained, explain as explain_container};
use crate::error::{Error, Result};

pub const COMMAND: Command = Command {
    name: "explain",
    aliases: &[],
    operands: "[IMAGE [COMMAND …]]",
    operand_count: 0..=usize::MAX,
    help: "show what run would do: configuration, network and every step, before anything is made",
    flags: &[
        FLAGS,
        LIMIT_FLAGS,
        RESTART_FLAG,
        IDENTITY_FLAGS,
        POLICY_FLAGS,
        PLATFORM_FLAGS,
        REGISTRY_FLAGS,
        OWN_FLAGS,
        &[Flag { long: "format", short: None, value: Some("FORMAT"), help: "text (default) or json" }],
    ],
    ends_at_operand: true,
    run: explain,
};

fn explain(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = arguments.text("format")?.unwrap_or("text");
    let wanted = wanted(arguments)?;
    let store = global.store()?;
    let source = wanted.source(&store)?;
    let explained = explain_container(&store, &source, wanted.options)?;
    match format {
        "text" => print(&text(&explained)),
        "json" => print(&format!("{:#}\n", explained.document())),
        other => Err(Error::invalid(format!("--format {other}: must be text or json"))),
    }
}

fn text(explained: &Explained) -> String {
    let Explained { root, config, network, runtime, init, operations: _, warnings } = explained;
    let mut text = format!("root: {root}\n\nconfig.json: {config:#}\n\nnetwork: {network:#}\n\nruntime:\n");
    for (number, (step, object)) in runtime.iter().enumerate() {
        text += &format!("{:>4}  {step:<22} {object}\n", number + 1);
    }
    text += "\ninit:\n";
    for (number, operation) in init.iter().enumerate() {
        text += &format!("{:>4}  {operation}\n", number + 1);
    }
    text + &warnings.iter().map(|warning| format!("warning: {warning}\n")).collect::<String>()
}
