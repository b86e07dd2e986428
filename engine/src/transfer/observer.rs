//! How far a transfer is, for whoever shows it.

use crate::digest::Digest;
use crate::reference::Reference;

/// What has become of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is where it is to be.
    Present,
    /// Its turn comes.
    Waiting,
    /// Its bytes come or go.
    Moving {
        /// So many are there.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// All of its bytes are there and checked.
    Fetched,
    /// It is unpacked.
    Unpacked,
    /// It was taken from another repository of the registry.
    Mounted,
    /// The registry has it.
    Pushed,
}

/// Somebody who is told of it, by several threads at once.
pub trait Observer: Sync {
    /// A layer, by the digest of its blob, has come to a step.
    fn note(&self, layer: &Digest, step: Step);

    /// One of several images begins.
    fn begin(&self, reference: &Reference);

    /// Something that is not as usual, in a line.
    fn remark(&self, text: &str);
}

/// Nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn note(&self, _: &Digest, _: Step) {}

    fn begin(&self, _: &Reference) {}

    fn remark(&self, _: &str) {}
}
