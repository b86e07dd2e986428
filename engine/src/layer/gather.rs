//! Files for a copy: paths and patterns below a root become a tar. Each source that is found has a name of its own at the beginning
//! of its entries' paths (`m0/`, `m1/` …), because what becomes of it is decided where it goes.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Dir, FileType, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::{AS_ROOT, open_beneath};
use super::compression::uncompress;
use super::mode::ModeChange;
use super::pack::{Choice, Selection, pack_selected};
use super::pattern::{Patterns, is_pattern, matches_part};
use super::tar::{Archive, Entry, EntryKind, Segment, Time, Writer};
use super::tree::clean;
use super::tree::normalise;
use crate::error::{Error, Result};
use crate::order;
use crate::stop::Stop;

/// What is gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathering {
    /// Paths and patterns; all are below the root.
    pub sources: Vec<String>,
    /// What of the root counts as not there (`.dockerignore`).
    pub ignored: Vec<String>,
    /// What of a source is left out.
    pub excluded: Vec<String>,
    /// Whose everything is to be; `None`: as it is.
    pub owner: Option<(u32, u32)>,
    /// What becomes of the mode of everything but links.
    pub mode: Option<ModeChange>,
    /// Whether the folders above a source go along.
    pub parents: bool,
    /// Whether the entries of an archive take its place.
    pub unpacks: bool,
    /// Whose those are to be; `None`: as it says.
    pub unpacked_owner: Option<(u32, u32)>,
}

/// Gathers into a tar.
///
/// # Errors
/// A source is not there, or cannot be read.
pub fn gather(root: &OwnedFd, gathering: &Gathering, out: &mut dyn Write, stop: &Stop) -> Result<()> {
    let mut writer = Writer::new(out);
    gather_into(root, gathering, 0, &mut writer, stop)?;
    writer.finish()
}

/// Gathers into a tar that is not ended. `first` is the number of the first source; the result is that behind the last one.
///
/// # Errors
/// As for [`gather`].
pub fn gather_into(
    root: &OwnedFd,
    gathering: &Gathering,
    first: usize,
    out: &mut Writer<&mut dyn Write>,
    stop: &Stop,
) -> Result<usize> {
    let ignored = Patterns::checked(".dockerignore", &gathering.ignored)?;
    let excluded = Patterns::checked("--exclude", &gathering.excluded)?;
    let mut gatherer = Gatherer { root, gathering, ignored, excluded, number: first, out, stop };
    for source in &gathering.sources {
        gatherer.source(source).map_err(|error| match error.kind() {
            crate::Kind::Closed => error,
            _ => error.context(source),
        })?;
    }
    Ok(gatherer.number)
}

struct Gatherer<'a, 'w> {
    root: &'a OwnedFd,
    gathering: &'a Gathering,
    ignored: Patterns,
    excluded: Patterns,
    number: usize,
    out: &'a mut Writer<&'w mut dyn Write>,
    stop: &'a Stop,
}

