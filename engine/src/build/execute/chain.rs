//! The layers of a stage as far as it has come. Nobody removes them meanwhile.

use std::path::PathBuf;
use std::sync::Arc;

use crate::build::graph::BaseImage;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{ChainId, DiffId, ImageId, LAYERS_MAX};
use crate::store::{Lock, Store};
use crate::time::Moment;

/// Layers over one another.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The image that it begins with.
    pub image: Option<ImageId>,
    /// The lowest one first.
    pub layers: Vec<ChainId>,
    /// Their own digests.
    pub diff_ids: Vec<DiffId>,
    locks: Vec<Arc<Lock>>,
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// When its layer was made.
    pub created: Moment,
    /// Whether it has changed nothing.
    pub is_empty: bool,
    /// The keys that lead to it.
    pub keys: Vec<Digest>,
}

impl Chain {
    /// That of an image.
    ///
    /// # Errors
    /// A layer is missing.
    pub fn of_image(store: &Store, image: &BaseImage) -> Result<Chain> {
        let mut chain = Chain { image: Some(image.id), ..Chain::default() };
        for (layer, diff_id) in image.layers.iter().zip(&image.config.rootfs.diff_ids) {
            let lock = store.layers().hold(layer)?;
            let lock =
                lock.ok_or_else(|| Error::corrupt(format!("{}: its layer {layer} is missing", image.name)))?;
            chain.push(*layer, *diff_id, lock)?;
        }
        Ok(chain)
    }

    /// One more layer on top.
    ///
    /// # Errors
    /// There are too many.
    pub fn push(&mut self, layer: ChainId, diff_id: DiffId, lock: Lock) -> Result<()> {
        if self.layers.len() >= LAYERS_MAX {
            return Err(Error::invalid(format!("more than {LAYERS_MAX} layers: overlayfs takes no more")));
        }
        self.layers.push(layer);
        self.diff_ids.push(diff_id);
        self.locks.push(Arc::new(lock));
        Ok(())
    }

    /// The folders of the layers, the topmost one first.
    pub fn lower(&self, store: &Store) -> Vec<PathBuf> {
        self.layers.iter().rev().map(|layer| store.layers().path(layer)).collect()
    }
}
