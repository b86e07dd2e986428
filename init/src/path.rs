//! Paths in the container: resolved inside its root by openat2(2), relative to descriptors, whatever its
//! symbolic links say.

use core::ffi::CStr;

use heapless::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The kernel's limit, including the NUL.
pub const PATH_MAX: usize = 4096;

/// Nothing inside the root may lead outside: neither `..` nor an absolute link nor a magic link.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// One component of a path, with its NUL: NAME_MAX is 255.
pub type Name = Vec<u8, 256>;

/// How many dangling symbolic links are followed to make their target: as many as the kernel follows of
/// others.
const LINKS_MAX: usize = 40;

/// The container's root, in which every target is resolved.
#[derive(Default)]
pub struct Root(Option<OwnedFd>);

impl Root {
    /// The root, or an error if the plan has not attached it yet.
    pub fn get(&self) -> Result<&OwnedFd, Errno> {
        self.0.as_ref().ok_or(Errno::BADF)
    }
}

impl From<OwnedFd> for Root {
    fn from(root: OwnedFd) -> Self {
        Root(Some(root))
    }
}

/// Opens `path` with O_PATH.
pub fn open(root: &OwnedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    open_with(root, path, OFlags::PATH, ResolveFlags::empty())
}

/// Opens `path` inside the root with further flags.
pub fn open_with(
    root: &OwnedFd,
    path: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), INSIDE | resolve) {
            // A rename somewhere raced with `..`: the kernel asks to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// What to make at a missing path.
#[derive(Clone, Copy)]
pub enum Missing {
    Folder,
    /// An empty file, in its folder.
    File,
}

/// Opens `path`, making it first if it is missing.
pub fn open_or_make(
    root: &OwnedFd,
    path: &CStr,
    missing: Missing,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    match open_with(root, path, OFlags::PATH, resolve) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    match missing {
        Missing::File => make_file(root, path)?,
        Missing::Folder => {
            let (parent, name) = open_parent(root, path)?;
            let mode = Mode::from_raw_mode(0o755);
            match rustix::fs::mkdirat(&parent, c_str(&name)?, mode) {
                // There is a dangling symbolic link, or another process has just made the folder.
                Err(Errno::EXIST) => make_directory(root, path, mode)?,
                result => result?,
            }
        }
    }
    open_with(root, path, OFlags::PATH, resolve)
}

/// Makes an empty file at `path`, and the folders above it. A dangling symbolic link is followed, inside the
/// root.
#[inline(never)]
fn make_file(root: &OwnedFd, path: &CStr) -> Result<(), Errno> {
    let mut wanted: Vec<u8, PATH_MAX> = Vec::new();
    terminate(&mut wanted, path.to_bytes())?;
    for _ in 0..LINKS_MAX {
        let (parent, name) = open_parent(root, c_str(&wanted)?)?;
        let (name, mode) = (c_str(&name)?, Mode::from_raw_mode(0o644));
        match rustix::fs::mknodat(&parent, name, FileType::RegularFile, mode, 0) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
        let length = wanted.iter().rposition(|&byte| byte != b'/' && byte != 0).ok_or(Errno::INVAL)? + 1;
        let above = wanted[..length].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        match redirect(&parent, &wanted[..above], name, 0, b"")? {
            // Another process has just made it.
            None => return Ok(()),
            Some(redirected) => wanted = redirected,
        }
    }
    Err(Errno::LOOP)
}

/// Opens the folder of `path`, which is made if it is missing; the result has the last component, too, with
/// its NUL.
pub fn open_parent(root: &OwnedFd, path: &CStr) -> Result<(OwnedFd, Name), Errno> {
    let (parent, name) = split(path)?;
    Ok((open_folder(root, parent, ResolveFlags::empty())?, terminated(name)?))
}

/// The part of `path` before its last component, and that component.
fn split(path: &CStr) -> Result<(&[u8], &[u8]), Errno> {
    let path = path.to_bytes();
    let end = path.iter().rposition(|&byte| byte != b'/').ok_or(Errno::INVAL)? + 1;
    let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let name = &path[start..end];
    if name == b"." || name == b".." { Err(Errno::INVAL) } else { Ok((&path[..start], name)) }
}

fn open_folder(root: &OwnedFd, parent: &[u8], resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let mut buffer: Vec<u8, PATH_MAX> = Vec::new();
    let parent = terminate(&mut buffer, parent)?;
    let parent = if parent.is_empty() { c"/" } else { parent };
    match open_with(root, parent, OFlags::PATH | OFlags::DIRECTORY, resolve) {
        Err(Errno::NOENT) => {
            make_directory(root, parent, Mode::from_raw_mode(0o755))?;
            open_with(root, parent, OFlags::PATH | OFlags::DIRECTORY, resolve)
        }
        result => result,
    }
}

/// The folder of the last node, kept open because a plan makes a dozen nodes in /dev in a row.
#[derive(Default)]
pub struct Folder<'p>(Option<(&'p [u8], OwnedFd)>);

