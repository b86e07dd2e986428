//! Images from a tar of Docker's, or from one of an OCI layout.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use serde::Deserialize;

use super::assemble::{self, Assembly};
use super::save::{FULL_NAME, REF_NAME};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{Configuration, DOCUMENT_MAX, Descriptor, Document, Index, Platform};
use crate::layer::tar::{Archive, Entry, EntryKind};
use crate::layer::uncompress;
use crate::reference::Reference;
use crate::store::{ImageRecord, NamelessBlob, Store};

/// An entry of Docker's manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// A manifest as it is, and the layers that it names.
struct RawManifest {
    layers: Vec<Digest>,
    text: Vec<u8>,
}

/// The files of the tar by their paths, in the store but without names. Links are resolved.
struct Contents {
    files: Vec<NamelessBlob>,
    paths: BTreeMap<String, usize>,
}

/// An image in the tar.
struct Found {
    names: Vec<Reference>,
    /// As it is, if it has one.
    manifest: Option<Vec<u8>>,
    config: Vec<u8>,
    /// Numbers of files.
    layers: Vec<usize>,
}

/// Loads all images of a tar, compressed or not, that are for a platform if one is asked for.
///
/// # Errors
/// It has no image, or one that is broken; then none of them has its name.
pub fn load(store: &Store, stream: &mut dyn Read, platform: Option<&Platform>) -> Result<Vec<ImageRecord>> {
    let contents = Contents::read(store, stream)?;
    let images = contents.images(platform)?;
    let mut assembly = Assembly::default();
    let mut records = Vec::new();
    let mut leased = Vec::new();
    let mut prepared = Vec::new();
    for image in images {
        let config = Configuration::parse(&image.config)?;
        let (found, wanted) = (image.layers.len(), config.rootfs.diff_ids.len());
        if found != wanted {
            return Err(Error::corrupt(format!("an image has {found} layers, its configuration {wanted}")));
        }
        let manifest = match &image.manifest {
            Some(manifest) => manifest.clone(),
            None => contents.manifest(&image)?,
        };
        leased.extend(image.layers.iter().map(|file| contents.files[*file].hasher().digest()));
        leased.extend([Digest::of(&manifest), Digest::of(&image.config)]);
        prepared.push((image, config, manifest));
    }
    let _lease = store.lease(&leased)?;
    for (image, config, manifest) in prepared {
        let layers = assembly.unpack(store, &config, |index| contents.files[image.layers[index]].open())?;
        store.blobs().write(&manifest)?;
        store.blobs().write(&image.config)?;
        records.push((image, config, Digest::of(&manifest), layers));
    }
    let wanted: Vec<usize> = records.iter().flat_map(|(image, ..)| image.layers.clone()).collect();
    let files = contents.files.into_iter().enumerate();
    let blobs = files.filter(|(number, _)| wanted.contains(number)).map(|(_, file)| file).collect();
    let _locks = assembly.settle(store, blobs)?;
    let mut named = Vec::new();
    for (image, config, manifest, layers) in records {
        let id = Digest::of(&image.config).to_string();
        let names = image.names.iter().map(Reference::to_string);
        let names: Vec<String> = if image.names.is_empty() { vec![id] } else { names.collect() };
        for name in names {
            let record = assemble::record(store, name, &image.config, &config, manifest, layers.clone())?;
            store.name_image(&record)?;
            named.push(record);
        }
    }
    Ok(named)
}

