//! Folders get their owners, modes and times last: writing into them changes times, and may need a mode that is not theirs. Until then
//! they are kept in memory, of which a hostile tar gets so much and no more.

use std::collections::BTreeMap;

use super::tar::Entry;
use crate::error::{Error, Result};

/// The most bytes of memory for the folders of a tar: some 700,000 of them.
pub const MEMORY_MAX: usize = 256 << 20;

/// Folders by their paths, with what they get.
pub struct Folders {
    entries: BTreeMap<Vec<u8>, Entry>,
    memory: usize,
    memory_max: usize,
}

impl Folders {
    pub fn new(memory_max: usize) -> Folders {
        Folders { entries: BTreeMap::new(), memory: 0, memory_max }
    }

    /// Keeps one, in the place of what was said of it before.
    ///
    /// # Errors
    /// All of them need too much memory.
    pub fn keep(&mut self, path: Vec<u8>, mut entry: Entry) -> Result<()> {
        entry.path = Vec::new();
        entry.xattrs.shrink_to_fit();
        self.memory += path.len() + memory(&entry);
        if let Some(before) = self.entries.get(&path) {
            self.memory -= path.len() + memory(before);
        }
        if self.memory > self.memory_max {
            let most = self.memory_max;
            return Err(Error::corrupt(format!(
                "its folders, with their paths and attributes, need more than {most} bytes of memory"
            )));
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// All of them: what is in a folder comes before the folder, which may let nobody through.
    pub fn take(&mut self) -> impl Iterator<Item = (Vec<u8>, Entry)> + use<> {
        self.memory = 0;
        std::mem::take(&mut self.entries).into_iter().rev()
    }
}

fn memory(entry: &Entry) -> usize {
    let pair = size_of::<(Vec<u8>, Vec<u8>)>();
    let xattrs = entry.xattrs.iter().map(|(name, value)| pair + name.len() + value.len());
    size_of::<(Vec<u8>, Entry)>() + xattrs.sum::<usize>()
}
