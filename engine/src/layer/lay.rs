//! What was gathered is laid down in a root, by the rules of COPY: what a source becomes depends on what it is and on what stands at
//! the destination. Links on the way to the destination are followed within the root; below it nothing is.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::attribute::Attributes;
use super::beneath::{AS_ROOT, WITHOUT_LINKS, open_beneath};
use super::extract::{copy_content, make, make_file, open_folder};
use super::folders::{Folders, MEMORY_MAX};
use super::node::set_mode;
use super::tar::{Archive, Entry, EntryKind};
use super::tree::{normalise, split};
use crate::error::{Context, Error, Result};

/// Where and how it is laid down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Laying {
    /// Absolute; a slash at its end: a folder, whatever comes.
    pub destination: String,
    /// Whether the destination is made a folder, even if nothing comes.
    pub makes_folder: bool,
    /// Whose the folders are that have to be made.
    pub owner: (u32, u32),
    /// Their mode.
    pub mode: u32,
}

/// Lays down a tar of [`gather`](super::gather) in a root.
///
/// # Errors
/// A folder would become a file or the other way round; the disk did not take it.
pub fn lay(stream: impl Read, root: &OwnedFd, laying: &Laying) -> Result<()> {
    let mut archive = Archive::new(stream);
    let mut layer = Layer {
        root,
        laying,
        source: None,
        sources: Vec::new(),
        ending: None,
        folders: Folders::new(MEMORY_MAX),
        buffer: vec![0; 1 << 17],
    };
    if laying.makes_folder {
        layer.make_folders(&laying.destination, laying.mode).context(|| laying.destination.clone())?;
    }
    while let Some(entry) = archive.next_entry()? {
        let name = String::from_utf8_lossy(after_slash(&entry.path)).into_owned();
        layer.entry(&mut archive, entry).map_err(|error| error.context(name))?;
    }
    layer.end_source()?;
    layer.finish_folders()?;
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    Ok(())
}

struct Layer<'a> {
    root: &'a OwnedFd,
    laying: &'a Laying,
    /// What is just coming.
    source: Option<Rc<Source>>,
    /// All that have come so far, by their numbers.
    sources: Vec<Rc<Source>>,
    /// The time that the destination gets when the source is complete whose folder's content goes there.
    ending: Option<(Rc<Source>, Entry)>,
    /// Folders, which get their modes and times when everything is in them, by the numbers of their sources and their paths.
    folders: Folders,
    buffer: Vec<u8>,
}

/// Where the entries of a source go.
struct Source {
    /// `m0`, `a0`.
    mark: Vec<u8>,
    /// Whether it is an archive, whose entries take the place of whatever stands there.
    is_archive: bool,
    /// The folder beneath which they go.
    folder: OwnedFd,
    /// What of an entry's path does not count.
    dropped: Vec<u8>,
    /// The name that a file gets there; a folder's content has none.
    name: Option<Vec<u8>>,
}

