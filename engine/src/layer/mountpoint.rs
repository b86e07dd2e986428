//! Places in a container's own layer that are there only because something was mounted on them: no change of the container's.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};

use super::change::{below, find_lower, is_opaque, open_layers};
use crate::error::{Context, Result};
use crate::order;

/// Of the paths in `mounted`, which are absolute, and the folders above them: those that `upper` has for nothing else. They are
/// told without the slash at their beginning.
///
/// # Errors
/// A layer cannot be read.
pub fn bare_mountpoints(upper: &Path, lower: &[PathBuf], mounted: &[String]) -> Result<BTreeSet<String>> {
    let top = open_layers(&[upper.to_path_buf()])?.remove(0);
    let lower = open_layers(lower)?;
    let targets: BTreeSet<String> = mounted.iter().map(|path| parts(path).join("/")).collect();
    let mut paths: Vec<&str> = targets.iter().flat_map(|path| with_parents(path)).collect();
    // What is below decides about the folder above it.
    order::sort_by_key(&mut paths, |path| std::cmp::Reverse(path.matches('/').count()));
    let mut bare = BTreeSet::new();
    for path in paths {
        if is_bare(&top, &lower, path, targets.contains(path), &bare).context(|| path.to_string())? {
            bare.insert(path.to_string());
        }
    }
    Ok(bare)
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect()
}

fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]).filter(|path| !path.is_empty())
}

fn is_bare(
    top: &OwnedFd,
    lower: &[OwnedFd],
    path: &str,
    is_target: bool,
    bare: &BTreeSet<String>,
) -> Result<bool> {
    // What is not there, or is reached through a link, is nobody's mount point.
    let Ok(found) = below(top, path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW) else { return Ok(false) };
    let status = rustix::fs::fstat(&found)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {
            Ok(is_target && status.st_size == 0 && find_lower(lower, path.as_bytes())?.is_none())
        }
        FileType::Directory => {
            // It may have gone meanwhile.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let Ok(folder) = below(top, path.as_bytes(), flags) else { return Ok(false) };
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy();
                if name != "." && name != ".." && !bare.contains(&format!("{path}/{name}")) {
                    return Ok(false);
                }
            }
            Ok(match find_lower(lower, path.as_bytes())? {
                None => true,
                Some(below) => {
                    let below = rustix::fs::statat(&below, "", AtFlags::EMPTY_PATH)?;
                    is_same(&status, &below) && !is_opaque(&folder)
                }
            })
        }
        _ => Ok(false),
    }
}

/// A folder that was copied up as it was.
fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_only_mounted_on_is_no_change() {
        let folder = std::env::temp_dir().join(format!("box-mountpoints-{}", std::process::id()));
        let (upper, lower) = (folder.join("upper"), folder.join("lower"));
        for path in ["upper/etc", "upper/a/b/c", "upper/kept/x", "lower/etc", "lower/data"] {
            fs::create_dir_all(folder.join(path)).expect("folder");
        }
        for path in ["upper/etc/hosts", "upper/kept/file", "lower/etc/passwd"] {
            fs::write(folder.join(path), "").expect("file");
        }
        let mounted = ["/etc/hosts", "/a/b//c", "/kept/x/", "/data", "/nowhere"].map(str::to_string);
        let bare = || bare_mountpoints(&upper, std::slice::from_ref(&lower), &mounted).expect("bare");
        assert_eq!(
            bare().into_iter().collect::<Vec<_>>(),
            ["a", "a/b", "a/b/c", "etc", "etc/hosts", "kept/x"]
        );
        fs::write(upper.join("etc/hosts"), "1").expect("file");
        fs::write(upper.join("a/b/file"), "").expect("file");
        assert_eq!(bare().into_iter().collect::<Vec<_>>(), ["a/b/c", "kept/x"]);
        fs::remove_dir_all(&folder).expect("remove");
    }
}
