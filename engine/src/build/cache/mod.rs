//! Caches elsewhere: what builds have made, for other machines to go on from. A cache is a manifest, whose layers are those of steps, and
//! a document that says which step came to which; or an image that has the document in its configuration.
//!
//! Its keys are trusted as far as whoever names the cache trusts it, and in the build that names it alone: nothing of it is remembered.
//! What it has is checked: a layer is the one that its digest says, and stands on the layers that it was made on.

mod document;
mod image;
mod import;
mod layout;
mod pulled;
mod registry;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

pub use document::{CacheDocument, CachedStep, MEDIA_TYPE};
pub use image::image_or_registry;
pub use import::{Brought, Found, FoundLayer, Imports, Need};
pub use layout::LayoutShelf;
pub use pulled::import_image;
pub use registry::RegistryShelf;

use crate::error::Result;
use crate::image::Descriptor;

/// Where a cache is: blobs by their digests, and a manifest by a name.
pub trait Shelf: fmt::Debug + Send + Sync {
    /// As users are told of it.
    fn name(&self) -> String;

    /// A manifest or an index; without a descriptor the one that the name leads to.
    ///
    /// # Errors
    /// There is none, or it is not what its digest says.
    fn document(&self, descriptor: Option<&Descriptor>) -> Result<Vec<u8>>;

    /// A blob; whoever reads it checks its digest.
    ///
    /// # Errors
    /// There is none.
    fn open<'s>(&'s self, blob: &'s Descriptor) -> Result<Box<dyn Read + Send + 's>>;

    /// Whether a blob is there.
    ///
    /// # Errors
    /// Nobody says.
    fn has(&self, blob: &Descriptor) -> Result<bool>;

    /// Takes a blob.
    ///
    /// # Errors
    /// It is not taken.
    fn put(&self, blob: &Descriptor, file: &File) -> Result<()>;

    /// Takes the manifest, when all its blobs are there.
    ///
    /// # Errors
    /// It is not taken.
    fn finish(&self, manifest: &Descriptor, text: &[u8]) -> Result<()>;
}

/// Which steps a cache is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those of the image that comes out.
    #[default]
    Min,
    /// Those of all stages that it needs.
    Max,
}

/// A cache that is to be made.
#[derive(Debug, Clone)]
pub struct CacheTarget {
    /// Where it goes.
    pub shelf: Arc<dyn Shelf>,
    /// Which steps it has.
    pub mode: CacheMode,
    /// Whether the build goes well without it.
    pub ignores_errors: bool,
}

/// Caches of a build.
#[derive(Debug, Clone, Default)]
pub struct Caches {
    /// Where to look, in order.
    pub sources: Vec<Arc<dyn Shelf>>,
    /// Where to put one.
    pub targets: Vec<CacheTarget>,
    /// Whether the image has one in itself.
    pub is_inline: bool,
}

impl Caches {
    /// Whether steps need keys that hold elsewhere.
    pub fn are_wanted(&self) -> bool {
        !self.sources.is_empty() || self.are_made()
    }

    /// Whether one is to be made.
    pub fn are_made(&self) -> bool {
        self.is_inline || !self.targets.is_empty()
    }
}
