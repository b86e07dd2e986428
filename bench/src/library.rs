//! pillbox as a library: measures one container's life in this process, without executing a command for it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use pillbox::{Bundle, Container, CreateOptions, Root, Stdio};

use crate::error::{Result, error};

/// Creates, starts, waits for and deletes one container of the bundle, with its state below `root`. Several
/// processes must not use the same `root` at once, because ids are only unique in one process.
///
/// # Errors
/// The library's errors; a status other than 0.
pub fn once(bundle: &Path, root: &Path) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let id = format!("pillbox-bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let options = CreateOptions::new().stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
    let bundle = Bundle::read(bundle, None)?;
    let container = Container::create(&Root::at(root), &id, &bundle, options)?;
    let status = container.start().and_then(|()| container.wait());
    container.delete(true)?;
    match status? {
        0 => Ok(()),
        status => Err(error(format!("{id}: status {status}"))),
    }
}
