//! push: an image goes to a registry.

use super::paths::refuse_path;
use super::progress::{Direction, Progress, Stream};
use super::registry_flags::{FLAGS, access};
use super::{Arguments, Command, Flag, Global, print};
use crate::error::Result;
use crate::reference::Reference;
use crate::transfer::Silent;

pub const COMMAND: Command = Command {
    name: "push",
    aliases: &["image push"],
    operands: "NAME[:TAG]",
    operand_count: 1..=1,
    help: "push an image to a registry",
    flags: &[
        &[Flag { long: "quiet", short: Some('q'), value: None, help: "nothing but the image's name" }],
        FLAGS,
    ],
    ends_at_operand: false,
    run: push,
};

fn push(global: &Global, arguments: &Arguments) -> Result<u8> {
    let text = arguments.operand(0)?.unwrap_or_default();
    refuse_path("push", text)?;
    let reference = Reference::parse(text)?;
    let access = access(arguments)?;
    let store = global.store()?;
    let record = store.find_image(&reference.to_string())?;
    let is_quiet = arguments.is_set("quiet");
    let (digest, length) = if is_quiet {
        crate::transfer::push(&store, &record, &reference, &access, &Silent)?
    } else {
        print(&format!("The push refers to repository [{}]\n", reference.repository))?;
        let progress = Progress::new(Stream::Stdout, Direction::Push);
        crate::transfer::push(&store, &record, &reference, &access, &progress)?
    };
    match is_quiet {
        true => print(&format!("{reference}\n")),
        false => print(&format!("{}: digest: {digest} size: {length}\n", reference.target())),
    }
}