impl Layer<'_> {
    fn entry(&mut self, archive: &mut Archive<impl Read>, entry: Entry) -> Result<()> {
        let mark = entry.path.split(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        let source = match self.source.take().filter(|source| source.mark == mark) {
            Some(source) => source,
            None => {
                self.end_source()?;
                let source = Rc::new(self.begin(&mark, &entry)?);
                self.sources.push(source.clone());
                source
            }
        };
        self.source = Some(source.clone());
        self.place(archive, &source, entry)
    }

    /// The first entry of a source tells what it is.
    fn begin(&mut self, mark: &[u8], entry: &Entry) -> Result<Source> {
        let destination = self.laying.destination.as_str();
        let named = || destination.to_string();
        let is_archive = mark.starts_with(b"a");
        let top = split_top(&entry.path);
        if entry.kind == EntryKind::Folder || is_archive {
            // No mode is given to what an archive brings.
            let mode = if is_archive { 0o755 } else { self.laying.mode };
            let folder = self.make_folders(destination, mode).map_err(|error| match error.kind() {
                crate::Kind::Conflict => {
                    Error::conflict(format!("{destination}: a folder cannot be copied to what is none"))
                }
                _ => error.context(destination),
            })?;
            let dropped = if is_archive { mark.to_vec() } else { top.to_vec() };
            return Ok(Source { mark: mark.to_vec(), is_archive, folder, dropped, name: None });
        }
        let is_folder = match open(self.root, destination.as_bytes(), OFlags::PATH) {
            Ok(found) => FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory,
            Err(Errno::NOENT | Errno::NOTDIR) => false,
            Err(errno) => return Err(errno).context(named),
        };
        let (folder, name) = if is_folder || destination.ends_with('/') {
            let name = after_slash(top).to_vec();
            (self.make_folders(destination, self.laying.mode).context(named)?, name)
        } else {
            let path = self.follow(destination)?;
            let (above, name) = split(&path);
            let above = String::from_utf8_lossy(above).into_owned();
            (self.make_folders(&above, self.laying.mode).context(named)?, name.to_vec())
        };
        Ok(Source { mark: mark.to_vec(), is_archive, folder, dropped: top.to_vec(), name: Some(name) })
    }

    /// Where a path leads if a link stands at its end: a file is written to where it leads.
    fn follow(&self, path: &str) -> Result<Vec<u8>> {
        let mut path = path.as_bytes().to_vec();
        for _ in 0..40 {
            let (above, name) = split(&path);
            let folder = match open(self.root, above, OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => return Ok(path),
                folder => folder?,
            };
            let target = match rustix::fs::readlinkat(&folder, name, Vec::new()) {
                Err(Errno::INVAL | Errno::NOENT) => return Ok(path),
                target => target?.into_bytes(),
            };
            path = match target.starts_with(b"/") {
                true => target,
                false => [above, b"/", &target].concat(),
            };
        }
        Err(Error::invalid(format!("{}: too many links", String::from_utf8_lossy(&path))))
    }

    /// Opens a folder; those that are missing are made.
    fn make_folders(&self, path: &str, mode: u32) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match open(self.root, path.as_bytes(), flags) {
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => return Err(Error::conflict("what stands there is no folder")),
            opened => return Ok(opened?),
        }
        let path = path.trim_end_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = self.make_folders(if above.is_empty() { "/" } else { above }, mode)?;
        match rustix::fs::mkdirat(&above, name, Mode::RWXU) {
            Ok(()) => {
                let made = rustix::fs::openat(
                    &above,
                    name,
                    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                give(&made, self.laying.owner)?;
                rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context(|| path.to_string()),
        }
        match open(self.root, path.as_bytes(), flags) {
            Err(Errno::NOENT) => {
                Err(Error::conflict(format!("{path}: a link that leads nowhere stands there")))
            }
            opened => Ok(opened?),
        }
    }

    fn place(&mut self, archive: &mut Archive<impl Read>, source: &Rc<Source>, entry: Entry) -> Result<()> {
        let path = below(source, &entry.path)?;
        if path.is_empty() {
            // A folder's own entry: the destination stays as it is, but for its time, and for what an archive says of it.
            match entry.kind {
                EntryKind::Folder if source.is_archive => self.keep_folder(&path, entry)?,
                EntryKind::Folder => self.ending = Some((source.clone(), entry)),
                _ => {}
            }
            return Ok(());
        }
        let (folder, name) = split(&path);
        let folder = self.open_below(source, folder)?;
        match &entry.kind {
            EntryKind::Folder => {
                make_folder(source, &folder, name)?;
                return self.keep_folder(&path, entry);
            }
            EntryKind::File => {
                clear(source, &folder, name)?;
                let file = make_file(&folder, name)?;
                copy_content(archive, &file, &entry, &mut self.buffer)?;
                return Attributes::of_entry(&entry).apply(&file);
            }
            EntryKind::SymbolicLink(to) => {
                clear(source, &folder, name)?;
                make(&folder, name, || rustix::fs::symlinkat(&to[..], &folder, name))?;
            }
            EntryKind::HardLink(to) => {
                let to = below(source, to)?;
                let (other, known) = split(&to);
                let other = self.open_below(source, other)?;
                clear(source, &folder, name)?;
                return make(&folder, name, || {
                    rustix::fs::linkat(&other, known, &folder, name, AtFlags::empty())
                });
            }
            EntryKind::Fifo => make_node(&folder, name, FileType::Fifo, 0, &entry)?,
            EntryKind::Character(device) => {
                let number = rustix::fs::makedev(device.major, device.minor);
                make_node(&folder, name, FileType::CharacterDevice, number, &entry)?;
            }
            EntryKind::Block(device) => {
                let number = rustix::fs::makedev(device.major, device.minor);
                make_node(&folder, name, FileType::BlockDevice, number, &entry)?;
            }
        }
        if needs_owner(&folder, name, &entry)? {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(&folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| owner_error(errno, (entry.uid, entry.gid)))?;
        }
        Attributes::of_entry(&entry).time_at(&folder, name)
    }

    /// A folder beneath a source's place. An archive need not have an entry for each.
    fn open_below(&self, source: &Source, path: &[u8]) -> Result<OwnedFd> {
        let resolve = match source.is_archive {
            true => AS_ROOT,
            false => WITHOUT_LINKS,
        };
        match open_folder(&source.folder, path, resolve, source.is_archive) {
            Err(Errno::LOOP) => Err(Error::conflict("a link stands where a folder is to be")),
            opened => Ok(opened?),
        }
    }

    /// Keeps a folder of the source that is just coming.
    fn keep_folder(&mut self, path: &[u8], entry: Entry) -> Result<()> {
        let number = u32::try_from(self.sources.len()).unwrap_or(u32::MAX) - 1;
        self.folders.keep([&number.to_be_bytes(), path].concat(), entry)
    }

    fn end_source(&mut self) -> Result<()> {
        let Some((source, entry)) = self.ending.take() else { return Ok(()) };
        Attributes::of_entry(&entry).time(&reopen(&source.folder)?)
    }

    fn finish_folders(&mut self) -> Result<()> {
        for (key, entry) in self.folders.take() {
            let Some((number, path)) = key.split_first_chunk::<4>() else { continue };
            let named = || String::from_utf8_lossy(path).into_owned();
            let source = &self.sources[u32::from_be_bytes(*number) as usize];
            let folder = self.open_below(source, path).context(named)?;
            Attributes::of_entry(&entry).apply(&reopen(&folder)?).context(named)?;
        }
        Ok(())
    }
}

fn make_folder(source: &Source, folder: &OwnedFd, name: &[u8]) -> Result<()> {
    match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => return Ok(made?),
    }
    let found = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
    match FileType::from_raw_mode(found) {
        FileType::Directory => Ok(()),
        _ if !source.is_archive => Err(Error::conflict("a folder cannot be copied to what is none")),
        _ => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
            Ok(rustix::fs::mkdirat(folder, name, Mode::RWXU)?)
        }
    }
}

