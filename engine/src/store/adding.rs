//! A layer comes into the store: unpacked as its owner can, checked, synced, named.

use std::io::Read;

use super::{LayerRecord, Lock, NewLayer, Owners, Store};
use crate::error::{Error, Result};
use crate::image::{ChainId, DiffId};
use crate::inside;
use crate::layer::{Ownership, Unpacking, unpack, unpack_aside};

/// A layer that has come into the store. It cannot be removed as long as this value is there.
#[derive(Debug)]
pub struct AddedLayer {
    /// Its name.
    pub id: ChainId,
    /// What is known of it.
    pub record: LayerRecord,
    /// Devices that an ordinary user's layer cannot have.
    pub devices_left_out: u64,
    /// Keeps it from being removed.
    pub lock: Lock,
}

/// A layer that is unpacked and checked, but not synced: [`Store::sync`] does so once for all of an image. Dropped without a name,
/// it is deleted.
#[derive(Debug)]
pub struct UnpackedLayer {
    /// What is known of it.
    pub record: LayerRecord,
    /// Devices that an ordinary user's layer cannot have.
    pub devices_left_out: u64,
    new: NewLayer,
}

impl UnpackedLayer {
    /// Gives it its name; the caller has synced it. The lock keeps it from being removed.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn name(self, id: &ChainId) -> Result<Lock> {
        self.new.name(id)
    }
}

impl Store {
    /// Unpacks a layer, compressed or not.
    ///
    /// # Errors
    /// It is no layer, or not the one that `expected` names; nothing of it is left then.
    pub fn unpack(&self, stream: &mut (dyn Read + Send), expected: Option<&DiffId>) -> Result<UnpackedLayer> {
        let new = self.layers().begin()?;
        let unpacked = match self.maps() {
            None => unpack_aside(stream, &new.path(), Unpacking::new(Ownership::Kept), self.stop()),
            Some(maps) if maps.is_squashed() => {
                unpack(stream, &new.path(), Unpacking::new(Ownership::Squashed), self.stop())
            }
            Some(maps) => inside::unpack_layer(maps, stream, &new.path(), self.stop()),
        };
        // Whatever it says then.
        self.stop().check()?;
        let unpacked = unpacked?;
        if let Some(expected) = expected.filter(|expected| **expected != unpacked.diff_id) {
            let found = unpacked.diff_id;
            return Err(Error::corrupt(format!("layer {expected}: what came has the digest {found}")));
        }
        let owners = Owners::of(self.maps());
        let record = LayerRecord { diff_id: unpacked.diff_id, size: unpacked.size, owners };
        new.describe(&record)?;
        Ok(UnpackedLayer { record, devices_left_out: unpacked.devices_left_out, new })
    }

    /// A layer whose files are in the folder of a new one, as overlayfs has them.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn take_folder(&self, new: NewLayer, diff_id: DiffId, size: u64) -> Result<UnpackedLayer> {
        let record = LayerRecord { diff_id, size, owners: Owners::of(self.maps()) };
        new.describe(&record)?;
        Ok(UnpackedLayer { record, devices_left_out: 0, new })
    }

    /// Unpacks a layer onto those below it, and names it.
    ///
    /// # Errors
    /// As for [`Store::unpack`].
    pub fn add_layer(
        &self,
        below: Option<&ChainId>,
        stream: &mut (dyn Read + Send),
        expected: Option<&DiffId>,
    ) -> Result<AddedLayer> {
        let unpacked = self.unpack(stream, expected)?;
        self.sync()?;
        let id = ChainId::above(below, &unpacked.record.diff_id);
        let (record, devices_left_out) = (unpacked.record.clone(), unpacked.devices_left_out);
        let lock = unpacked.name(&id)?;
        Ok(AddedLayer { id, record, devices_left_out, lock })
    }
}
