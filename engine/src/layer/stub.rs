//! Places in a layer that are there only because something was mounted on them are taken away.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::change::{below, open_layers};
use super::mountpoint::bare_mountpoints;
use crate::error::{Context, Result};

/// Removes of the paths in `mounted`, and the folders above them, those that `upper` has for nothing else. `lower` are the layers
/// below, the topmost one first.
///
/// # Errors
/// A layer cannot be read; something cannot be removed.
pub fn remove_bare_mountpoints(upper: &Path, lower: &[PathBuf], mounted: &[String]) -> Result<()> {
    let top = open_layers(&[upper.to_path_buf()])?.remove(0);
    // What lies in a folder sorts behind it.
    for path in bare_mountpoints(upper, lower, mounted)?.iter().rev() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder =
            below(&top, folder.as_bytes(), OFlags::PATH | OFlags::DIRECTORY).context(|| path.clone())?;
        let removed = match rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTDIR) => rustix::fs::unlinkat(&folder, name, AtFlags::empty()),
            removed => removed,
        };
        removed.context(|| path.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_a_program_has_made_stays() {
        let folder = std::env::temp_dir().join(format!("box-stubs-{}", std::process::id()));
        let (upper, lower) = (folder.join("upper"), folder.join("lower"));
        for path in ["upper/etc", "upper/run/secrets", "upper/a/b", "lower/etc"] {
            fs::create_dir_all(folder.join(path)).expect("folder");
        }
        for path in ["upper/etc/hosts", "upper/run/secrets/key", "upper/a/file"] {
            fs::write(folder.join(path), "").expect("file");
        }
        // Whatever a link leads to, nothing is removed through it.
        std::os::unix::fs::symlink("/etc", upper.join("link")).expect("link");
        let mounted = ["/etc/hosts", "/run/secrets/key", "/a/b", "/link/passwd", "/none"].map(str::to_string);
        remove_bare_mountpoints(&upper, std::slice::from_ref(&lower), &mounted).expect("removed");
        let left = |path: &str| upper.join(path).symlink_metadata().is_ok();
        assert_eq!(["etc", "run", "a/b", "a/file", "link"].map(left), [false, false, false, true, true]);
        fs::remove_dir_all(&folder).expect("remove");
    }
}
