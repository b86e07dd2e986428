//! Namespaces that are there already, by their paths.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Context, Error, Result};
use crate::sys;
use crate::validate::NamespaceKind;

/// Opens a namespace.
///
/// # Errors
/// There is none of that kind at the path.
pub(crate) fn open_namespace(kind: NamespaceKind, path: &str) -> Result<OwnedFd> {
    let step = || format!("linux.namespaces: {}: open {path}", kind.name());
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(step)
        .map_err(Error::of_source)?;
    match sys::namespace_type(file.as_fd()) {
        Ok(flag) if flag == kind.clone_flag() => Ok(file),
        Ok(_) => Err(Error::formatted(format_args!("{}: it is a namespace of another type", step()))),
        Err(_) => Err(Error::formatted(format_args!("{}: it is no namespace", step()))),
    }
}
