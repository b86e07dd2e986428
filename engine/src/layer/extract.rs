//! A tar is unpacked into a folder that others use: beneath it, through no link, and nothing but files is replaced.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::attribute::Attributes;
use super::beneath::{WITHOUT_LINKS, open_beneath};
use super::folders::{Folders, MEMORY_MAX};
use super::node::set_mode;
use super::tar::{Archive, Device, Entry, EntryKind};
use super::tree::{normalise, split};
use crate::error::{Context, Error, Result};

/// Whose the files are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rights {
    /// As the tar says, with devices, setuid and capabilities.
    Kept,
    /// The caller's.
    Own,
}

/// Where the tar's entries go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Landing {
    /// By the paths that they have.
    AsNamed,
    /// All entries are one file or folder and what is in it: that gets this name, or is the folder itself.
    As(Option<Vec<u8>>),
}

/// How a tar is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extraction {
    /// Whose the files are.
    pub rights: Rights,
    /// Where they go.
    pub landing: Landing,
    /// Whether what the first entry is may be put there: a folder, or something else.
    pub takes_folder: bool,
    /// The same for what is no folder.
    pub takes_file: bool,
}

/// Unpacks a tar beneath a folder.
///
/// # Errors
/// It is no tar, or would replace a folder by a file or the other way round; the error names the entry.
pub fn extract(stream: impl Read, folder: &OwnedFd, extraction: &Extraction) -> Result<()> {
    let mut archive = Archive::new(stream);
    let mut extractor = Extractor {
        top: folder,
        extraction,
        folders: Folders::new(MEMORY_MAX),
        buffer: vec![0; 1 << 17],
        is_first: true,
    };
    while let Some(entry) = archive.next_entry()? {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        extractor.place(&mut archive, entry).map_err(|error| error.context(name))?;
    }
    extractor.finish_folders()?;
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    Ok(())
}

struct Extractor<'a> {
    top: &'a OwnedFd,
    extraction: &'a Extraction,
    /// New ones.
    folders: Folders,
    buffer: Vec<u8>,
    is_first: bool,
}

impl Extractor<'_> {
    fn place(&mut self, archive: &mut Archive<impl Read>, entry: Entry) -> Result<()> {
        if std::mem::take(&mut self.is_first) {
            match entry.kind {
                EntryKind::Folder if !self.extraction.takes_folder => {
                    return Err(Error::invalid("a folder cannot be copied onto a file"));
                }
                EntryKind::Folder => {}
                _ if !self.extraction.takes_file => {
                    return Err(Error::invalid("a file cannot be copied there: the folder is missing"));
                }
                _ => {}
            }
        }
        let path = self.landing(&entry.path)?;
        if path.is_empty() {
            return Ok(());
        }
        let (folder, name) = split(&path);
        let folder = self.open(folder)?;
        match &entry.kind {
            EntryKind::Folder => self.place_folder(&folder, name, path.clone(), entry),
            EntryKind::File => {
                let file = make_file(&folder, name)?;
                copy_content(archive, &file, &entry, &mut self.buffer)?;
                self.attributes(&entry).apply(&file)
            }
            EntryKind::SymbolicLink(to) => {
                make(&folder, name, || rustix::fs::symlinkat(&to[..], &folder, name))?;
                let attributes = self.attributes(&entry);
                attributes.own_at(&folder, name)?;
                attributes.time_at(&folder, name)
            }
            EntryKind::HardLink(to) => {
                let to = self.landing(to)?;
                let (other, known) = split(&to);
                let other = self.open(other)?;
                make(&folder, name, || rustix::fs::linkat(&other, known, &folder, name, AtFlags::empty()))
            }
            EntryKind::Fifo => self.make_node(&folder, name, FileType::Fifo, None, &entry),
            EntryKind::Character(device) => {
                self.make_node(&folder, name, FileType::CharacterDevice, Some(*device), &entry)
            }
            EntryKind::Block(device) => {
                self.make_node(&folder, name, FileType::BlockDevice, Some(*device), &entry)
            }
        }
    }

    /// The path beneath the folder; empty for the folder itself.
    fn landing(&self, path: &[u8]) -> Result<Vec<u8>> {
        let path = normalise(path)?;
        let Landing::As(name) = &self.extraction.landing else { return Ok(path) };
        let rest = path.iter().position(|&byte| byte == b'/').map_or(&b""[..], |slash| &path[slash + 1..]);
        Ok(match (name, rest) {
            (None, rest) => rest.to_vec(),
            (Some(name), b"") => name.clone(),
            (Some(name), rest) => [&name[..], b"/", rest].concat(),
        })
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd> {
        let makes = self.extraction.landing == Landing::AsNamed;
        match open_folder(self.top, path, WITHOUT_LINKS, makes) {
            Err(Errno::LOOP) => Err(Error::invalid("a link stands where a folder is to be")),
            opened => Ok(opened?),
        }
    }

    fn place_folder(&mut self, folder: &OwnedFd, name: &[u8], path: Vec<u8>, entry: Entry) -> Result<()> {
        match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
            Ok(()) => self.folders.keep(path, entry)?,
            Err(Errno::EXIST) => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode {
                mode if FileType::from_raw_mode(mode) == FileType::Directory => {}
                _ => return Err(Error::conflict("something that is no folder is there already")),
            },
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    fn make_node(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        kind: FileType,
        device: Option<Device>,
        entry: &Entry,
    ) -> Result<()> {
        if device.is_some() && self.extraction.rights == Rights::Own {
            return Err(Error::invalid(
                "a device, which goes along only where rights are kept (cp --archive)",
            ));
        }
        let number = device.map_or(0, |Device { major, minor }| rustix::fs::makedev(major, minor));
        let rights = if self.extraction.rights == Rights::Own { 0o1777 } else { 0o7777 };
        let mode = Mode::from_raw_mode(entry.mode & rights);
        make(folder, name, || rustix::fs::mknodat(folder, name, kind, mode, number))?;
        self.attributes(entry).own_at(folder, name)?;
        set_mode(folder, name, kind, mode)
    }

    /// A program of somebody else's does not get the caller's rights.
    fn attributes<'e>(&self, entry: &'e Entry) -> Attributes<'e> {
        let attributes = Attributes::of_entry(entry);
        match self.extraction.rights {
            Rights::Kept => attributes,
            Rights::Own => attributes.without_owner().with_users_xattrs().with_mode_of(0o1777),
        }
    }

    fn finish_folders(&mut self) -> Result<()> {
        for (path, entry) in self.folders.take() {
            let folder = open_beneath(self.top, &path, OFlags::RDONLY | OFlags::DIRECTORY, WITHOUT_LINKS);
            let named = || String::from_utf8_lossy(&path).into_owned();
            self.attributes(&entry).apply(folder.context(named)?).context(named)?;
        }
        Ok(())
    }
}

