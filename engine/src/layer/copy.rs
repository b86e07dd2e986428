//! Copying trees with everything that the kernel knows of them: what an image has at a place becomes the beginning of a volume.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::attribute::{Attributes, Xattr, xattrs};
use super::node::set_mode;
use crate::error::{Context, Result};

/// How deep trees may be: each level holds two descriptors.
const DEPTH_MAX: usize = 200;

/// Copies what is in a folder into another one, which gets the owner and the mode of the first as well. `keeps_owners` is false for
/// whoever may not give files away.
///
/// # Errors
/// Something cannot be read or written; it is named.
pub fn copy_tree(from: impl AsFd, to: impl AsFd, keeps_owners: bool) -> Result<()> {
    let mut copy = Copy { keeps_owners, links: HashMap::new(), to: to.as_fd() };
    copy.folder(from.as_fd(), to.as_fd(), &mut Vec::new())
}

/// Moves what is in a folder into another one, and then the first one's owner, mode and attributes to it. What the other one has by
/// the same name stays. Done once more after it was interrupted, it goes on.
///
/// # Errors
/// Something cannot be moved.
pub fn move_tree(from: impl AsFd, to: impl AsFd, keeps_owners: bool) -> Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let status = rustix::fs::fstat(from)?;
    let copy = Copy { keeps_owners, links: HashMap::new(), to };
    if !keeps_owners {
        // Whoever has no rights needs those of the folders' owner.
        for folder in [from, to] {
            rustix::fs::fchmod(folder, Mode::from_raw_mode(status.st_mode & 0o7777) | Mode::RWXU)?;
        }
    }
    for entry in Dir::read_from(from).context(|| "read")? {
        let entry = entry.context(|| "read")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context(|| format!("move {}", name.to_string_lossy())),
        }
    }
    copy.apply(from, to, &status)
}

struct Copy<'a> {
    keeps_owners: bool,
    /// Where files with several names are, from the top of the copy on.
    links: HashMap<(u64, u64), Vec<u8>>,
    to: BorrowedFd<'a>,
}

impl Copy<'_> {
    fn folder(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &mut Vec<u8>) -> Result<()> {
        if path.iter().filter(|&&byte| byte == b'/').count() > DEPTH_MAX {
            return Err(crate::Error::invalid("too deep")).context(|| copying(path));
        }
        for entry in Dir::read_from(from).context(|| "read").context(|| copying(path))? {
            let entry = entry.context(|| "read").context(|| copying(path))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            self.entry(from, to, name, path)?;
            path.truncate(length);
        }
        let status = rustix::fs::fstat(from).context(|| copying(path))?;
        self.apply(from, to, &status).context(|| copying(path))
    }

    /// One that is a folder with all that is in it, whose errors have their paths.
    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        path: &mut Vec<u8>,
    ) -> Result<()> {
        match self.itself(from, to, name, path).context(|| copying(path))? {
            Some((from, to)) => self.folder(from.as_fd(), to.as_fd(), path),
            None => Ok(()),
        }
    }

    /// One; of a folder itself alone, which is still to be filled.
    fn itself(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
    ) -> Result<Option<(OwnedFd, OwnedFd)>> {
        let status = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind != FileType::Directory && status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&key) {
                let first = OsStr::from_bytes(first);
                rustix::fs::linkat(self.to, first, to, name, AtFlags::empty())?;
                return Ok(None);
            }
            self.links.insert(key, path.to_vec());
        }
        let open = |folder: BorrowedFd<'_>, flags: OFlags| -> Result<OwnedFd> {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?)
        };
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                return Ok(Some((open(from, OFlags::DIRECTORY)?, open(to, OFlags::DIRECTORY)?)));
            }
            FileType::RegularFile => {
                let source = File::from(open(from, OFlags::RDONLY)?);
                let target = File::from(open(to, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?);
                std::io::copy(&mut &source, &mut &target)?;
                self.apply(source.as_fd(), target.as_fd(), &status)?;
            }
            FileType::Symlink => {
                let target: CString = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&target, to, name)?;
                let attributes = self.attributes(&status, &[]);
                attributes.own_at(to, name)?;
                attributes.time_at(to, name)?;
            }
            kind => {
                let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
                match rustix::fs::mknodat(to, name, kind, mode, status.st_rdev) {
                    // A device, for whoever may have none.
                    Err(Errno::PERM) => return Ok(None),
                    made => made?,
                }
                let attributes = self.attributes(&status, &[]);
                attributes.own_at(to, name)?;
                set_mode(to, name, kind, mode)?;
                attributes.time_at(to, name)?;
            }
        }
        Ok(None)
    }

    fn attributes<'x>(&self, status: &Stat, xattrs: &'x [Xattr]) -> Attributes<'x> {
        let attributes = Attributes::of_file(status, xattrs);
        if self.keeps_owners { attributes } else { attributes.without_owner() }
    }

    fn apply(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, status: &Stat) -> Result<()> {
        self.attributes(status, &xattrs(from)?).apply(to)
    }
}

/// The step, and how far it has come.
fn copying(path: &[u8]) -> String {
    match path {
        [] => "copy a folder".to_string(),
        path => format!("copy {}", String::from_utf8_lossy(path)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use rustix::fs::XattrFlags;

    use super::*;

    #[test]
    fn copies_are_alike() {
        let folder = std::env::temp_dir().join(format!("box-copy-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("a/file"), "content").unwrap();
        std::fs::hard_link(from.join("a/file"), from.join("a/b/also")).unwrap();
        std::os::unix::fs::symlink("file", from.join("a/link")).unwrap();
        std::fs::set_permissions(from.join("a/file"), std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::set_permissions(from.join("a/b"), std::fs::Permissions::from_mode(0o750)).unwrap();
        rustix::fs::setxattr(from.join("a/file"), "user.note", b"kept", XattrFlags::empty()).unwrap();
        copy_tree(File::open(&from).unwrap(), File::open(&to).unwrap(), true).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("a/link")).unwrap(), "content");
        let status = |path: &str| std::fs::symlink_metadata(to.join(path)).unwrap();
        assert_eq!(status("a/file").ino(), status("a/b/also").ino());
        assert_eq!((status("a/file").mode() & 0o777, status("a/b").mode() & 0o777), (0o640, 0o750));
        assert_eq!(
            status("a/file").mtime_nsec(),
            std::fs::metadata(from.join("a/file")).unwrap().mtime_nsec()
        );
        let mut value = [0; 8];
        assert_eq!(rustix::fs::getxattr(to.join("a/b/also"), "user.note", &mut value[..]), Ok(4));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn errors_have_the_path_once() {
        let folder = std::env::temp_dir().join(format!("box-copy-errors-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        std::fs::create_dir_all(from.join("copy a/b")).unwrap();
        std::fs::create_dir(&to).unwrap();
        let refused = || copy_tree(File::open(&from).unwrap(), File::open(&to).unwrap(), true).unwrap_err();
        std::os::unix::fs::symlink("there", to.join("copy a")).unwrap();
        assert_eq!(refused().to_string(), "copy copy a: file exists");
        std::fs::remove_file(to.join("copy a")).unwrap();
        let mut path = from.join("copy a/b");
        for _ in 0..DEPTH_MAX {
            path.push("c");
            std::fs::create_dir(&path).unwrap();
        }
        let text = refused().to_string();
        assert!(text.starts_with("copy copy a/b/c/") && text.ends_with("c: too deep"), "{text}");
        assert_eq!(text.matches("copy").count(), 2, "{text}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