/// An archive's entry takes the place of a folder as well.
fn clear(source: &Source, folder: &OwnedFd, name: &[u8]) -> Result<()> {
    if !source.is_archive {
        return Ok(());
    }
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::Directory => {
            let name = std::ffi::CString::new(name).map_err(std::io::Error::from)?;
            Ok(crate::deletion::delete(folder, &name)?)
        }
        _ => Ok(()),
    }
}

fn make_node(folder: &OwnedFd, name: &[u8], kind: FileType, number: u64, entry: &Entry) -> Result<()> {
    let mode = Mode::from_raw_mode(entry.mode);
    make(folder, name, || rustix::fs::mknodat(folder, name, kind, mode, number)).map_err(
        |error| match kind {
            FileType::Fifo => error,
            _ => error.context("a device"),
        },
    )?;
    set_mode(folder, name, kind, mode)
}

/// Whoever has no other ids gives nothing away, and need not.
fn needs_owner(folder: &OwnedFd, name: &[u8], entry: &Entry) -> Result<bool> {
    let status = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((status.st_uid, status.st_gid) != (entry.uid, entry.gid))
}

fn give(file: impl AsFd, owner: (u32, u32)) -> Result<()> {
    let status = rustix::fs::fstat(&file)?;
    if (status.st_uid, status.st_gid) == owner {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    rustix::fs::fchown(&file, Some(uid), Some(gid)).map_err(|errno| owner_error(errno, owner))
}

fn owner_error(errno: Errno, (uid, gid): (u32, u32)) -> Error {
    match errno {
        Errno::INVAL => Error::invalid(format!(
            "its owner is {uid}:{gid}, and your ranges of ids (/etc/subuid, /etc/subgid) have no such: they need more"
        )),
        errno => Error::from(errno).context(format!("give it to {uid}:{gid}")),
    }
}

fn reopen(folder: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, c".", flags, Mode::empty())?)
}

/// `m0/name` of `m0/name/a/b`.
fn split_top(path: &[u8]) -> &[u8] {
    let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    slashes.nth(1).map_or(path, |end| &path[..end])
}

fn after_slash(path: &[u8]) -> &[u8] {
    path.iter().position(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..])
}

/// The path of an entry beneath its source's folder.
fn below(source: &Source, path: &[u8]) -> Result<Vec<u8>> {
    let rest = path.strip_prefix(&source.dropped[..]).unwrap_or_default();
    let rest = normalise(rest)?;
    Ok(match (&source.name, &rest[..]) {
        (Some(name), b"") => name.clone(),
        (Some(name), rest) => [&name[..], b"/", rest].concat(),
        (None, _) => rest,
    })
}

fn open(root: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open_beneath(root, path, flags, AS_ROOT)
}
