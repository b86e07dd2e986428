//! spec: a config.json to start from.

use std::io::Write as _;
use std::path::Path;

use pillbox::error::{Context, Error, Result};
use pillbox::oci::spec::default;

use crate::arguments::{Arguments, Global};

pub fn spec(_: &Global, arguments: Arguments) -> Result<u8> {
    let folder = arguments.value("bundle").unwrap_or(".".as_ref());
    let path = Path::new(folder).join(arguments.value("file").unwrap_or("config.json".as_ref()));
    let text = if arguments.is_set("rootless") {
        default::rootless_spec(rustix::process::geteuid(), rustix::process::getegid())
    } else {
        default::default_spec().to_string()
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::formatted(format_args!("{} exists already: remove it first", path.display())));
        }
        file => file.context(|| format!("write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).context(|| format!("write {}", path.display()))?;
    Ok(0)
}
