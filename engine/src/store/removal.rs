//! Removing: a rename that makes it gone at once, then deleting, which may take long and may be interrupted.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::{GONE, PARTIAL, beside, fresh_name};
use crate::deletion;
use crate::error::{Context, Result};
use crate::folder;
use crate::ids::IdMaps;
use crate::inside;

/// Removes a file or a folder with everything in it. `maps` are the ids that its files may have.
///
/// # Errors
/// It cannot be renamed (it is still there then), or not deleted completely: the next command goes on.
pub fn remove(path: &Path, maps: Option<&IdMaps>) -> Result<()> {
    delete(&set_aside(path)?, maps)
}

/// Gives it a name that counts as gone; the result is to be deleted.
///
/// # Errors
/// It cannot be renamed, and is still there.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let gone = beside(path, &fresh_name(GONE)?);
    std::fs::rename(path, &gone).context(|| format!("remove {}", path.display()))?;
    Ok(gone)
}

/// Deletes what commands that were killed have left in a folder of the store. What another one is making is locked; what `claim`
/// gives is held until it is deleted. What cannot be deleted keeps nobody from the rest; the first error is the result.
pub fn sweep<T>(folder: &Path, maps: Option<&IdMaps>, claim: impl Fn(&Path) -> Option<T>) -> Result<()> {
    let mut swept = Ok(());
    for name in folder::names(folder).context(|| format!("read {}", folder.display()))? {
        let is_partial = name.as_bytes().starts_with(PARTIAL.as_bytes());
        if !is_partial && !name.as_bytes().starts_with(GONE.as_bytes()) {
            continue;
        }
        let path = folder.join(name);
        let claimed = if is_partial { claim(&path) } else { None };
        if !is_partial || claimed.is_some() {
            swept = swept.and(delete(&path, maps));
        }
    }
    swept
}

/// Deletes a file or a tree; one that is not there, because another command has deleted it as well, is no error.
pub fn delete(path: &Path, maps: Option<&IdMaps>) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(std::io::Error::from)?;
    let named = || format!("delete {}", path.display());
    match (deletion::delete(CWD, &name), maps) {
        (Ok(()) | Err(Errno::NOENT), _) => Ok(()),
        // Folders of other ids than the user's own.
        (Err(Errno::PERM | Errno::ACCESS), Some(maps)) if !maps.is_squashed() => {
            inside::delete(maps, path).context(named)
        }
        (Err(errno), _) => Err(errno).context(named),
    }
}

/// Whether something that is made in a moment, and that nobody holds a lock on meanwhile, has been left.
pub fn is_old(path: &Path) -> bool {
    let age = std::fs::metadata(path).and_then(|status| status.modified());
    age.is_ok_and(|age| age.elapsed().is_ok_and(|age| age.as_secs() > 60))
}
