//! Images that builds begin with: those that are here, or come from registries.

use std::collections::BTreeMap;

use crate::error::{Kind, Result};
use crate::image::Platform;
use crate::reference::Reference;
use crate::registry::Access;
use crate::store::{ImageRecord, Store};
use crate::transfer::{Observer, Silent, pull};

/// Whoever sees to it that an image is here.
pub trait Provider {
    /// Finds it, or pulls it.
    ///
    /// # Errors
    /// It is not here, and cannot or must not be pulled.
    fn provide(&mut self, name: &str, platform: &Platform) -> Result<ImageRecord>;
}

/// The images of a store, and of registries.
#[derive(Debug)]
pub struct StoreImages<'s> {
    /// Where they are kept.
    pub store: &'s Store,
    /// Whether the platform is asked for, and not just the machine's.
    pub is_asked: bool,
    /// Whether registries are asked even if an image is here.
    pub is_pulled: bool,
    /// How registries are asked.
    pub access: Access,
}

/// An image that is here now.
#[derive(Debug)]
pub struct Provided {
    /// What is known of it.
    pub record: ImageRecord,
    /// How many devices its layers lack because an ordinary user's cannot have any.
    pub devices_left_out: u64,
}

impl StoreImages<'_> {
    /// Finds an image, or pulls it while `observer` looks on.
    ///
    /// # Errors
    /// It is not here, and cannot be pulled.
    pub fn find_or_pull(&self, name: &str, platform: &Platform, observer: &dyn Observer) -> Result<Provided> {
        if !self.is_pulled {
            match self.store.find_image(name) {
                Ok(found) if platform.accepts(&found.platform) => {
                    return Ok(Provided { record: found, devices_left_out: 0 });
                }
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        let reference = self.access.registries.expand(name)?.reference;
        let wanted = (self.is_asked || *platform != Platform::of_machine()).then_some(platform);
        let pulled = pull(self.store, &reference, wanted, &self.access, observer)?;
        Ok(Provided { record: pulled.record, devices_left_out: pulled.devices_left_out })
    }
}

impl Provider for StoreImages<'_> {
    fn provide(&mut self, name: &str, platform: &Platform) -> Result<ImageRecord> {
        self.find_or_pull(name, platform, &Silent).map(|provided| provided.record)
    }
}

/// Images some of which stand in the place of others.
pub struct Replaced<'p> {
    /// Who provides them.
    pub provider: &'p mut dyn Provider,
    /// What stands for what, by whole names.
    pub names: BTreeMap<String, String>,
}

impl Provider for Replaced<'_> {
    fn provide(&mut self, name: &str, platform: &Platform) -> Result<ImageRecord> {
        let replaced = self.names.get(name).or_else(|| self.names.get(&whole_name(name)));
        self.provider.provide(replaced.map_or(name, String::as_str), platform)
    }
}

/// A name with everything that may be left out of it.
pub fn whole_name(name: &str) -> String {
    Reference::parse(name).map_or(name.to_string(), |reference| reference.to_string())
}
