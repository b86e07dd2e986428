//! Writing tars of plain files: what `save` makes.

use std::io::{Error, Read, Result, Write};

const BLOCK: usize = 512;

/// A tar that is written from its beginning to its end. All files are root's, and of 1970: the same content gives the same tar.
pub struct TarWriter<W> {
    inner: W,
}

impl<W: Write> TarWriter<W> {
    /// Into `inner`.
    pub fn new(inner: W) -> TarWriter<W> {
        TarWriter { inner }
    }

    /// A folder.
    ///
    /// # Errors
    /// It could not be written; its name has more than 100 bytes.
    pub fn folder(&mut self, name: &str) -> Result<()> {
        self.header(&format!("{name}/"), b'5', 0o755, 0)
    }

    /// A file of exactly `length` bytes.
    ///
    /// # Errors
    /// As for a folder; the content is shorter.
    pub fn file(&mut self, name: &str, length: u64, content: &mut dyn Read) -> Result<()> {
        self.header(name, b'0', 0o644, length)?;
        let copied = std::io::copy(&mut content.take(length), &mut self.inner)?;
        if copied < length {
            return Err(Error::other(format!("{name}: {copied} bytes instead of {length}")));
        }
        let rest = (BLOCK - (length % BLOCK as u64) as usize) % BLOCK;
        self.inner.write_all(&[0; BLOCK][..rest])
    }

    /// Writes the end.
    ///
    /// # Errors
    /// It could not be written.
    pub fn finish(mut self) -> Result<()> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        self.inner.flush()
    }

    fn header(&mut self, name: &str, kind: u8, mode: u32, length: u64) -> Result<()> {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        if name.len() > 100 {
            return Err(Error::other(format!("{name}: a name of more than 100 bytes")));
        }
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\x000000000\0");
        put(124, &number(length));
        put(136, b"00000000000\0");
        // The sum of all bytes, for which its own count as blanks.
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.inner.write_all(&block)
    }
}

/// In octal; where that is too short, as GNU tar writes it: binary, behind a marked first byte.
fn number(length: u64) -> [u8; 12] {
    let mut field = [0; 12];
    match length < 1 << 33 {
        true => field.copy_from_slice(format!("{length:011o}\0").as_bytes()),
        false => {
            field[0] = 0x80;
            field[4..].copy_from_slice(&length.to_be_bytes());
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tar::{Archive, EntryKind};

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        let mut tar = TarWriter::new(&mut bytes);
        tar.folder("blobs").unwrap();
        tar.file("blobs/a", 5, &mut &b"hello"[..]).unwrap();
        assert!(tar.file("blobs/b", 5, &mut &b"hell"[..]).is_err());
        bytes.truncate(3 * BLOCK);
        TarWriter::new(&mut bytes).finish().unwrap();
        let mut archive = Archive::new(&bytes[..]);
        assert_eq!(archive.next_entry().unwrap().unwrap().kind, EntryKind::Folder);
        let file = archive.next_entry().unwrap().unwrap();
        assert_eq!((&file.path[..], file.size, file.mode), (&b"blobs/a"[..], 5, 0o644));
        let mut content = [0; 9];
        assert_eq!(archive.read_content(&mut content).unwrap(), 5);
        assert!(archive.next_entry().unwrap().is_none());
    }

    #[test]
    fn large_files_have_binary_lengths() {
        assert_eq!(number(0o777), *b"00000000777\0");
        assert_eq!(number(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }
}
