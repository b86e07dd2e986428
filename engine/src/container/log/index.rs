//! Where records begin in a file of the log: so that its end can be read without its beginning. It lies beside the file, and is no more
//! than a help: without it the file is read from its beginning.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::record::Stream;
use crate::file;

/// As far a file grows until another record is noted.
pub const STEP: u64 = 1 << 18;

/// Which streams have a line that is not complete: by the stream's number, less one.
pub type Open = [bool; 3];

/// A record that is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins.
    pub offset: u64,
    /// The streams whose lines go on there.
    pub open: Open,
}

impl Entry {
    /// The offset, and the streams in the lowest bits.
    fn encode(self) -> [u8; 8] {
        let bits = (0..3).filter(|&index| self.open[index]).map(|index| 1 << index).sum::<u64>();
        (self.offset << 3 | bits).to_le_bytes()
    }

    fn decode(bytes: [u8; 8]) -> Entry {
        let number = u64::from_le_bytes(bytes);
        Entry { offset: number >> 3, open: [0, 1, 2].map(|index| number & 1 << index != 0) }
    }
}

/// What is noted of a file while it is written.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    /// Where the last one begins that is noted.
    last: u64,
    open: Open,
}

impl Index {
    /// Of a file that is begun: its first record as well, if it is not the first file.
    pub fn begin(file: &Path, open: Open, is_first: bool) -> Index {
        let index = Index { path: path_of(file), last: 0, open };
        if !is_first {
            index.append(Entry { offset: 0, open });
        }
        index
    }

    /// Of a file that is there, with these records; `open` is how it ends.
    pub fn again(file: &Path, entries: &[Entry], open: Open) -> Index {
        let index = Index { path: path_of(file), last: entries.last().map_or(0, |entry| entry.offset), open };
        // After a loss of power it may tell of what is not there.
        remove_index(file);
        entries.iter().for_each(|entry| index.append(*entry));
        index
    }

    /// A record is about to be written at `offset`.
    pub fn note(&mut self, offset: u64) {
        if offset - self.last >= STEP {
            self.last = offset;
            self.append(Entry { offset, open: self.open });
        }
    }

    /// It has been written.
    pub fn add(&mut self, stream: Stream, content: &[u8]) {
        self.open[stream as usize - 1] = !content.ends_with(b"\n");
    }

    /// The lines that are not complete.
    pub fn open(&self) -> Open {
        self.open
    }

    /// What the disk does not take is not noted.
    fn append(&self, entry: Entry) {
        let file = file::make(&self.path);
        let _ = file.and_then(|mut file| file.write_all(&entry.encode()));
    }
}

/// What is noted of a file, as far as it is there.
pub fn entries(file: &Path, length: u64) -> Vec<Entry> {
    let bytes = file::read(&path_of(file)).unwrap_or_default();
    let entries = bytes.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok().map(Entry::decode));
    entries.filter(|entry| entry.offset <= length).collect()
}

/// Removes what is noted of a file.
pub fn remove_index(file: &Path) {
    let _ = std::fs::remove_file(path_of(file));
}

fn path_of(file: &Path) -> PathBuf {
    file.with_extension("index")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_written() {
        for open in [[false; 3], [true, false, true], [true; 3]] {
            let entry = Entry { offset: (1 << 40) + 5, open };
            assert_eq!(Entry::decode(entry.encode()), entry);
        }
    }
}
