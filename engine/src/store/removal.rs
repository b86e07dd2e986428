//! Removing: a rename that makes it gone at once, then deleting, which may take long and may be interrupted.

use std::fs::Permissions;
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{GONE, PARTIAL, beside, fresh_name};
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

/// Deletes a file or a tree. Folders that its owner may not enter, as overlayfs makes one in its work folder, are opened up.
pub fn delete(path: &Path) -> IoResult<()> {
    if !std::fs::symlink_metadata(path)?.is_dir() {
        return std::fs::remove_file(path);
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(path)?;
            std::fs::remove_dir_all(path)
        }
        done => done,
    }
}

/// Lets the owner of the folders of a tree read, enter and change them.
fn open_up(folder: &Path) -> IoResult<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
