//! create: a container that is started later.

use super::container_flags::{FLAGS, IDENTITY_FLAGS, LIMIT_FLAGS, RESTART_FLAG, Wanted};
use super::pull::{POLICY_FLAGS, provide};
use super::registry_flags::{FLAGS as REGISTRY_FLAGS, PLATFORM_FLAGS};
use super::{Arguments, Command, Global, print};
use crate::container::{Lifetime, Start};
use crate::error::Result;

pub const COMMAND: Command = Command {
    name: "create",
    aliases: &["container create"],
    operands: "IMAGE [COMMAND …]",
    operand_count: 1..=usize::MAX,
    help: "make a container without starting it",
    flags: &[FLAGS, LIMIT_FLAGS, RESTART_FLAG, IDENTITY_FLAGS, POLICY_FLAGS, PLATFORM_FLAGS, REGISTRY_FLAGS],
    ends_at_operand: true,
    run,
};

fn run(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let found = provide(&store, arguments.operand(0)?.unwrap_or_default(), arguments)?;
    let lifetime = if arguments.is_set("rm") { Lifetime::OfProgram } else { Lifetime::Kept };
    let own = Wanted::parse(arguments)?.create(&store, found, lifetime, Start::Later)?;
    print(&format!("{}\n", own.record.id))
}
