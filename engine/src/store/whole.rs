//! Files that are there as a whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{PARTIAL, beside, fresh_name};
use crate::error::{Context, Result};

/// Writes a file that survives the power: a file beside it, synced, renamed, and its folder synced.
///
/// # Errors
/// The old content is there then.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, true)?;
    sync_folder(path)
}

/// The same without syncing: after a loss of power the file may be the old one, empty or missing.
///
/// # Errors
/// The old content is there then.
pub fn write_without_sync(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, false)
}

fn write(path: &Path, content: &[u8], synced: bool) -> Result<()> {
    let partial = beside(path, &fresh_name(PARTIAL)?);
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&partial)?;
        file.write_all(content)?;
        if synced {
            file.sync_all()?;
        }
        std::fs::rename(&partial, path)
    };
    written().context(|| format!("write {}", path.display())).inspect_err(|_| {
        // The next command would remove it as well.
        let _ = std::fs::remove_file(&partial);
    })
}

/// Syncs the folder of a path, so that a rename there survives.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).context(|| format!("sync {}", folder.display()))
}
