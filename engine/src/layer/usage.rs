//! How much of the disk files take.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Context, Result};

/// Bytes of a folder with everything in it: what is on the disk, holes not counted, and files with several names once. What vanishes
/// meanwhile is nothing.
///
/// # Errors
/// A folder cannot be read.
pub fn usage(folder: &Path) -> Result<u64> {
    let (mut folders, mut known, mut sum) = (vec![folder.to_path_buf()], HashSet::new(), 0);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            entries => entries.context(|| folder.display().to_string())?,
        };
        for entry in entries {
            let entry = entry.context(|| folder.display().to_string())?;
            let status = match entry.metadata() {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    continue;
                }
                status => status.context(|| entry.path().display().to_string())?,
            };
            if status.is_dir() {
                folders.push(entry.path());
            } else if status.nlink() > 1 && !known.insert((status.dev(), status.ino())) {
                continue;
            }
            sum += status.blocks() * 512;
        }
    }
    Ok(sum)
}
