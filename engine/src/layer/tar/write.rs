//! Writing tars: ustar headers, and PAX records for what does not fit into them.

use std::io::{Read, Write};

use super::header::BLOCK;
use super::{Device, Entry, EntryKind, Time};
use crate::error::{Error, Result};

/// A tar that is written from its beginning to its end.
pub struct Writer<W> {
    inner: W,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// Writes to `inner`, uncompressed.
    pub fn new(inner: W) -> Writer<W> {
        Writer { inner, padding: 0 }
    }

    /// Begins an entry. Of a file, `size` bytes of content follow.
    ///
    /// # Errors
    /// Nobody takes what is written.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.end_entry()?;
        let records = records(entry);
        if !records.is_empty() {
            let header = header(b"PaxHeaders", b"", b'x', entry, records.len() as u64);
            self.write(&header)?;
            self.write(&records)?;
            self.write(&vec![0; padding(records.len() as u64)])?;
        }
        let (flag, link): (u8, &[u8]) = match &entry.kind {
            EntryKind::File => (b'0', b""),
            EntryKind::HardLink(to) => (b'1', to),
            EntryKind::SymbolicLink(to) => (b'2', to),
            EntryKind::Character(_) => (b'3', b""),
            EntryKind::Block(_) => (b'4', b""),
            EntryKind::Folder => (b'5', b""),
            EntryKind::Fifo => (b'6', b""),
        };
        let size = if entry.kind == EntryKind::File { entry.size } else { 0 };
        self.write(&header(&path(entry), link, flag, entry, size))?;
        self.padding = padding(size);
        Ok(())
    }

    /// Some of the entry's content.
    ///
    /// # Errors
    /// Nobody takes what is written.
    pub fn content(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(bytes)
    }

    /// A file with the first bytes of what is read.
    ///
    /// # Errors
    /// Nobody takes what is written; there are fewer bytes than the entry says.
    pub fn file(&mut self, entry: &Entry, content: impl Read) -> Result<()> {
        self.entry(entry)?;
        let copied = std::io::copy(&mut content.take(entry.size), &mut self.inner).map_err(refusal)?;
        match copied == entry.size {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "{}: {copied} bytes instead of {}",
                String::from_utf8_lossy(&entry.path),
                entry.size
            ))),
        }
    }

    /// Ends the tar.
    ///
    /// # Errors
    /// Nobody takes what is written.
    pub fn finish(mut self) -> Result<()> {
        self.end_entry()?;
        self.write(&[0; 2 * BLOCK])?;
        self.inner.flush().map_err(refusal)
    }

    fn end_entry(&mut self) -> Result<()> {
        let padding = std::mem::take(&mut self.padding);
        self.write(&[0; BLOCK][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write_all(bytes).map_err(refusal)
    }
}

fn refusal(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::new(crate::Kind::Closed, "nobody reads the tar any more"),
        _ => Error::from(error).context("write the tar"),
    }
}

fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

/// Folders end with a slash.
fn path(entry: &Entry) -> Vec<u8> {
    match entry.kind {
        EntryKind::Folder => [&entry.path[..], b"/"].concat(),
        _ => entry.path.clone(),
    }
}

/// The PAX records of an entry: what a header has no room for.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let path = path(entry);
    if path.len() > 100 || !path.is_ascii() {
        add(&mut records, b"path", &path);
    }
    if let EntryKind::HardLink(to) | EntryKind::SymbolicLink(to) = &entry.kind
        && (to.len() > 100 || !to.is_ascii())
    {
        add(&mut records, b"linkpath", to);
    }
    if entry.size > OCTAL_MAX && entry.kind == EntryKind::File {
        add(&mut records, b"size", entry.size.to_string().as_bytes());
    }
    for (name, id) in [(b"uid", entry.uid), (b"gid", entry.gid)] {
        if id > ID_MAX {
            add(&mut records, name, id.to_string().as_bytes());
        }
    }
    let Time { seconds, nanoseconds } = entry.mtime;
    if nanoseconds != 0 || seconds < 0 || seconds.cast_unsigned() > OCTAL_MAX {
        add(&mut records, b"mtime", time(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// Eleven digits.
const OCTAL_MAX: u64 = 0o77_777_777_777;

/// Seven digits.
const ID_MAX: u32 = 0o7_777_777;

/// A record's length counts its own digits.
fn add(records: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = 3 + name.len() + value.len();
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(name);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Seconds with a fraction; before 1970 both count backwards.
fn time(Time { seconds, nanoseconds }: Time) -> String {
    match (seconds, nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds @ 0.., nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
        (seconds, nanoseconds) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    }
}

fn header(path: &[u8], link: &[u8], flag: u8, entry: &Entry, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut text = |at: usize, most: usize, value: &[u8]| {
        let length = value.len().min(most);
        block[at..at + length].copy_from_slice(&value[..length]);
    };
    let octal = |value: u64, digits: usize| format!("{value:0digits$o}");
    text(0, 100, path);
    text(100, 7, octal(entry.mode.into(), 7).as_bytes());
    // What is too large stands in a record.
    text(108, 7, octal(entry.uid.min(ID_MAX).into(), 7).as_bytes());
    text(116, 7, octal(entry.gid.min(ID_MAX).into(), 7).as_bytes());
    text(124, 11, octal(size.min(OCTAL_MAX), 11).as_bytes());
    text(136, 11, octal(entry.mtime.seconds.max(0).cast_unsigned().min(OCTAL_MAX), 11).as_bytes());
    text(157, 100, link);
    text(257, 8, b"ustar\x0000");
    if let EntryKind::Character(Device { major, minor }) | EntryKind::Block(Device { major, minor }) =
        entry.kind
    {
        text(329, 7, octal(major.into(), 7).as_bytes());
        text(337, 7, octal(minor.into(), 7).as_bytes());
    }
    text(148, 8, b"        ");
    block[156] = flag;
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::super::Archive;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let plain = Entry {
            path: b"etc/file".to_vec(),
            kind: EntryKind::File,
            mode: 0o4755,
            uid: 0,
            gid: 7,
            mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
            atime: None,
            size: 5,
            xattrs: Vec::new(),
            segments: None,
        };
        let odd = Entry {
            path: [&b"long/".repeat(60)[..], "ä".as_bytes()].concat(),
            uid: 4_000_000_000,
            mtime: Time { seconds: -2, nanoseconds: 750_000_000 },
            xattrs: vec![(b"user.k".to_vec(), b"a\nb\0c".to_vec())],
            ..plain.clone()
        };
        let link = Entry {
            path: b"link".to_vec(),
            kind: EntryKind::SymbolicLink(b"x".repeat(300)),
            size: 0,
            ..plain.clone()
        };
        let device = Entry {
            path: b"null".to_vec(),
            kind: EntryKind::Character(Device { major: 1, minor: 3 }),
            size: 0,
            ..plain.clone()
        };
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for entry in [&plain, &odd, &link, &device] {
            writer.entry(entry).unwrap();
            if entry.kind == EntryKind::File {
                writer.content(b"bytes").unwrap();
            }
        }
        let short =
            writer.file(&Entry { path: b"short".to_vec(), ..plain.clone() }, &b"four"[..]).unwrap_err();
        assert_eq!(short.to_string(), "short: 4 bytes instead of 5");
        bytes.truncate(bytes.len() - BLOCK - 4);
        Writer::new(&mut bytes).finish().unwrap();
        let mut archive = Archive::new(&bytes[..]);
        for entry in [plain, odd, link, device] {
            assert_eq!(archive.next_entry().unwrap(), Some(entry));
        }
        assert_eq!(archive.next_entry().unwrap(), None);
    }
}
