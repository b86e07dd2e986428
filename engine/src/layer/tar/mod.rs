//! Tars. Reading: ustar, GNU's and PAX', with sparse files, strict about lengths and checksums. Writing: ustar with PAX records.

mod header;
mod pax;
mod sparse;
#[cfg(test)]
pub(super) mod tests;
mod write;

use std::io::Read;

use header::{BLOCK, Header, is_zero};
use pax::Extended;
pub use sparse::Segment;
pub use write::Writer;

use crate::error::{Error, Result};

/// The most bytes of a PAX header or of a GNU long name.
const EXTENDED_MAX: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, and where it leads.
    SymbolicLink(Vec<u8>),
    /// One more name of another entry.
    HardLink(Vec<u8>),
    /// A character device.
    Character(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
}

/// The numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Of its driver.
    pub major: u32,
    /// Among those of its driver.
    pub minor: u32,
}

/// A moment: seconds since 1970, and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Before 1970 they are negative.
    pub seconds: i64,
    /// Always forward.
    pub nanoseconds: u32,
}

/// One entry, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it is written, with any bytes but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was changed.
    pub mtime: Time,
    /// When it was read, if the tar says so.
    pub atime: Option<Time>,
    /// The length of a file, holes included.
    pub size: u64,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data of a sparse file belongs; `None`: one after the other from the beginning.
    pub segments: Option<Vec<Segment>>,
}

impl Entry {
    /// Root's, and of 1970: the same content gives the same tar.
    pub fn plain(path: &str, kind: EntryKind, mode: u32, size: u64) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            atime: None,
            size,
            xattrs: Vec::new(),
            segments: None,
        }
    }
}

/// A tar that is read from its beginning to its end.
pub struct Archive<R> {
    inner: R,
    /// What is left of the content of the last entry, and the padding behind it.
    content: u64,
    padding: u64,
}

impl<R: Read> Archive<R> {
    /// Reads from `inner`, which is not compressed.
    pub fn new(inner: R) -> Archive<R> {
        Archive { inner, content: 0, padding: 0 }
    }

