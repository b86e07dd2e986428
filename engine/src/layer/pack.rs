//! Files become a tar. What vanishes meanwhile is left out: a container may run.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Dir, FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::attribute::{CAPABILITY, xattrs};
use super::beneath::{WITHOUT_LINKS, open_beneath};
use super::tar::{Device, Entry, EntryKind, Time, Writer};
use super::whiteout::is_mark;
use crate::error::{Context, Error, Result};
use crate::order;

/// Whether what is mounted below goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// It does.
    None,
    /// An empty folder or file stands in its place.
    Mounts,
}

/// What the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// Just files.
    Files,
    /// A layer as overlayfs has it: what it hides gets the names that tars have for it.
    Layer {
        /// Paths that do not go along.
        left_out: &'a BTreeSet<String>,
    },
}

impl Content<'_> {
    fn is_layer(self) -> bool {
        matches!(self, Content::Layer { .. })
    }

    fn leaves_out(self, path: &[u8]) -> bool {
        match self {
            Content::Files => false,
            Content::Layer { left_out } => str::from_utf8(path).is_ok_and(|path| left_out.contains(path)),
        }
    }
}

/// Whether a path goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It does.
    Taken,
    /// A folder goes along if something in it does.
    Within,
    /// Neither it nor anything in it.
    Left,
}

/// What the names of whiteouts begin with (OCI image specification, layer.md).
const WHITEOUT: &[u8] = b".wh.";

/// What goes along, and how it is to look.
pub trait Selection {
    /// Decides about a path below the top.
    fn choose(&mut self, path: &[u8], is_folder: bool) -> Choice;

    /// Changes how an entry looks.
    fn shape(&self, entry: &mut Entry);
}

/// Everything, as it is.
struct Everything;

impl Selection for Everything {
    fn choose(&mut self, _: &[u8], _: bool) -> Choice {
        Choice::Taken
    }

    fn shape(&self, _: &mut Entry) {}
}

/// Packs a file, or a folder with everything in it. Its path in the tar is `name`; with an empty one the tar has what is in the
/// folder alone. `top` may be open without a right to read (`O_PATH`).
///
/// # Errors
/// Something cannot be read, or nobody takes the tar; the error names the path.
pub fn pack(
    top: &OwnedFd,
    name: &[u8],
    boundary: Boundary,
    content: Content<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    let mut writer = Writer::new(out);
    pack_into(top, name, (boundary, content), &mut Everything, &mut writer)?;
    writer.finish()
}

/// Packs what is selected into a tar that is not ended.
///
/// # Errors
/// As for [`pack`].
pub fn pack_selected(
    top: &OwnedFd,
    name: &[u8],
    selection: &mut dyn Selection,
    out: &mut Writer<&mut dyn Write>,
) -> Result<()> {
    pack_into(top, name, (Boundary::None, Content::Files), selection, out)
}

fn pack_into(
    top: &OwnedFd,
    name: &[u8],
    (boundary, content): (Boundary, Content<'_>),
    selection: &mut dyn Selection,
    out: &mut Writer<&mut dyn Write>,
) -> Result<()> {
    let mut packer = Packer {
        top,
        name,
        boundary,
        content,
        selection,
        waiting: BTreeSet::new(),
        links: HashMap::new(),
        buffer: vec![0; 1 << 17],
        out,
    };
    let status = rustix::fs::fstat(top)?;
    if !name.is_empty() {
        packer.add(top, &status, b"")?;
    }
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        packer.walk()?;
    }
    Ok(())
}

struct Packer<'a, 'w> {
    top: &'a OwnedFd,
    name: &'a [u8],
    boundary: Boundary,
    content: Content<'a>,
    selection: &'a mut dyn Selection,
    /// Folders that go along as soon as something in them does.
    waiting: BTreeSet<Vec<u8>>,
    /// The first names of files that have several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    out: &'a mut Writer<&'w mut dyn Write>,
}

impl Packer<'_, '_> {
    /// Folder by folder, each opened anew from the top: how deep they go does not count.
    fn walk(&mut self) -> Result<()> {
        let mut folders = vec![Vec::new()];
        while let Some(folder) = folders.pop() {
            let named = || String::from_utf8_lossy(&folder).into_owned();
            let names = match names(&self.open(&folder, OFlags::RDONLY | OFlags::DIRECTORY)) {
                Err(Errno::NOENT | Errno::XDEV | Errno::NOTDIR | Errno::LOOP) => continue,
                names => names.context(named)?,
            };
            let mut below = Vec::new();
            for name in names {
                let path = join(&folder, &name);
                if self.content.leaves_out(&path) {
                    continue;
                }
                if self.visit(&path).map_err(|error| {
                    if error.kind() == crate::Kind::Closed {
                        error
                    } else {
                        error.context(String::from_utf8_lossy(&path))
                    }
                })? {
                    below.push(path);
                }
            }
            folders.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut resolve = WITHOUT_LINKS;
        if self.boundary == Boundary::Mounts {
            resolve |= ResolveFlags::NO_XDEV;
        }
        open_beneath(self.top, path, flags, resolve)
    }

    /// True for a folder that is to be walked.
    fn visit(&mut self, path: &[u8]) -> Result<bool> {
        match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(found) => {
                let status = rustix::fs::fstat(&found)?;
                let is_folder = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
                match self.selection.choose(path, is_folder) {
                    Choice::Left => return Ok(false),
                    Choice::Within => drop(self.waiting.insert(path.to_vec())),
                    Choice::Taken => {
                        self.add_waiting(path)?;
                        self.add(&found, &status, path)?;
                    }
                }
                Ok(is_folder)
            }
            // A link that is opened with O_PATH is no link that is followed: its folder has become one meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(Errno::XDEV) => self.add_mountpoint(path).map(|()| false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The folders above something that goes along.
    fn add_waiting(&mut self, path: &[u8]) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if self.waiting.remove(&path[..end]) {
                let found = self.open(&path[..end], OFlags::PATH | OFlags::NOFOLLOW)?;
                let status = rustix::fs::fstat(&found)?;
                self.add(&found, &status, &path[..end])?;
            }
        }
        Ok(())
    }

