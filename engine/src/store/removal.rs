//! Removing: a rename that makes it gone at once, then deleting, which may take long and may be interrupted.

use std::ffi::CString;
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::CWD;

use super::{GONE, PARTIAL, beside, fresh_name};
use crate::deletion;
use crate::error::{Context, Result};

/// Removes a file or a folder with everything in it.
///
/// # Errors
/// It cannot be renamed (it is still there then), or not deleted completely: the next command goes on.
pub fn remove(path: &Path) -> Result<()> {
    let gone = beside(path, &fresh_name(GONE)?);
    std::fs::rename(path, &gone).context(|| format!("remove {}", path.display()))?;
    delete(&gone).context(|| format!("delete {}", gone.display()))
}

/// Deletes what commands that were killed have left in a folder of the store. What another one is making is locked.
pub fn sweep(folder: &Path, is_abandoned: impl Fn(&Path) -> bool) -> Result<()> {
    let entries = std::fs::read_dir(folder).context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry.context(|| format!("read {}", folder.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(GONE) || (name.starts_with(PARTIAL) && is_abandoned(&path)) {
            // Another command may be deleting it as well.
            match delete(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                deleted => deleted.context(|| format!("delete {}", path.display()))?,
            }
        }
    }
    Ok(())
}

/// Deletes a file or a tree.
pub fn delete(path: &Path) -> IoResult<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    Ok(deletion::delete(CWD, &name)?)
}
