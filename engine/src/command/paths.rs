//! Where an image is meant by its name alone, and a path is none.

use std::path::Path;

use crate::archive::is_layout;
use crate::container::Source;
use crate::error::{Error, Result};

/// Refuses a path, with what helps.
///
/// # Errors
/// It is one.
pub fn refuse_path(command: &str, name: &str) -> Result<()> {
    if !Source::is_path(name) {
        return Ok(());
    }
    let path = Path::new(name);
    let remedy = if is_layout(path) {
        format!("tar -C {name} -c . | box load")
    } else if path.is_dir() {
        format!("tar -C {name} -c . | box import - NAME")
    } else {
        format!("box import {name} NAME")
    };
    Err(Error::invalid(format!(
        "{command}: {name}: a path is no image with a name: make one of it ({remedy}), and use its name"
    )))
}
