//! A plan: a header, then operations.
//!
//! May use `sys` and every part of the library below it.

mod entry;
pub mod operation;
mod tree;
mod word;

use crate::wire::{Malformed, Numbers, Reader, Sink, Wire};

pub use crate::tree::Tree;
pub use entry::EntryStep;
pub use operation::{Operation, Operations};
pub use word::{IoClass, NodeKind, SecurityModule, TargetRule, Turn};

/// A descriptor number that is never open: for an optional descriptor that is absent.
pub const NEVER_OPEN: u32 = u32::MAX >> 1;

/// How many mounts a plan may attach after `UnmountOnFailure`.
pub const ATTACHED_MAX: usize = 64;

/// How many trees a plan may take with one `TakeTrees`: SCM_MAX_FD, unix(7).
pub const TAKEN_TREES_MAX: usize = 253;

/// The first bytes of a plan; the last digit changes with the format.
const MAGIC: &[u8; 8] = b"pillbox1";

/// What comes before the operations.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// The socket to the runtime.
    pub channel: u32,
    /// Descriptor numbers in init; operations name a descriptor by its index here.
    pub descriptors: Numbers<'a>,
    /// What init does before the first operation: see [`Header::steps`].
    pub entry: Numbers<'a>,
}

impl<'a> Header<'a> {
    /// Appends the header to `out`; the operations follow.
    pub fn encode(&self, out: &mut impl Sink) {
        out.extend(MAGIC);
        self.channel.encode(out);
        self.descriptors.encode(out);
        self.entry.encode(out);
    }

    /// Reads the header; `input` then stands at the first operation.
    pub fn decode(input: &mut Reader<'a>) -> Result<Self, Malformed> {
        if input.take(MAGIC.len())? != MAGIC {
            return Err(Malformed);
        }
        let (channel, descriptors) = (u32::decode(input)?, Numbers::decode(input)?);
        let entry = Numbers::decode(input)?;
        Ok(Header { channel, descriptors, entry })
    }

    /// The steps by which init gets into the namespaces and the cgroup of the container.
    pub fn steps(&self) -> impl Iterator<Item = Result<EntryStep, Malformed>> + use<'a> {
        entry::decode_all(self.entry)
    }
}
