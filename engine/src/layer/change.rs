//! What a container has changed: its own layer, beside those below it. It may run: what vanishes meanwhile is no change.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::{WITHOUT_LINKS, open_beneath};
use crate::error::{Context, Result};
use crate::order;

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
    /// Absolute, in the container: any bytes but NUL.
    pub path: Vec<u8>,
}

/// What `upper` changes in the layers below it, the topmost one first, but for what is in `left_out`. In order of paths.
///
/// # Errors
/// A layer cannot be read.
pub fn changes(upper: &Path, lower: &[PathBuf], left_out: &BTreeSet<String>) -> Result<Vec<Change>> {
    let (top, lower) = (open_layers(&[upper.to_path_buf()])?.remove(0), open_layers(lower)?);
    let mut comparison = Comparison { top, lower, left_out, changes: Vec::new() };
    let mut folders = vec![Folder { path: Vec::new(), is_new: false }];
    while let Some(folder) = folders.pop() {
        let shown = || String::from_utf8_lossy(&folder.path).into_owned();
        folders.extend(comparison.folder(&folder).context(shown)?);
    }
    let mut changes = comparison.changes;
    order::sort_by(&mut changes, |one, other| one.path.cmp(&other.path));
    Ok(changes)
}

/// A folder of the topmost layer that is to be looked at.
struct Folder {
    path: Vec<u8>,
    /// Whether nothing of the layers below is seen in it.
    is_new: bool,
}

struct Comparison<'a> {
    top: OwnedFd,
    lower: Vec<OwnedFd>,
    left_out: &'a BTreeSet<String>,
    changes: Vec<Change>,
}

impl Comparison<'_> {
    /// Notes what is in a folder; the result is the folders in it.
    fn folder(&mut self, folder: &Folder) -> Result<Vec<Folder>> {
        let Some(opened) = there(below(&self.top, &folder.path, FOLDER))? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let path = match &folder.path[..] {
                b"" => name.to_bytes().to_vec(),
                above => [above, b"/", name.to_bytes()].concat(),
            };
            if str::from_utf8(&path).is_ok_and(|path| self.left_out.contains(path)) {
                continue;
            }
            let status = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW);
            let Some(status) = there(status)? else { continue };
            let is_known = !folder.is_new && find_lower(&self.lower, &path)?.is_some();
            let kind = match FileType::from_raw_mode(status.st_mode) {
                FileType::CharacterDevice if status.st_rdev == 0 => ChangeKind::Deleted,
                _ if is_known => ChangeKind::Changed,
                _ => ChangeKind::Added,
            };
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                let Some(opened) = there(below(&self.top, &path, FOLDER))? else { continue };
                found.push(Folder { path: path.clone(), is_new: !is_known || is_opaque(&opened) });
            }
            // What is hidden but was never seen is no change.
            if kind != ChangeKind::Deleted || is_known {
                self.changes.push(Change { kind, path: [b"/", &path[..]].concat() });
            }
        }
        Ok(found)
    }
}

/// The folders of layers, for looking into.
pub(super) fn open_layers(paths: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    let open = |path: &PathBuf| {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        rustix::fs::open(path, flags, Mode::empty()).context(|| path.display().to_string())
    };
    paths.iter().map(open).collect()
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

pub(super) fn below(top: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open_beneath(top, path, flags, WITHOUT_LINKS)
}

/// `None` for what has gone, or has become something else, since its name was read.
fn there<T>(found: rustix::io::Result<T>) -> Result<Option<T>> {
    match found {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        found => Ok(Some(found?)),
    }
}

pub(super) fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| rustix::fs::fgetxattr(folder, *name, &mut value[..]).is_ok() && value == *b"y")
}

/// What is seen at a path in the layers, the topmost one first.
pub(super) fn find_lower(layers: &[OwnedFd], path: &[u8]) -> Result<Option<OwnedFd>> {
    'layers: for layer in layers {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        let (mut hides, mut last) = (false, None);
        for end in slashes.chain([path.len()]) {
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
                    // A folder of the host's, on which a container stands, may change.
                    hides |=
                        there(below(layer, &path[..end], FOLDER))?.is_some_and(|folder| is_opaque(&folder));
                }
                _ => {}
            }
            last = Some(found);
        }
        return Ok(last);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A layer below and one above it.
    struct Room(PathBuf);

    impl Room {
        fn new(name: &str) -> Room {
            let folder = std::env::temp_dir().join(format!("box-change-{}-{name}", std::process::id()));
            for layer in ["upper", "lower"] {
                fs::create_dir_all(folder.join(layer)).unwrap();
            }
            Room(folder)
        }

        fn changes(&self) -> Result<Vec<Change>> {
            changes(&self.0.join("upper"), &[self.0.join("lower")], &BTreeSet::new())
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn names_are_any_bytes() {
        let room = Room::new("bytes");
        let odd = OsStr::from_bytes(b"f\xff\xfe");
        for layer in ["upper", "lower"] {
            fs::create_dir(room.0.join(layer).join(odd)).unwrap();
            fs::write(room.0.join(layer).join(odd).join(odd), "").unwrap();
        }
        fs::write(room.0.join("upper").join(odd).join("new"), "").unwrap();
        let of = |kind, path: &[u8]| Change { kind, path: path.to_vec() };
        let expected = [
            of(ChangeKind::Changed, b"/f\xff\xfe"),
            of(ChangeKind::Changed, b"/f\xff\xfe/f\xff\xfe"),
            of(ChangeKind::Added, b"/f\xff\xfe/new"),
        ];
        assert_eq!(room.changes().unwrap(), expected);
    }

    #[test]
    fn what_vanishes_meanwhile_is_no_change() {
        let room = Room::new("vanishing");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let folder = room.0.join("upper/folder");
                while !is_over.load(Ordering::Relaxed) {
                    fs::create_dir_all(folder.join("in/deeper")).unwrap();
                    fs::write(folder.join("in/file"), "").unwrap();
                    fs::remove_dir_all(&folder).unwrap();
                    fs::write(&folder, "").unwrap();
                    fs::remove_file(&folder).unwrap();
                }
            });
            let outcome = (0..2000).try_for_each(|_| room.changes().map(drop));
            is_over.store(true, Ordering::Relaxed);
            outcome.unwrap();
        });
    }
}