impl Contents {
    fn read(store: &Store, stream: &mut dyn Read) -> Result<Contents> {
        let mut archive = Archive::new(uncompress(stream)?);
        let mut contents = Contents { files: Vec::new(), paths: BTreeMap::new() };
        let mut links = Vec::new();
        while let Some(entry) = archive.next_entry()? {
            let path = plain(&String::from_utf8_lossy(&entry.path));
            match &entry.kind {
                EntryKind::File if entry.segments.is_none() => {
                    let blob = read_file(store, &mut archive, &entry).context(|| path.clone())?;
                    contents.paths.insert(path, contents.files.len());
                    contents.files.push(blob);
                }
                // Older Dockers write the same layer of several images once.
                EntryKind::SymbolicLink(to) => {
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    links.push((path.clone(), plain(&format!("{folder}/{}", String::from_utf8_lossy(to)))));
                }
                EntryKind::HardLink(to) => links.push((path, plain(&String::from_utf8_lossy(to)))),
                _ => {}
            }
        }
        for (path, to) in links {
            if let Some(file) = contents.paths.get(&to) {
                contents.paths.insert(path, *file);
            }
        }
        Ok(contents)
    }

    fn images(&self, platform: Option<&Platform>) -> Result<Vec<Found>> {
        if self.paths.contains_key("manifest.json") {
            return self.docker_images(platform);
        }
        if self.paths.contains_key("index.json") {
            return self.oci_images(platform);
        }
        Err(Error::invalid(
            "neither manifest.json nor index.json is in it: it is no saved image (a tar of a root file system: box import)",
        ))
    }

    fn docker_images(&self, platform: Option<&Platform>) -> Result<Vec<Found>> {
        let text = self.document("manifest.json")?;
        let images: Vec<DockerImage> = serde_json::from_slice(&text)
            .map_err(|error| Error::corrupt(format!("manifest.json: {error}")))?;
        let manifests = self.manifests()?;
        let mut found = Vec::new();
        for image in images {
            let config = self.document(&image.config)?;
            let tags = image.repo_tags.unwrap_or_default();
            let names = tags.iter().map(|tag| Reference::parse(tag)).collect::<Result<Vec<_>>>()?;
            let layers = image.layers.unwrap_or_default();
            let layers = layers.iter().map(|layer| self.file(layer)).collect::<Result<Vec<_>>>()?;
            let digests = layers.iter().map(|layer| self.files[*layer].hasher().digest());
            let manifest = manifests
                .get(&Digest::of(&config))
                .filter(|manifest| digests.eq(manifest.layers.iter().copied()));
            found.push(Found {
                names,
                manifest: manifest.map(|manifest| manifest.text.clone()),
                config,
                layers,
            });
        }
        only_for(platform, found)
    }

    /// The manifests of a layout that stands beside Docker's documents, by their configurations.
    fn manifests(&self) -> Result<BTreeMap<Digest, RawManifest>> {
        let mut manifests = BTreeMap::new();
        let Ok(text) = self.document("index.json") else { return Ok(manifests) };
        for (_, text) in self.leaves(&text, 0)? {
            if let Document::Manifest(manifest) = Document::parse(&text)? {
                let layers = manifest.layers.iter().map(|layer| layer.digest).collect();
                manifests.insert(manifest.config.digest, RawManifest { layers, text });
            }
        }
        Ok(manifests)
    }

    fn oci_images(&self, platform: Option<&Platform>) -> Result<Vec<Found>> {
        let index = self.document("index.json")?;
        let mut found: Vec<Found> = Vec::new();
        for (descriptor, text) in self.leaves(&index, 0)? {
            let Document::Manifest(manifest) = Document::parse(&text)? else { continue };
            let name = [FULL_NAME, REF_NAME].iter().find_map(|key| descriptor.annotations.get(*key));
            // A tag alone is no name.
            let name = name
                .filter(|name| name.contains(['/', ':']))
                .map(|name| Reference::parse(name))
                .transpose()?;
            let config = self.document(&blob_path(&manifest.config.digest))?;
            if let Some(known) = found.iter_mut().find(|known| known.manifest.as_deref() == Some(&text[..])) {
                known.names.extend(name);
                continue;
            }
            let layers = manifest.layers.iter().map(|layer| self.file(&blob_path(&layer.digest)));
            let layers = layers.collect::<Result<Vec<_>>>()?;
            found.push(Found { names: name.into_iter().collect(), manifest: Some(text), config, layers });
        }
        only_for(platform, found)
    }

