//! What the images of containers are called in lists.

use std::collections::BTreeMap;

use crate::image::ImageId;
use crate::registries::Registries;
use crate::store::Store;

/// Looks each name up once.
#[derive(Debug)]
pub struct ImageNames<'s> {
    store: &'s Store,
    /// Read for the first name without a registry.
    registries: Option<Registries>,
    known: BTreeMap<String, Option<ImageId>>,
}

impl<'s> ImageNames<'s> {
    /// Of the images in a store.
    pub fn of(store: &'s Store) -> ImageNames<'s> {
        ImageNames { store, registries: None, known: BTreeMap::new() }
    }

    /// The id of a container's image, if the name that it was made by leads to another one by now, or to none: then that is what it is
    /// called, as by Docker.
    pub fn lost<'r>(&mut self, name: &str, id: Option<&'r ImageId>) -> Option<&'r ImageId> {
        let id = id?;
        if !self.known.contains_key(name) {
            let found = self.find(name);
            self.known.insert(name.to_string(), found);
        }
        (self.known.get(name)?.as_ref() != Some(id)).then_some(id)
    }

    fn find(&mut self, name: &str) -> Option<ImageId> {
        let registries = match self.registries.take() {
            None => Registries::of_caller().ok()?,
            Some(registries) => registries,
        };
        let registries = self.registries.insert(registries);
        let found = self.store.find_image_by(name, |text| Ok(registries.expand(text)?.reference));
        found.ok().map(|(found, _)| found.id)
    }
}
