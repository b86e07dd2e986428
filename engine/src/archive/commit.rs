//! One more layer on an image, from a tar that is kept as a blob, so that it can be pushed.

use super::assemble::{self, Assembly};
use super::import::Kept;
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::image::{ChainId, Configuration, DOCUMENT_MAX, Descriptor, DiffId, Document, ImageId};
use crate::inside::TarStream;
use crate::reference::Reference;
use crate::store::{CompleteBlob, ImageRecord, Store, UnpackedLayer};

/// A layer that has come, and belongs to no image yet.
pub struct KeptLayer {
    unpacked: UnpackedLayer,
    blob: CompleteBlob,
    beginning: Vec<u8>,
}

impl KeptLayer {
    /// Reads and unpacks it.
    ///
    /// # Errors
    /// Something could not be packed, or the disk did not take it.
    pub fn read(store: &Store, mut stream: TarStream) -> Result<KeptLayer> {
        let mut kept = Kept::begin(store, &mut stream)?;
        let unpacked = store.unpack(&mut kept, None);
        let (blob, beginning) = kept.complete();
        let unpacked = stream.finish(unpacked)?;
        Ok(KeptLayer { unpacked, blob, beginning })
    }

    /// The digest of its tar.
    pub fn diff_id(&self) -> DiffId {
        self.unpacked.record.diff_id
    }

    /// Makes an image of it and of those below.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn above(
        self,
        store: &Store,
        below: &ImageId,
        layers: &[ChainId],
        config: &Configuration,
        name: Option<&Reference>,
    ) -> Result<ImageId> {
        let text = config.encode()?;
        let KeptLayer { unpacked, blob, beginning } = self;
        let (digest, length) = (blob.digest(), blob.length());
        let chain = ChainId::above(layers.last(), &unpacked.record.diff_id);
        let known = descriptors(store, below)?.filter(|known| known.len() == layers.len());
        let blobs = known.iter().flatten().map(|layer| layer.digest);
        let _below = store.lease(&blobs.collect::<Vec<_>>())?;
        // What has gone before that cannot be pushed any more.
        let known = known.filter(|known| known.iter().all(|layer| store.blobs().has(&layer.digest)));
        let manifest = match known {
            // An image that came as a bare tar has no blobs to be pushed, and no manifest.
            None => None,
            Some(mut layers) => {
                layers.push(assemble::layer(digest, length, &beginning));
                Some(assemble::manifest(&text, layers)?)
            }
        };
        let wanted = [Some(digest), Some(Digest::of(&text)), manifest.as_deref().map(Digest::of)];
        let _lease = store.lease(&wanted.into_iter().flatten().collect::<Vec<_>>())?;
        let mut assembly = Assembly::default();
        assembly.take(chain, unpacked);
        let blobs = match &manifest {
            Some(manifest) => {
                store.blobs().write(manifest)?;
                vec![blob]
            }
            None => Vec::new(),
        };
        let id: ImageId = store.blobs().write(&text)?.into();
        let _locks = assembly.settle(store, blobs)?;
        let layers = [layers, &[chain]].concat();
        let record = ImageRecord {
            name: name.map_or_else(|| id.to_string(), Reference::to_string),
            id,
            manifest: manifest.as_deref().map(Digest::of),
            repo_digest: None,
            size: assemble::size(store, &layers)?,
            layers,
            created: config.created.clone(),
            platform: config.platform(),
        };
        store.name_image(&record)?;
        store.events().note_image(&record, "create");
        store.events().note_tag(&record);
        Ok(id)
    }
}

/// The layers of an image as its manifest names them, if it has one.
///
/// # Errors
/// The manifest is missing or broken.
pub fn descriptors(store: &Store, id: &ImageId) -> Result<Option<Vec<Descriptor>>> {
    let mut first = None;
    let records = store.images().list()?;
    for manifest in records.iter().filter(|record| record.id == *id).filter_map(|record| record.manifest) {
        let text = store.blobs().read(&manifest, DOCUMENT_MAX).context(|| format!("manifest {manifest}"))?;
        let Document::Manifest(manifest) = Document::parse(&text)? else { continue };
        // What was pulled has other blobs than what was imported, and none for layers that were here.
        if manifest.layers.iter().all(|layer| store.blobs().has(&layer.digest)) {
            return Ok(Some(manifest.layers));
        }
        first.get_or_insert(manifest.layers);
    }
    Ok(first)
}
