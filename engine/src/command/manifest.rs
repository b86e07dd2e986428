//! manifest inspect: what a name leads to in its registry.

use serde_json::Value;

use super::registry_flags::{FLAGS, access};
use super::{Arguments, Command, Flag, Global, print};
use crate::error::{Context, Error, Result};
use crate::registries::Meaning;
use crate::registry::{Purpose, Registry};

pub const INSPECT: Command = Command {
    name: "manifest inspect",
    aliases: &[],
    operands: "NAME[:TAG|@DIGEST]",
    operand_count: 1..=1,
    help: "show a manifest or an index as it is in its registry",
    flags: &[
        &[Flag { long: "verbose", short: Some('v'), value: None, help: "its digest and format as well" }],
        FLAGS,
    ],
    ends_at_operand: false,
    run: inspect,
};

fn inspect(_: &Global, arguments: &Arguments) -> Result<u8> {
    let access = access(arguments)?;
    let Meaning { reference, .. } = access.registries.expand(arguments.operand(0)?.unwrap_or_default())?;
    let registry = Registry::open(&access.registries.endpoint(&reference)?, Purpose::Pull, &access)?;
    let document = registry.manifest(&reference.target()).context(|| reference.familiar())?;
    let wrong = |error: serde_json::Error| Error::corrupt(format!("{}: {error}", reference.familiar()));
    let mut shown: Value = serde_json::from_slice(&document.text).map_err(wrong)?;
    if arguments.is_set("verbose") {
        shown = serde_json::json!({
            "Ref": reference.to_string(),
            "Digest": document.digest,
            "MediaType": document.media_type,
            "Size": document.text.len(),
            "Manifest": shown,
        });
    }
    print(&(serde_json::to_string_pretty(&shown).map_err(wrong)? + "\n"))
}
