//! A folder that is filled: paths are resolved beneath it, by descriptors.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::beneath::open_beneath;
use crate::deletion;
use crate::error::{Context, Error, Result};

/// The folder, and the one in it where something was last.
pub struct Tree {
    root: Rc<OwnedFd>,
    /// Entries come folder by folder.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

/// A place in the tree: a folder, and a name in it. Links on the way are resolved, the name is not.
pub struct Place<'a> {
    pub folder: Rc<OwnedFd>,
    pub name: &'a OsStr,
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Nothing,
    Folder,
    /// A character device with the numbers 0 and 0.
    Whiteout,
    Other,
}

/// Links lead to what they would in a container whose root this is.
const BENEATH: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// The longest path that the kernel takes.
const PATH_MAX: usize = 4095;

/// A path without `.`, `..` and slashes that mean nothing; nothing leads out of the root.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A path of a tar without `.`, `..` and slashes that mean nothing; empty for the folder itself.
///
/// # Errors
/// It leads out of the folder.
pub fn normalise(path: &[u8]) -> Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or_else(|| Error::corrupt("it leads out of the layer"))?;
            }
            part => parts.push(part),
        }
    }
    let path = parts.join(&b"/"[..]);
    match path.len() {
        0..=PATH_MAX => Ok(path),
        length => Err(Error::corrupt(format!("a path of {length} bytes: at most {PATH_MAX} are possible"))),
    }
}

/// The folder and the name of a normalised path.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

impl Tree {
    pub fn new(root: OwnedFd) -> Tree {
        Tree { root: Rc::new(root), last: None }
    }

    /// The folder itself.
    pub fn root(&self) -> Rc<OwnedFd> {
        self.root.clone()
    }

    /// The place that a normalised path names. Folders on the way that are missing are made, as tar(1) does.
    ///
    /// # Errors
    /// Something on the way is no folder.
    pub fn place<'p>(&mut self, path: &'p [u8]) -> Result<Place<'p>> {
        let (folder, name) = split(path);
        Ok(Place { folder: self.folder(folder, true)?, name: OsStr::from_bytes(name) })
    }

    /// The same where nothing is made.
    pub fn existing_place<'p>(&mut self, path: &'p [u8]) -> Result<Place<'p>> {
        let (folder, name) = split(path);
        Ok(Place { folder: self.folder(folder, false)?, name: OsStr::from_bytes(name) })
    }

    /// Forgets which folders are where, because one of them may have been replaced.
    pub fn forget(&mut self) {
        self.last = None;
    }

    fn folder(&mut self, path: &[u8], make: bool) -> Result<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(self.root());
        }
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(folder.clone());
        }
        let folder = Rc::new(self.open_or_make(path, make)?);
        self.last = Some((path.to_vec(), folder.clone()));
        Ok(folder)
    }

    fn open_or_make(&self, path: &[u8], make: bool) -> Result<OwnedFd> {
        match self.open(path) {
            Err(Errno::NOENT) if make => {
                // From the top: how deep a hostile path goes does not count.
                let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
                for end in ends.chain([path.len()]) {
                    self.make_one(&path[..end])?;
                }
                self.open(path).map_err(Error::from)
            }
            opened => opened.map_err(|errno| match errno {
                Errno::NOTDIR => Error::corrupt("a folder on the way is none"),
                Errno::XDEV => Error::corrupt("it leads out of the layer"),
                errno => errno.into(),
            }),
        }
    }

    fn make_one(&self, path: &[u8]) -> Result<()> {
        let (above, name) = split(path);
        let folder = if above.is_empty() { self.root() } else { Rc::new(self.open(above)?) };
        match rustix::fs::mkdirat(&*folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                let made = open_at(&folder, OsStr::from_bytes(name), OFlags::DIRECTORY)?;
                // Whatever umask says.
                Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?)
            }
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a folder by its normalised path.
    pub fn open(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        open_beneath(&self.root, path, OFlags::PATH | OFlags::DIRECTORY, BENEATH)
    }
}

impl Place<'_> {
    /// What stands there.
    pub fn look(&self) -> Result<Standing> {
        match rustix::fs::statat(&*self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(Standing::Nothing),
            Err(errno) => Err(errno.into()),
            Ok(status) => Ok(match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => Standing::Folder,
                FileType::CharacterDevice if status.st_rdev == 0 => Standing::Whiteout,
                _ => Standing::Other,
            }),
        }
    }

    /// Opens what stands there, without following it.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd> {
        open_at(&self.folder, self.name, flags)
    }

    /// A path of it, for calls that take no descriptor.
    pub fn path(&self) -> Vec<u8> {
        [format!("/proc/self/fd/{}/", self.folder.as_raw_fd()).as_bytes(), self.name.as_bytes()].concat()
    }

    /// Removes what stands there, a folder with everything in it.
    pub fn remove(&self) -> Result<()> {
        let name =
            std::ffi::CString::new(self.name.as_bytes()).map_err(|_| Error::corrupt("a NUL in the name"))?;
        match deletion::delete(&*self.folder, &name) {
            Err(Errno::NOENT) => Ok(()),
            done => Ok(done?),
        }
    }
}

fn open_at(folder: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty()).context(|| name.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within() {
        let of = |path: &str| normalise(path.as_bytes()).map(|path| String::from_utf8(path).unwrap()).ok();
        assert_eq!(of("./a//b/./c/").as_deref(), Some("a/b/c"));
        assert_eq!(of("/etc/passwd").as_deref(), Some("etc/passwd"));
        assert_eq!(of("a/../b").as_deref(), Some("b"));
        assert_eq!(of("./").as_deref(), Some(""));
        assert_eq!(of(".."), None);
        assert_eq!(of("a/../../etc"), None);
        assert_eq!(of(&"a/".repeat(3000)), None);
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }
}
