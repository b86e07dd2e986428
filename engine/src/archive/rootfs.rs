//! A tar of a root file system, compressed or not, as an image of one layer.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::image::{ChainId, Configuration, Platform, RootFs};
use crate::store::{Image, ImageRecord, Lock, Store};

/// The image that a tar is. One that has been unpacked before and has not changed since is not read again. The locks keep its
/// layers from being removed.
///
/// # Errors
/// It cannot be read, or is no tar of a root file system.
pub fn import_rootfs(store: &Store, path: &Path) -> Result<(Image, Vec<Lock>)> {
    let named = || path.display().to_string();
    let mut file = File::open(path).context(named)?;
    let name = name(path, &file).context(named)?;
    if let Some(known) = known(store, &name)? {
        return Ok(known);
    }
    let added = store.add_layer(None, &mut file, None).context(named)?;
    let platform = Platform::of_machine();
    let config = Configuration {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        rootfs: RootFs { kind: "layers".to_string(), diff_ids: vec![added.record.diff_id] },
        ..Configuration::default()
    };
    let text = config.encode()?;
    let _lease = store.lease(&[Digest::of(&text)])?;
    let id = store.blobs().write(&text)?.into();
    let layers: Vec<ChainId> = vec![added.id];
    let size = added.record.size;
    let image = Image { id, config, layers: layers.clone() };
    let record =
        ImageRecord { name, id, manifest: None, repo_digest: None, layers, size, created: None, platform };
    store.images().name(&record)?;
    Ok((image, vec![added.lock]))
}

/// What has been unpacked before.
fn known(store: &Store, name: &str) -> Result<Option<(Image, Vec<Lock>)>> {
    // Nobody removes it between the look at its name and the locks.
    let _beside = store.beside_removals()?;
    store.images().find(name)?.map_or(Ok(None), |record| store.hold_image(&record))
}

/// What tells whether a file is still the same: its path, which file it is, its length and when it changed last.
fn name(path: &Path, file: &File) -> std::io::Result<String> {
    let status = file.metadata()?;
    let path = std::path::absolute(path)?;
    let marks = [status.dev(), status.ino(), status.len()].map(|number| number.to_string()).join(" ");
    let changed =
        format!("{}.{} {}.{}", status.mtime(), status.mtime_nsec(), status.ctime(), status.ctime_nsec());
    let text = format!("{} {marks} {changed}", path.display());
    Ok(format!("file:{}", Digest::of(text.as_bytes()).hex()))
}
