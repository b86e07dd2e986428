//! A plan: a header, then operations.

mod operation;
mod tree;
mod word;

use crate::wire::{Malformed, Numbers, Reader, Sink, Wire};

pub use operation::{Operation, Operations};
pub use tree::Tree;
pub use word::{IoClass, NodeKind, SecurityModule, TargetRule, Turn};

/// A descriptor's number that is never open: for an optional tree that is not there.
pub const NEVER_OPEN: u32 = u32::MAX >> 1;

/// How many mounts a plan may attach after `TakeBackOnFailure`.
pub const TAKEN_BACK_MAX: usize = 64;

/// How many trees a plan may take with `TakeTrees`: SCM_MAX_FD, unix(7).
pub const TAKEN_TREES_MAX: usize = 253;

/// Stands at the start of a plan; the last digit changes with the format.
const MAGIC: &[u8; 8] = b"pillbox1";

/// What stands before the operations.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// The socket to the runtime.
    pub channel: u32,
    /// Descriptor numbers in init, indexed by what operations call a descriptor.
    pub descriptors: Numbers<'a>,
    /// What init enters before the first operation, in pairs: a descriptor's number and CLONE_NEW* bits for setns(2).
    pub enter: Numbers<'a>,
    /// With CLONE_NEW* bits: init then clones itself into new namespaces of those kinds, and its child goes on in
    /// its stead. A joined pid namespace takes only children, and what is new in a joined user namespace has to be
    /// made there.
    pub fork: Option<u32>,
}

impl<'a> Header<'a> {
    /// Appends the header to `out`; the operations follow.
    pub fn encode(&self, out: &mut impl Sink) {
        out.extend(MAGIC);
        self.channel.encode(out);
        self.descriptors.encode(out);
        self.enter.encode(out);
        self.fork.is_some().encode(out);
        self.fork.unwrap_or_default().encode(out);
    }

    /// Reads the header; `input` then stands at the first operation.
    pub fn decode(input: &mut Reader<'a>) -> Result<Self, Malformed> {
        if input.take(MAGIC.len())? != MAGIC {
            return Err(Malformed);
        }
        let (channel, descriptors) = (u32::decode(input)?, Numbers::decode(input)?);
        let enter = Numbers::decode(input)?;
        let (forks, namespaces) = (bool::decode(input)?, u32::decode(input)?);
        Ok(Header { channel, descriptors, enter, fork: forks.then_some(namespaces) })
    }
}
