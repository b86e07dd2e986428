//! commit: an image from a container's changes.

use super::{Arguments, Command, Flag, Global, print};
use crate::container::{CommitOptions, commit as commit_container};
use crate::error::Result;
use crate::reference::Reference;

pub const CHANGE: Flag = Flag {
    long: "change",
    short: Some('c'),
    value: Some("INSTRUCTION"),
    help: "how it is run, as in a Dockerfile: 'CMD [\"sh\"]'",
};

pub const COMMAND: Command = Command {
    name: "commit",
    aliases: &["container commit"],
    operands: "CONTAINER [NAME[:TAG]]",
    operand_count: 1..=2,
    help: "make an image of a container and what it has changed",
    flags: &[&[
        Flag { long: "author", short: Some('a'), value: Some("NAME"), help: "who has made it" },
        Flag { long: "message", short: Some('m'), value: Some("TEXT"), help: "what for" },
        CHANGE,
        Flag {
            long: "pause",
            short: Some('p'),
            value: None,
            help: "stop its processes meanwhile (default; =false)",
        },
    ]],
    ends_at_operand: false,
    run: commit,
};

fn commit(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    let options = CommitOptions {
        name: arguments.operand(1)?.map(Reference::parse).transpose()?,
        author: arguments.text("author")?.unwrap_or_default().to_string(),
        message: arguments.text("message")?.unwrap_or_default().to_string(),
        changes: arguments.texts("change")?,
        pause: arguments.is_on("pause"),
    };
    let id = commit_container(&store, &folder, &options)?;
    print(&format!("{id}\n"))
}
