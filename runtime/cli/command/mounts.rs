//! mounts: adds mounts to a running container, or removes them.

use pillbox::ContainerId;
use pillbox::container::{self, MountsChange};
use pillbox::error::{Context, Error, Result};

use super::{read_file, root, warn};
use crate::arguments::{Arguments, Global};

pub fn mounts(global: &Global, arguments: Arguments) -> Result<u8> {
    let change = match arguments.operand(0)? {
        "add" => MountsChange::Add,
        "remove" => MountsChange::Remove,
        other => return Err(Error::formatted(format_args!("mounts: {other:?}: must be add or remove"))),
    };
    let id = ContainerId::new(arguments.operand(1)?)?;
    let file = &arguments.operands[2];
    let list = read_file(file).context(|| file.display().to_string())?;
    container::change_mounts(&root(global), &id, &list, change, &mut |warning| warn(global, &warning))?;
    Ok(0)
}
