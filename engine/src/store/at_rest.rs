//! Containers that are at rest, by the state of their folders: whoever sweeps needs not read their records again. It is no state:
//! it can be deleted at any moment, and one that is torn has nothing that is right by chance.

use super::stamp::{Stamp, Stamps, stamping_time};
use super::{AT_REST, ContainerFolder, Containers, SUMMARIES, read_whole, write_without_sync};
use crate::digest::Digest;
use crate::error::Result;
use crate::order;

/// How many containers that are not noted yet, or are no longer at rest, are worth writing the file; fewer are worth none.
const WORTH_WRITING: usize = 32;

/// Digest, inode, seconds and nanoseconds.
pub(super) const REST: usize = 32 + 8 + 8 + 8;

/// A container at rest, in the state of its folder in which it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rest([u8; REST]);

impl Rest {
    fn of(id: &Digest, stamp: Stamp) -> Rest {
        let mut rest = [0; REST];
        rest[..32].copy_from_slice(id.as_bytes());
        rest[32..40].copy_from_slice(&stamp.inode.to_be_bytes());
        rest[40..48].copy_from_slice(&stamp.changed.as_secs().to_be_bytes());
        rest[48..].copy_from_slice(&u64::from(stamp.changed.subsec_nanos()).to_be_bytes());
        Rest(rest)
    }

    /// As files have it, in whose order it is.
    pub(super) fn as_bytes(&self) -> &[u8; REST] {
        &self.0
    }
}

impl From<[u8; REST]> for Rest {
    fn from(bytes: [u8; REST]) -> Rest {
        Rest(bytes)
    }
}

/// What is known of containers at rest, and what is found now.
#[derive(Debug)]
pub struct AtRest {
    containers: Containers,
    stamps: Stamps,
    /// In order.
    known: Vec<[u8; REST]>,
    found: Vec<[u8; REST]>,
    fresh: usize,
}

/// A container's folder in the state in which it was found.
#[derive(Debug)]
pub struct FoundFolder {
    /// The state, if nothing more can happen in it.
    pub rest: Option<Rest>,
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
        let rest = stamp.and_then(|stamp| Some(Rest::of(&Digest::of_hex(folder.id.as_str())?, stamp)));
        let was_at_rest = rest.is_some_and(|rest| self.known.binary_search(&rest.0).is_ok());
        FoundFolder { rest, was_at_rest }
    }

    /// Notes that a container was at rest in this state.
    pub fn note(&mut self, found: &FoundFolder) {
        self.fresh += usize::from(found.rest.is_some() && !found.was_at_rest);
        self.found.extend(found.rest.map(|rest| rest.0));
    }

    /// Writes what was found, if that is worth it.
    pub fn keep(mut self) {
        let stale = (self.known.len() + self.fresh).saturating_sub(self.found.len());
        if self.fresh.max(stale) < WORTH_WRITING {
            return;
        }
        let folder = self.containers.folder();
        order::sort(&mut self.found);
        // On a full disk, or if another command sweeps at the same moment, the next one tries again.
        if self.found.len() >= WORTH_WRITING {
            let _ = write_without_sync(&folder.join(AT_REST), self.found.as_flattened());
            return;
        }
        for name in [AT_REST, SUMMARIES] {
            let _ = std::fs::remove_file(folder.join(name));
        }
    }
}
