//! Places for what is mounted in every container, below all layers of its image. Most images have only some of them, and would make
//! every container begin with files of its own.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};

/// Where they are, in the store.
const FOLDER: &str = "mountpoints";

/// Where something is mounted in every container; where the image has no place for it, one is made.
pub const MOUNTPOINTS: [&str; 6] =
    ["/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// What there is for them, the last one last.
const FOLDERS: [&str; 4] = ["proc", "dev", "etc", "sys"];
const FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// The layer that has them.
pub fn layer(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

/// Whether all of them are there.
pub fn are_there(data: &Path) -> bool {
    layer(data).join(FOLDERS[FOLDERS.len() - 1]).exists()
}

/// Makes what is missing of them, whatever the caller's umask is.
///
/// # Errors
/// The disk did not take it.
pub fn make(data: &Path) -> Result<()> {
    let layer = layer(data);
    let (last, others) = FOLDERS.split_last().unwrap_or((&"", &[]));
    make_folder(&layer)?;
    others.iter().try_for_each(|name| make_folder(&layer.join(name)))?;
    for path in FILES.map(|name| layer.join(name)) {
        let made = File::options().append(true).create(true).open(&path);
        made.and_then(|file| file.set_permissions(Permissions::from_mode(0o644)))
            .context(|| format!("make {}", path.display()))?;
    }
    make_folder(&layer.join(last))
}

fn make_folder(path: &Path) -> Result<()> {
    let made = match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
        .context(|| format!("make the folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mountpoint_has_a_place() {
        let data = std::env::temp_dir().join(format!("pillbox-mountpoints-{}", std::process::id()));
        fs::create_dir(&data).unwrap();
        assert!(!are_there(&data));
        // What a killed command has left is gone on with.
        fs::create_dir(layer(&data)).unwrap();
        for _ in 0..2 {
            make(&data).unwrap();
            assert!(are_there(&data));
            for path in MOUNTPOINTS {
                let status = fs::metadata(format!("{}{path}", layer(&data).display())).unwrap();
                let mode = if path.starts_with("/etc") { 0o644 } else { 0o755 };
                assert_eq!(status.permissions().mode() & 0o7777, mode, "{path}");
            }
        }
        fs::remove_dir_all(&data).unwrap();
    }
}
