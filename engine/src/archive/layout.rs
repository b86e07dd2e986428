//! OCI image layouts (image-layout.md): a folder with blobs by digest and an index.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::assemble::{self, Assembly};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{Configuration, DOCUMENT_MAX, Descriptor, Document, Platform};
use crate::store::{Image, Lock, Store};

/// Whether a folder is an OCI layout, and not a root file system.
pub fn is_layout(folder: &Path) -> bool {
    folder.join("oci-layout").is_file() && folder.join("index.json").is_file()
}

/// The image of a layout that is for a platform: the only one, or the first one. Layers that are there already are not unpacked
/// again. The locks keep its layers from being removed.
///
/// # Errors
/// It has no such image, or a blob is not what its digest says.
pub fn import_layout(store: &Store, folder: &Path, platform: &Platform) -> Result<(Image, Vec<Lock>)> {
    import(store, folder, platform).context(|| folder.display().to_string())
}

fn import(store: &Store, folder: &Path, platform: &Platform) -> Result<(Image, Vec<Lock>)> {
    let text = read_bounded(&folder.join("index.json"))?;
    let (digest, manifest) = loop_to_manifest(folder, &text, platform)?;
    let Document::Manifest(document) = Document::parse(&manifest)? else {
        return Err(Error::corrupt("an index of an index of an index"));
    };
    let config_text = read_blob(folder, &document.config)?;
    let config = Configuration::parse(&config_text)?;
    let (found, wanted) = (document.layers.len(), config.rootfs.diff_ids.len());
    if found != wanted {
        return Err(Error::corrupt(format!("its manifest has {found} layers, its configuration {wanted}")));
    }
    let _lease = store.lease(&[digest, document.config.digest])?;
    let mut assembly = Assembly::default();
    let ids = assembly.unpack(store, &config, |index| open_blob(folder, &document.layers[index]))?;
    store.blobs().write(&manifest)?;
    store.blobs().write(&config_text)?;
    let locks = assembly.settle(store, Vec::new())?;
    let record = assemble::record(store, digest.to_string(), &config_text, &config, digest, ids)?;
    store.images().name(&record)?;
    Ok((Image { id: record.id, config, layers: record.layers }, locks))
}

/// From the layout's index, through one more index if there is one, to a manifest.
fn loop_to_manifest(folder: &Path, index: &[u8], platform: &Platform) -> Result<(Digest, Vec<u8>)> {
    let mut text = index.to_vec();
    for _ in 0..3 {
        let Document::Index(index) = Document::parse(&text)? else {
            return Ok((Digest::of(&text), text));
        };
        let chosen = match &index.manifests[..] {
            [only] => only,
            _ => index.select(platform)?,
        };
        text = read_blob(folder, chosen)?;
    }
    Ok((Digest::of(&text), text))
}

fn open_blob(folder: &Path, descriptor: &Descriptor) -> Result<File> {
    let Descriptor { digest, size, .. } = descriptor;
    let open = || {
        let file = open_file(&folder.join("blobs/sha256").join(digest.hex()))?;
        match file.metadata()?.len() {
            length if length == *size => Ok(file),
            length => Err(Error::corrupt(format!("it has {length} bytes, {size} are said"))),
        }
    };
    open().context(|| format!("blob {digest}"))
}

/// A layout may be somebody else's: what is no file is not opened, and links are not followed.
///
/// # Errors
/// It cannot be opened, or is no file.
pub fn open_file(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(Error::corrupt("it is no file")) }
}

fn read_blob(folder: &Path, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let digest = &descriptor.digest;
    let path = folder.join("blobs/sha256").join(digest.hex());
    let text = read_bounded(&path).context(|| format!("blob {digest}"))?;
    match Digest::of(&text) {
        found if found == *digest => Ok(text),
        found => Err(Error::corrupt(format!("blob {digest}: its content has the digest {found}"))),
    }
}

/// A document of a layout.
///
/// # Errors
/// It cannot be read, or is too long.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = open_file(path).context(|| path.display().to_string())?;
    file.take(DOCUMENT_MAX + 1).read_to_end(&mut text).context(|| path.display().to_string())?;
    if text.len() as u64 > DOCUMENT_MAX {
        return Err(Error::corrupt(format!("{}: more than {DOCUMENT_MAX} bytes", path.display())));
    }
    Ok(text)
}
