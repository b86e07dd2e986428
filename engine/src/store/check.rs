//! Whether everything in the store is what it says: blobs by their digests, images by what they name.

use std::fmt;

use super::{Broken, Sharing, Store};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Kind, Result};
use crate::image::{Configuration, DOCUMENT_MAX};

/// Something that is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The content of a blob has another digest.
    Blob(Digest),
    /// What an image by this name is made of is missing or broken, and what that is.
    Image(String, String),
    /// A record cannot be used.
    Record(Broken),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Blob(digest) => write!(f, "blob {digest}: its content has another digest"),
            Fault::Image(name, what) => write!(f, "image {name}: {what}"),
            Fault::Record(broken) => broken.fmt(f),
        }
    }
}

impl Fault {
    /// Removes what is broken, mends its record or puts it aside; the result says what was done.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn repair(&self, store: &Store) -> Result<String> {
        // Nobody begins to use it meanwhile.
        let _alone = store.lock_removals(Sharing::Exclusive)?;
        match self {
            Fault::Blob(digest) => store.blobs().remove(digest)?,
            Fault::Image(name, _) => drop(store.images().unname(name)?),
            Fault::Record(broken) => return broken.repair(),
        }
        Ok(": removed; pull it again".to_string())
    }
}

/// Reads everything and names what is not whole. What is only being made is no fault.
///
/// # Errors
/// The disk cannot be read.
pub fn check(store: &Store) -> Result<Vec<Fault>> {
    let _beside = store.beside_removals()?;
    let mut faults = Vec::new();
    for records in [
        store.broken_images()?,
        store.broken_networks()?,
        store.broken_volumes()?,
        store.broken_names()?,
        store.broken_events(),
    ] {
        faults.extend(records.into_iter().map(Fault::Record));
    }
    for digest in store.blobs().list()? {
        match hash(store, &digest) {
            Ok(found) if found == digest => {}
            Ok(_) => faults.push(Fault::Blob(digest)),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for record in store.images().list()? {
        let config = store.blobs().read(record.id.digest(), DOCUMENT_MAX);
        let broken = match config.and_then(|text| Configuration::parse(&text)) {
            Err(error) => Some(format!("its configuration: {error}")),
            Ok(config) if config.rootfs.diff_ids.len() != record.layers.len() => {
                Some("its record names other layers than its configuration".to_string())
            }
            Ok(_) => {
                let missing = record.layers.iter().find(|layer| store.layers().record(layer).is_err());
                missing.map(|layer| format!("its layer {layer} is missing"))
            }
        };
        faults.extend(broken.map(|what| Fault::Image(record.name.clone(), what)));
    }
    Ok(faults)
}

fn hash(store: &Store, digest: &Digest) -> Result<Digest> {
    let hasher = Hasher::of(store.blobs().open(digest)?).context(|| format!("blob {digest}"))?;
    Ok(hasher.digest())
}