    fn add_mountpoint(&mut self, path: &[u8]) -> Result<()> {
        let status = rustix::fs::statat(self.top, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let is_folder = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let (kind, mode) = if is_folder { (EntryKind::Folder, 0o755) } else { (EntryKind::File, 0o644) };
        let entry = Entry { mode, uid: 0, gid: 0, size: 0, ..self.entry(path, kind, &status) };
        self.out.entry(&entry)
    }

    fn entry(&self, path: &[u8], kind: EntryKind, status: &Stat) -> Entry {
        Entry {
            path: join(self.name, path),
            kind,
            mode: status.st_mode & 0o7777,
            uid: status.st_uid,
            gid: status.st_gid,
            mtime: Time {
                seconds: status.st_mtime,
                nanoseconds: u32::try_from(status.st_mtime_nsec).unwrap_or(0),
            },
            atime: None,
            size: u64::try_from(status.st_size).unwrap_or(0),
            xattrs: Vec::new(),
            segments: None,
        }
    }

    fn add(&mut self, found: &OwnedFd, status: &Stat, path: &[u8]) -> Result<()> {
        if self.content.is_layer() && super::tree::split(path).1.starts_with(WHITEOUT) {
            return Err(Error::conflict(
                "an image cannot have it: in layers a name that begins with .wh. says that another one was removed",
            ));
        }
        let kind = FileType::from_raw_mode(status.st_mode);
        let device =
            Device { major: rustix::fs::major(status.st_rdev), minor: rustix::fs::minor(status.st_rdev) };
        let kind = match kind {
            FileType::Directory => EntryKind::Folder,
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => {
                EntryKind::SymbolicLink(rustix::fs::readlinkat(found, "", Vec::new())?.into_bytes())
            }
            FileType::CharacterDevice if self.content.is_layer() && status.st_rdev == 0 => {
                return self.add_whiteout(path, status);
            }
            FileType::CharacterDevice => EntryKind::Character(device),
            FileType::BlockDevice => EntryKind::Block(device),
            FileType::Fifo => EntryKind::Fifo,
            // A socket leads to a program that does not go along.
            _ => return Ok(()),
        };
        let mut entry = self.entry(path, kind, status);
        self.selection.shape(&mut entry);
        if entry.kind != EntryKind::Folder && status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&key) {
                entry.kind = EntryKind::HardLink(first.clone());
                entry.size = 0;
                return self.out.entry(&entry);
            }
            self.links.insert(key, entry.path.clone());
        }
        let mut is_opaque = false;
        if !matches!(entry.kind, EntryKind::SymbolicLink(_)) {
            for (name, value) in xattrs(found)? {
                if self.content.is_layer()
                    && (name.ends_with(b".overlay.redirect") || name.ends_with(b".overlay.metacopy"))
                {
                    return Err(Error::invalid(
                        "overlayfs has moved it without copying: it cannot be packed",
                    ));
                }
                is_opaque |= name.ends_with(b".overlay.opaque") && value == b"y";
                if is_kept(&name) {
                    entry.xattrs.push((name, value));
                }
            }
        }
        match entry.kind {
            EntryKind::File => self.add_file(found, &entry),
            EntryKind::Folder if is_opaque && self.content.is_layer() => {
                self.out.entry(&entry)?;
                let path = join(&entry.path, b".wh..wh..opq");
                self.out.entry(&Entry {
                    path,
                    kind: EntryKind::File,
                    mode: 0,
                    size: 0,
                    xattrs: Vec::new(),
                    ..entry
                })
            }
            _ => self.out.entry(&entry),
        }
    }

    fn add_whiteout(&mut self, path: &[u8], status: &Stat) -> Result<()> {
        let (folder, name) = super::tree::split(path);
        let path = join(folder, &[WHITEOUT, name].concat());
        let entry = self.entry(&path, EntryKind::File, status);
        self.out.entry(&Entry { mode: 0, size: 0, ..entry })
    }

    /// As many bytes as it had when it was looked at, whoever writes to it.
    fn add_file(&mut self, found: &OwnedFd, entry: &Entry) -> Result<()> {
        let mut file = File::open(by_descriptor(found))?;
        self.out.entry(entry)?;
        let mut left = entry.size;
        while left > 0 {
            let wanted = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let mut length = file.read(&mut self.buffer[..wanted])?;
            if length == 0 {
                self.buffer[..wanted].fill(0);
                length = wanted;
            }
            self.out.content(&self.buffer[..length])?;
            left -= length as u64;
        }
        Ok(())
    }
}

fn by_descriptor(found: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", found.as_raw_fd())
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match (folder, name) {
        (b"", name) => name.to_vec(),
        (folder, b"") => folder.to_vec(),
        (folder, name) => [folder, b"/", name].concat(),
    }
}

/// What is in a folder, in order.
fn names(folder: &rustix::io::Result<OwnedFd>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let folder = folder.as_ref().map_err(|errno| *errno)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    order::sort(&mut names);
    Ok(names)
}

/// Rights that a program has from its file, and what users have noted. Everything else is of the host's file system.
fn is_kept(name: &[u8]) -> bool {
    name == CAPABILITY || (name.starts_with(b"user.") && !is_mark(name))
}
