//! Containers that are at rest, by the state of their folders: whoever sweeps needs not read their records again. It is no state:
//! it can be deleted at any moment, and one that is torn has nothing that is right by chance.

use super::stamp::{Stamp, Stamps, stamping_time};
use super::{AT_REST, ContainerFolder, Containers, read_whole, write_without_sync};
use crate::digest::Digest;
use crate::error::{Context, Result};

/// How many containers that are not noted yet, or are no longer at rest, are worth writing the file; fewer are worth none.
const WORTH_WRITING: usize = 32;

/// Digest, inode, seconds and nanoseconds.
const ENTRY: usize = 32 + 8 + 8 + 8;

type Entry = [u8; ENTRY];

/// What is known of containers at rest, and what is found now.
#[derive(Debug)]
pub struct AtRest {
    containers: Containers,
    stamps: Stamps,
    /// Entries in order.
    known: Vec<Entry>,
    found: Vec<Entry>,
    fresh: usize,
}

/// A container's folder in the state in which it was found.
#[derive(Debug)]
pub struct FoundFolder {
    entry: Option<Entry>,
    /// Whether it was at rest in that state.
    pub was_at_rest: bool,
}

impl AtRest {
    /// What is known.
    ///
    /// # Errors
    /// The folder of containers cannot be opened.
    pub fn read(containers: Containers) -> Result<AtRest> {
        let folder = containers.folder();
        let stamps = Stamps::within(folder)?;
        let entries = |text: &[u8]| text.as_chunks().0.to_vec();
        // What cannot be read is not known.
        let known = read_whole(&folder.join(AT_REST), entries).ok().flatten().unwrap_or_default();
        Ok(AtRest { containers, stamps, known, found: Vec::new(), fresh: 0 })
    }

    /// Looks at a container's folder. What is read of it afterwards is of this state, or of a later one.
    pub fn look(&self, folder: &ContainerFolder) -> FoundFolder {
        let now = stamping_time();
        let stamp = self.stamps.of(folder.id.as_str()).filter(|stamp| stamp.is_settled(now));
        let entry = stamp.and_then(|stamp| Some(entry(&Digest::of_hex(folder.id.as_str())?, stamp)));
        let was_at_rest = entry.is_some_and(|entry| self.known.binary_search(&entry).is_ok());
        FoundFolder { entry, was_at_rest }
    }

    /// Notes that a container was at rest in this state.
    pub fn note(&mut self, found: FoundFolder) {
        self.fresh += usize::from(found.entry.is_some() && !found.was_at_rest);
        self.found.extend(found.entry);
    }

    /// Writes what was found, if that is worth it.
    pub fn keep(mut self) {
        let stale = (self.known.len() + self.fresh).saturating_sub(self.found.len());
        if self.fresh.max(stale) < WORTH_WRITING {
            return;
        }
        let path = self.containers.folder().join(AT_REST);
        self.found.sort_unstable();
        // On a full disk, or if another command sweeps at the same moment, the next one tries again.
        let _ = match self.found.len() < WORTH_WRITING {
            true => std::fs::remove_file(&path).context(|| path.display().to_string()),
            false => write_without_sync(&path, self.found.as_flattened()),
        };
    }
}

fn entry(id: &Digest, stamp: Stamp) -> Entry {
    let mut entry = [0; ENTRY];
    entry[..32].copy_from_slice(id.as_bytes());
    entry[32..40].copy_from_slice(&stamp.inode.to_be_bytes());
    entry[40..48].copy_from_slice(&stamp.changed.as_secs().to_be_bytes());
    entry[48..].copy_from_slice(&u64::from(stamp.changed.subsec_nanos()).to_be_bytes());
    entry
}
