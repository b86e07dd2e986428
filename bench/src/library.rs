//! pillbox as a library: what is measured is one container's life in this process, without a program to start for it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use pillbox::{Bundle, Container, CreateOptions, Root, Stdio};

use crate::error::{Result, error};

/// Creates, starts, waits for and deletes one container of the bundle, whose state lies below `root`. Not for several
/// processes at once on the same `root`: ids are numbered in this one.
///
/// # Errors
/// What the library says; a status that is not 0.
pub fn once(bundle: &Path, root: &Path) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let id = format!("pillbox-bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let options = CreateOptions {
        stdin: Stdio::Null,
        stdout: Stdio::Null,
        stderr: Stdio::Null,
        ..CreateOptions::default()
    };
    let bundle = Bundle::read(bundle, None)?;
    let container = Container::create(&Root::new(Some(root.into())), &id, &bundle, options)?;
    let status = container.start().and_then(|()| container.wait());
    container.delete(true)?;
    match status? {
        0 => Ok(()),
        status => Err(error(format!("{id}: status {status}"))),
    }
}
