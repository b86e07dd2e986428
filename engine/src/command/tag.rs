//! tag: one more name for an image.

use super::paths::refuse_path;
use super::{Arguments, Command, Global};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::store::ImageRecord;

pub const COMMAND: Command = Command {
    name: "tag",
    aliases: &["image tag"],
    operands: "IMAGE NAME[:TAG]",
    operand_count: 2..=2,
    help: "give an image one more name",
    flags: &[],
    ends_at_operand: false,
    run: tag,
};

fn tag(global: &Global, arguments: &Arguments) -> Result<u8> {
    refuse_path("tag", arguments.operand(0)?.unwrap_or_default())?;
    let store = global.store()?;
    let name = Reference::parse(arguments.operand(1)?.unwrap_or_default())?;
    if name.digest.is_some() {
        return Err(Error::invalid(format!("{}: a digest is no name to be given", name.familiar())));
    }
    // Until it has its new name, nobody takes the old one away.
    let _beside = store.beside_removals()?;
    let record = store.find_image(arguments.operand(0)?.unwrap_or_default())?;
    let is_same = record.reference().is_some_and(|reference| reference.repository == name.repository);
    let repo_digest = record.repo_digest.filter(|_| is_same);
    let named = ImageRecord { name: name.to_string(), repo_digest, ..record };
    store.name_image(&named)?;
    store.events().note_image(&named, "tag");
    Ok(0)
}
