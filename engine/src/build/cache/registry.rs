//! Caches in registries, where each is a manifest with a tag, as an image is.

use std::fs::File;
use std::io::Read;
use std::sync::{Arc, OnceLock};

use super::Shelf;
use crate::error::{Context, Error, Result};
use crate::image::{Descriptor, media_type};
use crate::reference::Reference;
use crate::registry::{Access, Purpose, Registry};

/// A name in a registry.
pub struct RegistryShelf {
    reference: Reference,
    access: Arc<Access>,
    purpose: Purpose,
    /// It is spoken to when it is needed.
    registry: OnceLock<Registry>,
}

impl RegistryShelf {
    /// To be read.
    pub fn source(reference: Reference, access: Arc<Access>) -> RegistryShelf {
        RegistryShelf { reference, access, purpose: Purpose::Pull, registry: OnceLock::new() }
    }

    /// To be written.
    ///
    /// # Errors
    /// It is named by a digest.
    pub fn target(reference: Reference, access: Arc<Access>) -> Result<RegistryShelf> {
        if reference.digest.is_some() {
            let named = reference.familiar();
            return Err(Error::invalid(format!("{named}: a tag is needed: a digest cannot be chosen")));
        }
        Ok(RegistryShelf { reference, access, purpose: Purpose::Push, registry: OnceLock::new() })
    }

    fn registry(&self) -> Result<&Registry> {
        if let Some(registry) = self.registry.get() {
            return Ok(registry);
        }
        let endpoint = self.access.registries.endpoint(&self.reference)?;
        let opened = Registry::open(&endpoint, self.purpose, &self.access)?;
        Ok(self.registry.get_or_init(|| opened))
    }
}

impl std::fmt::Debug for RegistryShelf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("RegistryShelf").field(&self.name()).finish()
    }
}

impl Shelf for RegistryShelf {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn document(&self, descriptor: Option<&Descriptor>) -> Result<Vec<u8>> {
        let target = descriptor.map_or(self.reference.target(), |found| found.digest.to_string());
        Ok(self.registry()?.manifest(&target)?.text)
    }

    fn open<'s>(&'s self, blob: &'s Descriptor) -> Result<Box<dyn Read + Send + 's>> {
        Ok(Box::new(self.registry()?.blob(blob, 0)))
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        self.registry()?.has_blob(&blob.digest)
    }

    fn put(&self, blob: &Descriptor, file: &File) -> Result<()> {
        self.registry()?.upload(&blob.digest, file, None, &|_| Ok(())).map(drop).context(|| self.name())
    }

    fn finish(&self, _: &Descriptor, text: &[u8]) -> Result<()> {
        let target = self.reference.target();
        self.registry()?.put_manifest(&target, media_type::OCI_MANIFEST, text).map(drop)
    }
}
