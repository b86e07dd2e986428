//! Tars as `save` writes them: files and folders with short names (tar(5), ustar).

use std::io::{self, Write};

/// The size of a block.
const BLOCK: usize = 512;

/// Writes a tar.
pub struct Tar<W>(W);

impl<W: Write> Tar<W> {
    pub fn new(writer: W) -> Self {
        Tar(writer)
    }

    /// A folder, whose name ends with a slash.
    pub fn folder(&mut self, name: &str) -> io::Result<()> {
        self.0.write_all(&header(name, b'5', 0o755, 0)?)
    }

    /// A file.
    pub fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(&header(name, b'0', mode, bytes.len())?)?;
        self.0.write_all(bytes)?;
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.0.write_all(&[0; BLOCK][..rest])
    }

    /// The end: two empty blocks.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        self.0.flush()?;
        Ok(self.0)
    }
}

fn header(name: &str, kind: u8, mode: u32, size: usize) -> io::Result<[u8; BLOCK]> {
    if name.len() > 100 {
        return Err(io::Error::other(format!("{name}: a name of ustar has at most 100 bytes")));
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    // The sum is taken with spaces in its own place.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_lists_what_was_written() {
        let mut tar = Tar::new(Vec::new());
        tar.folder("bin/").unwrap();
        tar.file("bin/true", 0o755, &[1; 513]).unwrap();
        let bytes = tar.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut list = Command::new("tar").args(["-tv"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child = list.as_mut().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = list.unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((lines[0][0], lines[0][5]), ("drwxr-xr-x", "bin/"));
        assert_eq!((lines[1][0], lines[1][2], lines[1][5]), ("-rwxr-xr-x", "513", "bin/true"));
    }
}