impl<'p> Folder<'p> {
    /// As [`open_parent`], but refuses a symbolic link that the image has in place of /dev: the nodes would
    /// end up among the files of another folder.
    pub fn of(&mut self, root: &OwnedFd, path: &'p CStr) -> Result<(BorrowedFd<'_>, Name), Errno> {
        let (parent, name) = split(path)?;
        if self.0.as_ref().is_none_or(|(known, _)| *known != parent) {
            let in_dev = parent == b"/dev/";
            let resolve = if in_dev { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
            self.0 = Some((parent, open_folder(root, parent, resolve)?));
        }
        let (_, folder) = self.0.as_ref().ok_or(Errno::BADF)?;
        Ok((folder.as_fd(), terminated(name)?))
    }
}

/// mkdir(2) of `path` and of the missing folders above it. A dangling symbolic link is followed, inside the
/// root.
#[inline(never)]
pub fn make_directory(root: &OwnedFd, path: &CStr, mode: Mode) -> Result<(), Errno> {
    let mut wanted: Vec<u8, PATH_MAX> = Vec::new();
    terminate(&mut wanted, path.to_bytes())?;
    for _ in 0..LINKS_MAX {
        match make_components(root, &mut wanted, mode)? {
            None => return Ok(()),
            Some(redirected) => wanted = redirected,
        }
    }
    Err(Errno::LOOP)
}

/// One pass over the components. After a dangling symbolic link the result is the path to continue with.
#[inline(never)]
fn make_components(
    root: &OwnedFd,
    path: &mut Vec<u8, PATH_MAX>,
    mode: Mode,
) -> Result<Option<Vec<u8, PATH_MAX>>, Errno> {
    let mut parent = open(root, c"/")?;
    let mut start = 0;
    let length = path.len() - 1;
    while start < length {
        if path[start] == b'/' {
            start += 1;
            continue;
        }
        let end =
            path[start..length].iter().position(|&byte| byte == b'/').map_or(length, |offset| start + offset);
        let separator = core::mem::replace(&mut path[end], 0);
        let folder = open_with(root, c_str(path)?, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty());
        parent = match folder {
            Ok(folder) => folder,
            Err(Errno::NOENT) => {
                let name = c_str(&path[start..])?;
                match rustix::fs::mkdirat(&parent, name, mode) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => {
                        let redirected =
                            redirect(&parent, &path[..start], name, separator, &path[end + 1..])?;
                        // If it is no link, another process has just made the folder.
                        if redirected.is_some() {
                            return Ok(redirected);
                        }
                    }
                    Err(errno) => return Err(errno),
                }
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name, flags, Mode::empty())?
            }
            Err(errno) => return Err(errno),
        };
        path[end] = separator;
        start = end + 1;
    }
    Ok(None)
}

/// If `name` is a symbolic link: the path with the link's text in its place.
#[inline(never)]
fn redirect(
    parent: &OwnedFd,
    before: &[u8],
    name: &CStr,
    separator: u8,
    after: &[u8],
) -> Result<Option<Vec<u8, PATH_MAX>>, Errno> {
    let mut buffer = [0u8; PATH_MAX];
    let link = match rustix::fs::readlinkat_raw(parent, name, &mut buffer[..]) {
        Ok(length) => &buffer[..length],
        Err(Errno::INVAL) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let mut path = Vec::new();
    let mut push = |bytes: &[u8]| path.extend_from_slice(bytes).map_err(|_| Errno::NAMETOOLONG);
    if link.first() != Some(&b'/') {
        push(before)?;
    }
    push(link)?;
    if separator == 0 {
        push(b"\0")?;
    } else {
        push(b"/")?;
        push(after)?;
    }
    Ok(Some(path))
}

fn terminated(bytes: &[u8]) -> Result<Name, Errno> {
    let mut name = Name::new();
    terminate(&mut name, bytes)?;
    Ok(name)
}

/// Appends `bytes` and a NUL. The caller owns the memory: returning a whole path would take as much of the
/// stack again, and init's is small.
fn terminate<'v, const SIZE: usize>(path: &'v mut Vec<u8, SIZE>, bytes: &[u8]) -> Result<&'v CStr, Errno> {
    path.extend_from_slice(bytes).map_err(|_| Errno::NAMETOOLONG)?;
    path.push(0).map_err(|_| Errno::NAMETOOLONG)?;
    c_str(path)
}

/// The string up to the first NUL of `bytes`.
pub fn c_str(bytes: &[u8]) -> Result<&CStr, Errno> {
    CStr::from_bytes_until_nul(bytes).map_err(|_| Errno::NAMETOOLONG)
}
