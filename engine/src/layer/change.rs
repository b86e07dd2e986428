//! What a container has changed: its own layer, beside those below it.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It, or something in it, is another one.
    Changed,
    /// It is not there any more.
    Deleted,
}

/// A path that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Absolute, in the container.
    pub path: String,
}

/// What `upper` changes in the layers below it, the topmost one first, but for what is in `left_out`. In order of paths.
///
/// # Errors
/// A layer cannot be read.
pub fn changes(upper: &Path, lower: &[PathBuf], left_out: &BTreeSet<String>) -> Result<Vec<Change>> {
    let lower = open_layers(lower)?;
    let top = open_layers(&[upper.to_path_buf()])?.remove(0);
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), false)];
    while let Some((folder, is_new)) = folders.pop() {
        let opened = below(&top, &folder, OFlags::RDONLY | OFlags::DIRECTORY).context(|| folder.clone())?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if name == "." || name == ".." {
                continue;
            }
            let path = if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") };
            if left_out.contains(&path) {
                continue;
            }
            let status = rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            let is_known = !is_new && find_lower(&lower, &path)?.is_some();
            let kind = match FileType::from_raw_mode(status.st_mode) {
                FileType::CharacterDevice if status.st_rdev == 0 => ChangeKind::Deleted,
                _ if is_known => ChangeKind::Changed,
                _ => ChangeKind::Added,
            };
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                let folder = below(&top, &path, OFlags::RDONLY | OFlags::DIRECTORY)?;
                folders.push((path.clone(), !is_known || is_opaque(&folder)));
            }
            // What is hidden but was never seen is no change.
            if kind != ChangeKind::Deleted || is_known {
                found.push(Change { kind, path: format!("/{path}") });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The folders of layers, for looking into.
pub(super) fn open_layers(paths: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    let open = |path: &PathBuf| {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        rustix::fs::open(path, flags, Mode::empty()).context(|| path.display().to_string())
    };
    paths.iter().map(open).collect()
}

pub(super) fn below(top: &OwnedFd, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = if path.is_empty() { "." } else { path };
    rustix::fs::openat2(top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

pub(super) fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| rustix::fs::fgetxattr(folder, *name, &mut value[..]).is_ok() && value == *b"y")
}

/// What is seen at a path in the layers, the topmost one first.
pub(super) fn find_lower(layers: &[OwnedFd], path: &str) -> Result<Option<OwnedFd>> {
    'layers: for layer in layers {
        let ends = path.match_indices('/').map(|(index, _)| index).chain([path.len()]);
        let (mut hides, mut last) = (false, None);
        for end in ends {
            let found = match below(layer, &path[..end], OFlags::PATH | OFlags::NOFOLLOW) {
                Err(Errno::NOENT) if hides => return Ok(None),
                Err(Errno::NOENT) => continue 'layers,
                // Something else than a folder hides what lies below.
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                found => found?,
            };
            let status = rustix::fs::fstat(&found)?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::CharacterDevice if status.st_rdev == 0 => return Ok(None),
                FileType::Directory if end < path.len() => {
                    let folder = below(layer, &path[..end], OFlags::RDONLY | OFlags::DIRECTORY)?;
                    hides |= is_opaque(&folder);
                }
                _ => {}
            }
            last = Some(found);
        }
        return Ok(last);
    }
    Ok(None)
}
