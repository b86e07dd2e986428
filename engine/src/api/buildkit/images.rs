//! Images that builds of clients begin with: others may stand for them.

use std::collections::BTreeMap;

use crate::build::{Provider, StoreImages};
use crate::error::Result;
use crate::image::Platform;
use crate::reference::Reference;
use crate::store::ImageRecord;

/// Images of the store and of registries, some of them in the place of others.
pub struct Images<'s> {
    /// Where they are.
    pub images: StoreImages<'s>,
    /// What stands for what.
    pub replaced: BTreeMap<String, String>,
}

impl Provider for Images<'_> {
    fn provide(&mut self, name: &str, platform: &Platform) -> Result<ImageRecord> {
        let replaced = self.replaced.get(name).or_else(|| self.replaced.get(&whole(name)));
        self.images.provide(replaced.map_or(name, String::as_str), platform)
    }
}

/// A name with everything that may be left out of it.
pub fn whole(name: &str) -> String {
    Reference::parse(name).map_or(name.to_string(), |reference| reference.to_string())
}
