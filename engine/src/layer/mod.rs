//! Layers: tars that become folders, with whiteouts in overlayfs' own form.
//!
//! A tar is hostile. Every path of it is resolved by the kernel beneath the layer's folder, as chroot(2) would (`tree`); what
//! cannot be a layer is refused by its name.

mod attribute;
mod beneath;
mod change;
mod compression;
mod copy;
mod date;
mod extract;
mod folders;
mod gather;
mod lay;
mod mode;
mod mountpoint;
mod node;
mod pack;
mod pattern;
mod pipe;
mod stub;
pub mod tar;
mod tree;
mod unpack;
#[cfg(test)]
mod unpack_tests;
mod usage;
mod whiteout;

pub use beneath::{AS_ROOT, create_beneath, open_beneath};
pub use change::{Change, ChangeKind, changes};
pub use compression::{is_compressed, uncompress, uncompress_foreign};
pub use copy::{copy_tree, move_tree};
pub use date::date_back;
pub use extract::{Extraction, Landing, Rights, extract};
pub use gather::{Gathering, gather, gather_into};
pub use lay::{Laying, lay};
pub use mode::ModeChange;
pub use mountpoint::bare_mountpoints;
pub use pack::{Boundary, Content, pack};
pub use pattern::{Patterns, matches_part};
pub use pipe::{Drain, Feed, pipe};
pub use stub::remove_bare_mountpoints;
pub use tree::clean;
pub use unpack::{Ownership, Unpacked, Unpacking, unpack, unpack_aside};
pub use usage::usage;
