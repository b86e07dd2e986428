//! A layer comes into the store: unpacked as its owner can, checked, named.

use std::io::Read;

use super::{LayerRecord, Lock, Owners, Store};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ids::IdMaps;
use crate::image::{ChainId, DiffId};
use crate::inside;
use crate::layer::{Ownership, Unpacking, unpack};

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

impl Store {
    /// Unpacks a layer, compressed or not, onto those below it. It is not synced yet: see [`Store::sync`].
    ///
    /// # Errors
    /// It is no layer, or not the one that `expected` names; nothing of it is left then.
    pub fn add_layer(
        &self,
        below: Option<&ChainId>,
        stream: &mut dyn Read,
        expected: Option<&DiffId>,
    ) -> Result<AddedLayer> {
        let new = self.layers().begin()?;
        let (unpacked, owners) = match self.maps() {
            None => (unpack(stream, &new.path(), Unpacking::new(Ownership::Kept))?, Owners::Own),
            Some(maps) if maps.is_squashed() => {
                (unpack(stream, &new.path(), Unpacking::new(Ownership::Squashed))?, Owners::Squashed)
            }
            Some(maps) => {
                let unpacked = inside::unpack_layer(maps, stream, &new.path())?;
                (unpacked, Owners::Mapped(text(maps)))
            }
        };
        if let Some(expected) = expected.filter(|expected| **expected != unpacked.diff_id) {
            let found = unpacked.diff_id;
            return Err(Error::corrupt(format!("layer {expected}: what came has the digest {found}")));
        }
        let id = match below {
            None => ChainId::from(*unpacked.diff_id.digest()),
            Some(below) => ChainId::from(Digest::of(format!("{below} {}", unpacked.diff_id).as_bytes())),
        };
        let record = LayerRecord { diff_id: unpacked.diff_id, size: unpacked.size, owners };
        let lock = new.name(&id, &record)?;
        Ok(AddedLayer { id, record, devices_left_out: unpacked.devices_left_out, lock })
    }
}

/// The maps in words, to see later whether they are the same.
fn text(maps: &IdMaps) -> String {
    let one = |range: &crate::ids::Range| format!("{}:{}:{}", range.inside, range.outside, range.count);
    let all = |ranges: &[crate::ids::Range]| ranges.iter().map(one).collect::<Vec<_>>().join(",");
    format!("{};{}", all(&maps.users), all(&maps.groups))
}