    /// The reader within.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry; what is left of the last one's content is passed over. `None` at the end.
    ///
    /// # Errors
    /// It is no tar, or it is cut.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extended = Extended::default();
        let mut extended_length = 0;
        loop {
            self.pass_over()?;
            let Some(header) = self.header()? else { return Ok(None) };
            self.content = header.size()?;
            if matches!(header.flag(), b'x' | b'L' | b'K') {
                // Many that are small are as hostile as one that is large.
                extended_length = self.content.saturating_add(extended_length);
                check_length(extended_length)?;
            }
            self.padding = self.content.next_multiple_of(BLOCK as u64) - self.content;
            match header.flag() {
                b'x' => extended.read_pax(&self.read_all()?)?,
                // Of everything behind it: commit ids and the like. Docker ignores it as well.
                b'g' => {}
                b'L' => extended.path = Some(until_nul(self.read_all()?)),
                b'K' => extended.link = Some(until_nul(self.read_all()?)),
                _ => return self.entry(&header, extended).map(Some),
            }
        }
    }

    /// Reads more of the last entry's content; nothing at its end.
    ///
    /// # Errors
    /// The tar is cut.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = self.content.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let length = self.inner.read(&mut buffer[..wanted]).map_err(Error::from)?;
        if length == 0 {
            return Err(cut());
        }
        self.content -= length as u64;
        Ok(length)
    }

    fn entry(&mut self, header: &Header, extended: Extended) -> Result<Entry> {
        let mut path = extended.path.unwrap_or_else(|| header.path());
        let link = extended.link.unwrap_or_else(|| header.link());
        let named = |error: Error| error.context(String::from_utf8_lossy(&path));
        if path.contains(&0) || link.contains(&0) {
            return Err(named(Error::corrupt("a NUL in the name")));
        }
        if let Some(size) = extended.size.filter(|_| header.has_content()) {
            self.content = size;
            self.padding = size.next_multiple_of(BLOCK as u64) - size;
        }
        let kind = kind(header, &path, link).map_err(named)?;
        let mut size = self.content;
        let mut segments = None;
        if header.flag() == b'S' {
            let map = sparse::read_gnu(header, &mut self.inner).map_err(named)?;
            (segments, size) = (Some(map), header.real_size()?);
        } else if let Some(sparse) = extended.sparse {
            path = sparse.name.unwrap_or(path);
            let named = |error: Error| error.context(String::from_utf8_lossy(&path));
            size =
                sparse.size.ok_or_else(|| Error::corrupt("a sparse file without its size")).map_err(named)?;
            segments =
                Some(if sparse.is_in_content { self.read_map().map_err(named)? } else { sparse.segments });
        }
        if let Some(segments) = &segments {
            let named = |error: Error| error.context(String::from_utf8_lossy(&path));
            sparse::check(segments, size, self.content).map_err(named)?;
        }
        if kind != EntryKind::File {
            size = 0;
        }
        Ok(Entry {
            path,
            kind,
            mode: header.mode()?,
            uid: extended.uid.map_or_else(|| header.uid(), Ok)?,
            gid: extended.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: extended.mtime.map_or_else(|| header.mtime(), Ok)?,
            atime: extended.atime,
            size,
            xattrs: extended.xattrs,
            segments,
        })
    }

    /// The map of a sparse file in PAX' version 1.0, which comes before its data.
    fn read_map(&mut self) -> Result<Vec<Segment>> {
        let mut lines = sparse::Lines::default();
        while lines.wants_more()? {
            let mut block = [0; BLOCK];
            let mut filled = 0;
            while filled < BLOCK {
                match self.read_content(&mut block[filled..])? {
                    0 => return Err(Error::corrupt("its map of data is cut")),
                    length => filled += length,
                }
            }
            lines.add(&block)?;
        }
        lines.segments()
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        match fill(&mut self.inner, &mut block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(cut()),
        }
        if is_zero(&block) {
            let length = fill(&mut self.inner, &mut block)?;
            if length == 0 || is_zero(&block[..length]) {
                return Ok(None);
            }
            return Err(Error::corrupt("no tar: a block of zeros, and more behind it"));
        }
        Header::check(block).map(Some)
    }

    fn read_all(&mut self) -> Result<Vec<u8>> {
        let mut text = vec![0; self.content as usize];
        if fill(&mut self.inner, &mut text)? < text.len() {
            return Err(cut());
        }
        self.content = 0;
        Ok(text)
    }

    fn pass_over(&mut self) -> Result<()> {
        let left = self.content + self.padding;
        (self.content, self.padding) = (0, 0);
        let passed = std::io::copy(&mut (&mut self.inner).take(left), &mut std::io::sink())?;
        if passed < left { Err(cut()) } else { Ok(()) }
    }
}

fn kind(header: &Header, path: &[u8], link: Vec<u8>) -> Result<EntryKind> {
    Ok(match header.flag() {
        // Before POSIX, folders were files with such a name.
        b'\0' | b'0' if path.ends_with(b"/") => EntryKind::Folder,
        b'\0' | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink(link),
        b'2' => EntryKind::SymbolicLink(link),
        b'3' => EntryKind::Character(header.device()?),
        b'4' => EntryKind::Block(header.device()?),
        b'5' => EntryKind::Folder,
        b'6' => EntryKind::Fifo,
        other => {
            return Err(Error::corrupt(format!("an entry of the kind {:?}: not known", char::from(other))));
        }
    })
}

/// Reads until the buffer is full or the end has come.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|&byte| byte == 0) {
        text.truncate(end);
    }
    text
}

fn check_length(length: u64) -> Result<()> {
    if length <= EXTENDED_MAX {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "the tar has {length} bytes of headers before an entry: at most {EXTENDED_MAX} are read"
    )))
}

fn cut() -> Error {
    Error::corrupt("the tar is cut: it ends in the middle of an entry")
}