/// Makes something, in the place of what stands there, unless that is a folder.
pub(super) fn make(folder: &OwnedFd, name: &[u8], make: impl Fn() -> rustix::io::Result<()>) -> Result<()> {
    match make() {
        Err(Errno::EXIST) => match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => Err(Error::conflict("a folder is there already")),
            removed => Ok(removed.and_then(|()| make())?),
        },
        made => Ok(made?),
    }
}

/// Makes a file, in the place of what stands there, unless that is a folder.
pub(super) fn make_file(folder: &OwnedFd, name: &[u8]) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
    match create() {
        Err(Errno::EXIST) => {}
        made => return Ok(made?.into()),
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(create()?.into()),
        // What is mounted there, as /etc/hosts is, gets the content.
        Err(Errno::BUSY) => {
            let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?.into())
        }
        Err(Errno::ISDIR) => Err(Error::conflict("a folder is there already")),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes the content of an entry, with its holes.
pub(super) fn copy_content(
    archive: &mut Archive<impl Read>,
    mut file: &File,
    entry: &Entry,
    buffer: &mut [u8],
) -> Result<()> {
    let mut parts = vec![(0, u64::MAX)];
    if let Some(segments) = &entry.segments {
        file.set_len(entry.size)?;
        parts = segments.iter().map(|segment| (segment.offset, segment.length)).collect();
    }
    for (offset, mut left) in parts {
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset))?;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match archive.read_content(&mut buffer[..wanted])? {
                0 => break,
                length => {
                    file.write_all(&buffer[..length])?;
                    left -= length as u64;
                }
            }
        }
    }
    Ok(())
}

/// Opens a folder beneath another. With `makes` those that are missing are made: a tar need not have an entry for each.
pub(super) fn open_folder(
    top: &OwnedFd,
    path: &[u8],
    resolve: ResolveFlags,
    makes: bool,
) -> rustix::io::Result<OwnedFd> {
    let open = |path: &[u8]| open_beneath(top, path, OFlags::PATH | OFlags::DIRECTORY, resolve);
    match open(path) {
        Err(Errno::NOENT) if makes => {}
        opened => return opened,
    }
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    for end in ends.chain([path.len()]) {
        let (above, name) = split(&path[..end]);
        match rustix::fs::mkdirat(open(above)?, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    open(path)
}