    /// All manifests below an index. Those of platforms that are not in the tar are passed over.
    fn leaves(&self, text: &[u8], depth: usize) -> Result<Vec<(Descriptor, Vec<u8>)>> {
        let Document::Index(Index { manifests, .. }) = Document::parse(text)? else { return Ok(Vec::new()) };
        if depth > 2 {
            return Err(Error::corrupt("an index of an index of an index"));
        }
        let mut leaves = Vec::new();
        for descriptor in manifests {
            let Ok(text) = self.document(&blob_path(&descriptor.digest)) else { continue };
            match Document::parse(&text)? {
                Document::Manifest(_) => leaves.push((descriptor, text)),
                Document::Index(_) => {
                    let below = self.leaves(&text, depth + 1)?;
                    leaves.extend(below.into_iter().map(|(mut leaf, text)| {
                        leaf.annotations.extend(descriptor.annotations.clone());
                        (leaf, text)
                    }));
                }
            }
        }
        Ok(leaves)
    }

    fn file(&self, path: &str) -> Result<usize> {
        let found = self.paths.get(&plain(path)).copied();
        let file = found.ok_or_else(|| Error::corrupt(format!("{path}: it is not in the tar")))?;
        let digest = self.files[file].hasher().digest();
        match path.strip_prefix("blobs/sha256/") {
            Some(hex) if hex != digest.hex() => {
                Err(Error::corrupt(format!("{path}: its content has the digest {digest}")))
            }
            _ => Ok(file),
        }
    }

    fn document(&self, path: &str) -> Result<Vec<u8>> {
        let file = &self.files[self.file(path)?];
        if file.hasher().length() > DOCUMENT_MAX {
            return Err(Error::corrupt(format!("{path}: it has more than {DOCUMENT_MAX} bytes")));
        }
        let mut text = Vec::new();
        file.open()?.read_to_end(&mut text).context(|| path.to_string())?;
        Ok(text)
    }

    /// The manifest of an image that came without one.
    fn manifest(&self, image: &Found) -> Result<Vec<u8>> {
        let mut layers = Vec::new();
        for file in &image.layers {
            let file = &self.files[*file];
            let mut beginning = [0; 4];
            // What is shorter is no layer, which its unpacking says.
            let length = file.open()?.read(&mut beginning).context(|| "a layer")?;
            layers.push(assemble::layer(
                file.hasher().digest(),
                file.hasher().length(),
                &beginning[..length],
            ));
        }
        assemble::manifest(&image.config, layers)
    }
}

/// Those for a platform, if one is asked for.
fn only_for(platform: Option<&Platform>, mut found: Vec<Found>) -> Result<Vec<Found>> {
    let mut others = Vec::new();
    if let Some(platform) = platform {
        let mut fitting = Vec::new();
        for image in found {
            let made_for = Configuration::parse(&image.config)?.platform();
            if platform.accepts(&made_for) { fitting.push(image) } else { others.push(made_for.to_string()) }
        }
        found = fitting;
    }
    match (found.is_empty(), platform) {
        (true, Some(platform)) => {
            Err(Error::not_found(format!("there is no image for {platform}, but for {}", others.join(", "))))
        }
        (true, None) => Err(Error::invalid("there is no image in it")),
        _ => Ok(found),
    }
}

fn read_file(store: &Store, archive: &mut Archive<impl Read>, entry: &Entry) -> Result<NamelessBlob> {
    let mut blob = store.blobs().begin_nameless()?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        match archive.read_content(&mut buffer)? {
            0 => break,
            length => blob.write_all(&buffer[..length])?,
        }
    }
    match blob.hasher().length() == entry.size {
        true => Ok(blob),
        false => Err(Error::corrupt("the tar is cut")),
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A path without what means nothing.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
