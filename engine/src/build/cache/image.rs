//! Images that have caches in themselves, and are here.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::{RegistryShelf, Shelf};
use crate::error::{Context, Error, Result};
use crate::image::{DOCUMENT_MAX, Descriptor};
use crate::reference::Reference;
use crate::registry::Access;
use crate::store::{ImageRecord, Store};

/// An image of the store.
#[derive(Debug)]
struct ImageShelf {
    store: Store,
    record: ImageRecord,
}

/// What a name leads to: an image that is here, if it has a cache in itself, otherwise whatever its registry has of that name.
///
/// # Errors
/// The disk cannot be read.
pub fn image_or_registry(store: &Store, reference: Reference, access: Arc<Access>) -> Result<Arc<dyn Shelf>> {
    if let Some(record) = store.images().find(&reference.to_string())?
        && record.manifest.is_some()
        && store.load(&record).is_ok_and(|image| image.config.cache.is_some())
    {
        return Ok(Arc::new(ImageShelf { store: store.clone(), record }));
    }
    Ok(Arc::new(RegistryShelf::source(reference, access)))
}

impl Shelf for ImageShelf {
    fn name(&self) -> String {
        self.record.name.clone()
    }

    fn document(&self, descriptor: Option<&Descriptor>) -> Result<Vec<u8>> {
        let digest = descriptor.map(|found| found.digest).or(self.record.manifest);
        let digest = digest.ok_or_else(|| Error::not_found("it has no manifest"))?;
        self.store.blobs().read(&digest, DOCUMENT_MAX)
    }

    fn open<'s>(&'s self, blob: &'s Descriptor) -> Result<Box<dyn Read + Send + 's>> {
        Ok(Box::new(self.store.blobs().open(&blob.digest)?))
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        Ok(self.store.blobs().has(&blob.digest))
    }

    fn put(&self, _: &Descriptor, _: &File) -> Result<()> {
        Err(Error::invalid("an image stays as it is")).context(|| self.name())
    }

    fn finish(&self, _: &Descriptor, _: &[u8]) -> Result<()> {
        Err(Error::invalid("an image stays as it is")).context(|| self.name())
    }
}