impl Gatherer<'_, '_> {
    fn source(&mut self, source: &str) -> Result<()> {
        // What stands before `/./` does not go along with --parents.
        let pivot = source.find("/./").filter(|_| self.gathering.parents);
        let before = pivot.map(|at| clean(&source[..at]));
        let before = before.filter(|path| !path.is_empty()).map_or(0, |path| path.split('/').count());
        let path = clean(source).into_bytes();
        if !is_pattern(&path) {
            return match self.find(&path)? {
                Some(found) => self.add(&path, before, &found),
                None if self.is_ignored(&path) => {
                    Err(Error::not_found("there is such a file, but .dockerignore leaves it out"))
                }
                None if self.is_link(&path)? => Err(Error::not_found("it is a link, and leads to no file")),
                None => Err(Error::not_found("there is no such file")),
            };
        }
        Patterns::check(source)?;
        for path in self.matches(&path, before)? {
            match self.find(&path)? {
                Some(found) => self.add(&path, before, &found)?,
                None if !self.is_ignored(&path) && self.is_link(&path)? => {
                    let path = String::from_utf8_lossy(&path).into_owned();
                    return Err(Error::not_found(format!("{path} is a link, and leads to no file")));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn is_ignored(&self, path: &[u8]) -> bool {
        !path.is_empty() && self.ignored.matches(path)
    }

    /// Whether a link stands at the end of a path.
    fn is_link(&self, path: &[u8]) -> Result<bool> {
        match open(self.root, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            found => Ok(kind(&found?)? == FileType::Symlink),
        }
    }

    /// What a path leads to, through links; `None` if there is nothing, as where a link leads to itself.
    fn find(&self, path: &[u8]) -> Result<Option<OwnedFd>> {
        let found = match open(self.root, path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            found => found?,
        };
        let may_have_more = kind(&found)? == FileType::Directory && self.ignored.has_exceptions();
        Ok(Some(found).filter(|_| !self.is_ignored(path) || may_have_more))
    }

    /// All paths that match a pattern, part by part; links on the way are not followed where a part is a pattern. With --parents two stars
    /// are any number of parts, behind the first `before` ones.
    fn matches(&self, pattern: &[u8], before: usize) -> Result<Vec<Vec<u8>>> {
        let mut found = vec![Vec::new()];
        let parts: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').collect();
        for (index, part) in parts.iter().copied().enumerate() {
            let is_deep = part.windows(2).any(|two| two == b"**");
            if is_deep && index >= before && self.gathering.parents {
                let rest = String::from_utf8_lossy(&parts[index..].join(&b'/')).into_owned();
                return self.matches_below(found, &Patterns::new(&[rest]));
            }
            let mut next = Vec::new();
            for folder in found {
                let below = |name: &[u8]| match &folder[..] {
                    b"" => name.to_vec(),
                    folder => [folder, b"/", name].concat(),
                };
                if !is_pattern(part) {
                    next.push(below(part));
                    continue;
                }
                let opened = match open(self.root, &folder, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                    opened => opened?,
                };
                let mut names = Vec::new();
                for entry in Dir::read_from(&opened)? {
                    let name = entry?.file_name().to_bytes().to_vec();
                    if name != b"." && name != b".." && matches_part(part, &name) {
                        names.push(below(&name));
                    }
                }
                order::sort(&mut names);
                next.extend(names);
            }
            found = next;
        }
        Ok(found)
    }

    /// Whatever of some folders matches a pattern at any depth: of each branch what is topmost, since all that is below goes along.
    fn matches_below(&self, folders: Vec<Vec<u8>>, pattern: &Patterns) -> Result<Vec<Vec<u8>>> {
        let mut matched = Vec::new();
        // With where the part begins that is to match.
        let mut folders: Vec<_> = folders.into_iter().map(|folder| (folder.len(), folder)).collect();
        while let Some((begin, folder)) = folders.pop() {
            self.stop.check()?;
            let opened = match open(self.root, &folder, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                opened => opened?,
            };
            for entry in Dir::read_from(&opened)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                let path = match &folder[..] {
                    b"" => name.to_vec(),
                    folder => [folder, b"/", name].concat(),
                };
                if pattern.matches(path[begin..].strip_prefix(b"/").unwrap_or(&path[begin..])) {
                    matched.push(path);
                    continue;
                }
                let found = open(self.root, &path, OFlags::PATH | OFlags::NOFOLLOW)?;
                let is_left_out = self.is_ignored(&path) && !self.ignored.has_exceptions();
                if kind(&found)? == FileType::Directory && !is_left_out {
                    folders.push((begin, path));
                }
            }
        }
        order::sort(&mut matched);
        Ok(matched)
    }

    fn add(&mut self, path: &[u8], before: usize, found: &OwnedFd) -> Result<()> {
        let number = self.number;
        self.number += 1;
        let is_folder = kind(found)? == FileType::Directory;
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let left =
            if before == 0 { 0 } else { slashes.chain([path.len()]).nth(before - 1).unwrap_or(path.len()) };
        let kept = path[left..].strip_prefix(b"/").unwrap_or(&path[left..]);
        // What is to be left out is named from where folders go along; else from the source, or by the name of a file.
        let (named, below) = match (self.gathering.parents, is_folder) {
            (true, _) => (kept, kept),
            (false, true) => (&b""[..], &b""[..]),
            (false, false) => (name, &b""[..]),
        };
        let may_have_more = is_folder && self.excluded.has_exceptions();
        if !named.is_empty() && self.excluded.matches(named) && !may_have_more {
            return Ok(());
        }
        let mut picked = Picked {
            gathering: self.gathering,
            ignored: self.ignored.clone(),
            excluded: self.excluded.clone(),
            base: path.to_vec(),
            below: below.to_vec(),
        };
        if self.gathering.unpacks
            && kind(found)? == FileType::RegularFile
            && self.add_archive(number, found)?
        {
            return Ok(());
        }
        if self.gathering.parents {
            let top = format!("m{number}/.").into_bytes();
            self.existing_folder(
                &open(self.root, &path[..left], OFlags::PATH | OFlags::DIRECTORY)?,
                &top,
                &picked,
            )?;
            let mut tops = top;
            for (end, _) in kept.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                let above = path[..path.len() - kept.len() + end].to_vec();
                let opened = open(self.root, &above, OFlags::PATH | OFlags::DIRECTORY)?;
                let tar_path = [&tops[..], b"/", &kept[..end]].concat();
                self.existing_folder(&opened, &tar_path, &picked)?;
            }
            if !kept.is_empty() {
                tops = [&tops[..], b"/", kept].concat();
            }
            return pack_selected(found, &tops, &mut picked, self.out);
        }
        let name = if name.is_empty() { b"." } else { name };
        pack_selected(found, &[format!("m{number}/").as_bytes(), name].concat(), &mut picked, self.out)
    }

    /// The entries of an archive; false if it is none.
    fn add_archive(&mut self, number: usize, found: &OwnedFd) -> Result<bool> {
        let file = std::fs::File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        let mut archive = Archive::new(uncompress(file, self.stop)?);
        let mut next = match archive.next_entry() {
            Ok(Some(entry)) => Some(entry),
            // A file that only looks like one is a file.
            Ok(None) | Err(_) => return Ok(false),
        };
        let (mark, mut buffer) = (format!("a{number}/"), vec![0; 1 << 17]);
        while let Some(mut entry) = next {
            entry.path = [mark.as_bytes(), &normalise(&entry.path)?].concat();
            if let EntryKind::HardLink(to) = &mut entry.kind {
                *to = [mark.as_bytes(), &normalise(to)?].concat();
            }
            if let Some((uid, gid)) = self.gathering.unpacked_owner {
                (entry.uid, entry.gid) = (uid, gid);
            }
            let segments = entry.segments.take();
            self.out.entry(&entry)?;
            if entry.kind == EntryKind::File {
                self.copy_content(&mut archive, &entry, segments.as_deref(), &mut buffer)?;
            }
            next = archive.next_entry()?;
        }
        Ok(true)
    }

    /// Holes of a sparse file are written as zeros.
    fn copy_content(
        &mut self,
        archive: &mut Archive<impl Read>,
        entry: &Entry,
        segments: Option<&[Segment]>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut at = 0;
        let whole = [Segment { offset: 0, length: entry.size }];
        for Segment { offset, length } in segments.unwrap_or(&whole) {
            self.zeros(offset - at)?;
            let mut left = *length;
            while left > 0 {
                let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                match archive.read_content(&mut buffer[..wanted])? {
                    0 => return Err(Error::corrupt("the archive is cut")),
                    length => {
                        self.out.content(&buffer[..length])?;
                        left -= length as u64;
                    }
                }
            }
            at = offset + length;
        }
        self.zeros(entry.size - at)
    }

    fn zeros(&mut self, mut count: u64) -> Result<()> {
        let zeros = [0; 4096];
        while count > 0 {
            let length = count.min(4096);
            self.out.content(&zeros[..length as usize])?;
            count -= length;
        }
        Ok(())
    }

    fn existing_folder(&mut self, folder: &OwnedFd, path: &[u8], picked: &Picked<'_>) -> Result<()> {
        let status = rustix::fs::fstat(folder)?;
        let nanoseconds = u32::try_from(status.st_mtime_nsec).unwrap_or(0);
        let mut entry = Entry {
            path: path.to_vec(),
            kind: EntryKind::Folder,
            mode: status.st_mode & 0o7777,
            uid: status.st_uid,
            gid: status.st_gid,
            mtime: Time { seconds: status.st_mtime, nanoseconds },
            atime: None,
            size: 0,
            xattrs: Vec::new(),
            segments: None,
        };
        picked.shape(&mut entry);
        self.out.entry(&entry)
    }
}

/// What of a source goes along.
struct Picked<'a> {
    gathering: &'a Gathering,
    ignored: Patterns,
    excluded: Patterns,
    /// The source's path below the root.
    base: Vec<u8>,
    /// The same below where what is to be left out is named from.
    below: Vec<u8>,
}

impl Selection for Picked<'_> {
    fn choose(&mut self, path: &[u8], is_folder: bool) -> Choice {
        let under = |base: &[u8]| match base {
            b"" => path.to_vec(),
            base => [base, b"/", path].concat(),
        };
        let mut choice = Choice::Taken;
        for (patterns, path) in [(&self.ignored, under(&self.base)), (&self.excluded, under(&self.below))] {
            if patterns.matches(&path) {
                match is_folder && patterns.has_exceptions() {
                    true => choice = Choice::Within,
                    false => return Choice::Left,
                }
            }
        }
        choice
    }

    fn shape(&self, entry: &mut Entry) {
        // As in all tars of Docker's and containerd's; a part of a second costs a header for each file.
        entry.mtime.nanoseconds = 0;
        if let Some((uid, gid)) = self.gathering.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(mode) = &self.gathering.mode
            && !matches!(entry.kind, EntryKind::SymbolicLink(_))
        {
            entry.mode = mode.apply(entry.mode, entry.kind == EntryKind::Folder);
        }
    }
}

fn kind(found: &OwnedFd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(found)?.st_mode))
}

/// Links lead to what they would if the root were that of a container.
fn open(root: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open_beneath(root, path, flags, AS_ROOT)
}
