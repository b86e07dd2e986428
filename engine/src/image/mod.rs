//! What an image is: the documents of the OCI image specification and of Docker's, and the names that follow from them. Pure.

mod config;
mod manifest;
mod platform;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use config::{Configuration, Execution, Healthcheck, History, RootFs};
pub use manifest::{DOCUMENT_MAX, Descriptor, Document, Index, LAYERS_MAX, Manifest, media_type};
pub use platform::Platform;

use crate::digest::Digest;

/// The digest of a layer's tar, uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(Digest);

/// The name of a layer together with all those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(Digest);

/// The digest of an image's configuration, which stands for the image on this host, as Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

macro_rules! digest_newtype {
    ($($name:ident),*) => {$(
        impl $name {
            /// The digest that it is.
            pub fn digest(&self) -> &Digest {
                &self.0
            }
        }

        impl From<Digest> for $name {
            fn from(digest: Digest) -> $name {
                $name(digest)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

digest_newtype!(DiffId, ChainId, ImageId);

impl ChainId {
    /// That of a layer on those below it.
    pub fn above(below: Option<&ChainId>, layer: &DiffId) -> ChainId {
        match below {
            None => ChainId(layer.0),
            Some(below) => ChainId(Digest::of(format!("{below} {layer}").as_bytes())),
        }
    }

    /// Those of an image's layers, the lowest one first (OCI image specification, config.md, "Layer ChainID").
    pub fn of_layers(layers: &[DiffId]) -> Vec<ChainId> {
        let mut ids: Vec<ChainId> = Vec::with_capacity(layers.len());
        for layer in layers {
            ids.push(ChainId::above(ids.last(), layer));
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_begins_with_its_lowest_layer() {
        let layers = [b"a", b"b"].map(|content| DiffId(Digest::of(content)));
        let ids = ChainId::of_layers(&layers);
        assert_eq!(*ids[0].digest(), Digest::of(b"a"));
        let text = format!("{} {}", Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(*ids[1].digest(), Digest::of(text.as_bytes()));
        assert!(ChainId::of_layers(&[]).is_empty());
    }
}
