//! Images from a tar of Docker's, or from one of an OCI layout.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

use serde::Deserialize;

use super::assemble::{self, Assembly};
use super::contents::{Contents, blob_path};
use super::leaves::{Leaf, Name, leaves};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{Configuration, Platform};
use crate::order::Collect;
use crate::reference::Reference;
use crate::store::{ImageRecord, Store};

/// The most images and names of a tar.
const NAMES_MAX: usize = 10_000;

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

/// An image in the tar.
struct Found {
    names: Vec<Reference>,
    /// As it is, if it has one.
    manifest: Option<Rc<[u8]>>,
    config: Rc<[u8]>,
    /// Numbers of files.
    layers: Vec<usize>,
}

/// An image whose documents have been read.
struct Prepared {
    names: Vec<Reference>,
    manifest: Vec<u8>,
    config_text: Rc<[u8]>,
    config: Configuration,
    /// Numbers of files.
    layers: Vec<usize>,
}

/// Loads all images of a tar, compressed or not, that are for a platform if one is asked for.
///
/// # Errors
/// It has no image, or one that is broken; then none of them has its name.
pub fn load(store: &Store, stream: &mut dyn Read, platform: Option<&Platform>) -> Result<Vec<ImageRecord>> {
    let contents = Contents::read(store, stream)?;
    let found = images(&contents, platform)?;
    let prepared = found.into_iter().map(|image| prepare(&contents, image)).collect::<Result<Vec<_>>>()?;
    let blobs = prepared.iter().flat_map(|image| {
        let layers = image.layers.iter().map(|number| contents.file(*number).digest());
        layers.chain([Digest::of(&image.manifest), Digest::of(&image.config_text)])
    });
    let _lease = store.lease(&blobs.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())?;
    let mut assembly = Assembly::default();
    let mut unpacked = Vec::new();
    for image in &prepared {
        let open = |index: usize| contents.file(image.layers[index]).open();
        unpacked.push(assembly.unpack(store, &image.config, open)?);
        store.blobs().write(&image.manifest)?;
        store.blobs().write(&image.config_text)?;
    }
    let wanted: BTreeSet<usize> = prepared.iter().flat_map(|image| image.layers.iter().copied()).collect();
    let files = contents.into_files().into_iter().enumerate();
    let blobs = files.filter(|(number, _)| wanted.contains(number)).map(|(_, file)| file).collect();
    let _locks = assembly.settle(store, blobs)?;
    let mut named = Vec::new();
    for (image, layers) in prepared.into_iter().zip(unpacked) {
        let Prepared { names, manifest, config_text, config, .. } = image;
        let (id, manifest) = (Digest::of(&config_text).to_string(), Digest::of(&manifest));
        let nameless = assemble::record(store, id, &config_text, &config, manifest, layers)?;
        let named_as = |name: &Reference| {
            let repo_digest = name.digest;
            ImageRecord { name: name.to_string(), repo_digest, ..nameless.clone() }
        };
        let records: Vec<ImageRecord> = names.iter().map(named_as).collect();
        for record in if records.is_empty() { vec![nameless] } else { records } {
            store.name_image(&record)?;
            store.events().note_image(&record, "load");
            named.push(record);
        }
    }
    Ok(named)
}

fn prepare(contents: &Contents, image: Found) -> Result<Prepared> {
    let config = Configuration::parse(&image.config)?;
    let (found, wanted) = (image.layers.len(), config.rootfs.diff_ids.len());
    if found != wanted {
        return Err(Error::corrupt(format!("an image has {found} layers, its configuration {wanted}")));
    }
    let manifest = match &image.manifest {
        Some(manifest) => manifest.to_vec(),
        None => manifest_of(contents, &image)?,
    };
    let Found { names, config: config_text, layers, .. } = image;
    Ok(Prepared { names, manifest, config_text, config, layers })
}

/// The manifest of an image that came without one.
fn manifest_of(contents: &Contents, image: &Found) -> Result<Vec<u8>> {
    let mut layers = Vec::new();
    for number in &image.layers {
        let file = contents.file(*number);
        let mut beginning = [0; 4];
        // What is shorter is no layer, which its unpacking says.
        let length = file.open()?.read(&mut beginning).context(|| "a layer")?;
        layers.push(assemble::layer(file.digest(), file.length(), &beginning[..length]));
    }
    assemble::manifest(&image.config, layers)
}

fn images(contents: &Contents, platform: Option<&Platform>) -> Result<Vec<Found>> {
    let machine = Platform::of_machine();
    let leaves = match contents.has("index.json") {
        true => leaves(contents, platform.unwrap_or(&machine))?,
        false => Vec::new(),
    };
    let found = match (contents.has("manifest.json"), contents.has("index.json")) {
        (true, _) => docker_images(contents, &leaves)?,
        (false, true) => leaves.into_iter().map(|leaf| oci_image(contents, leaf)).collect::<Result<_>>()?,
        (false, false) => {
            return Err(Error::invalid(
                "neither manifest.json nor index.json is in it: it is no saved image (a tar of a root file system: box import)",
            ));
        }
    };
    let count = found.iter().map(|image| image.names.len().max(1)).sum::<usize>();
    if count > NAMES_MAX {
        return Err(Error::invalid(format!(
            "it has {count} images and names: at most {NAMES_MAX} are possible"
        )));
    }
    only_for(platform, found)
}

/// By Docker's manifest.json. The manifests of a layout beside it are kept as they are.
fn docker_images(contents: &Contents, leaves: &[Leaf]) -> Result<Vec<Found>> {
    let text = contents.document(contents.number("manifest.json")?)?;
    let images: Vec<DockerImage> =
        serde_json::from_slice(&text).map_err(|error| Error::corrupt(format!("manifest.json: {error}")))?;
    let leaves: BTreeMap<Digest, &Leaf> =
        leaves.iter().map(|leaf| (leaf.manifest.config.digest, leaf)).collect_map();
    let mut found: Vec<Found> = Vec::new();
    // The same image may be named several times.
    let mut known: BTreeMap<(usize, Vec<usize>), usize> = BTreeMap::new();
    for image in images {
        let config = contents.number(&image.config)?;
        let layers = image.layers.unwrap_or_default();
        let layers = layers.iter().map(|layer| contents.number(layer)).collect::<Result<Vec<_>>>()?;
        let number = match known.get(&(config, layers.clone())) {
            Some(number) => *number,
            None => {
                known.insert((config, layers.clone()), found.len());
                let leaf = leaves.get(&contents.file(config).digest());
                let manifest = match leaf.copied() {
                    Some(leaf) if has_layers(contents, leaf, &layers)? => {
                        Some(contents.document(leaf.number)?)
                    }
                    _ => None,
                };
                let config = contents.document(config)?;
                found.push(Found { names: Vec::new(), manifest, config, layers });
                found.len() - 1
            }
        };
        for tag in image.repo_tags.unwrap_or_default() {
            found[number].names.push(docker_name(&tag)?);
        }
    }
    for image in &mut found {
        let mut seen = BTreeSet::new();
        image.names.retain(|name| seen.insert(name.clone()));
    }
    Ok(found)
}

fn docker_name(tag: &str) -> Result<Reference> {
    let name = Reference::parse(tag)?;
    match name.digest {
        None => Ok(name),
        Some(_) => Err(Error::corrupt(format!("manifest.json: RepoTags {tag:?}: must be a name with a tag"))),
    }
}

fn oci_image(contents: &Contents, leaf: Leaf) -> Result<Found> {
    let layers = layers_of(contents, &leaf)?;
    let config = contents.document(contents.number(&blob_path(&leaf.manifest.config.digest))?)?;
    let manifest = Some(contents.document(leaf.number)?);
    let names = leaf.names.into_iter().map(|Name { reference, target }| match reference.digest {
        Some(digest) if digest != target && digest != leaf.digest => {
            Err(Error::corrupt(format!("name {reference}: what it stands at has the digest {target}")))
        }
        _ => Ok(reference),
    });
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(Found { names, manifest, config, layers })
}

/// The files of a manifest's layers.
fn layers_of(contents: &Contents, leaf: &Leaf) -> Result<Vec<usize>> {
    let layers = leaf.manifest.layers.iter().map(|layer| match contents.blob(layer)? {
        Some(number) => Ok(number),
        None => Err(Error::corrupt(format!("{}: it is not in the tar", blob_path(&layer.digest)))),
    });
    layers.collect()
}

/// Whether these files are a manifest's layers, and as long as it says.
fn has_layers(contents: &Contents, leaf: &Leaf, files: &[usize]) -> Result<bool> {
    for layer in &leaf.manifest.layers {
        contents.blob(layer)?;
    }
    let named = leaf.manifest.layers.iter().map(|layer| layer.digest);
    Ok(named.eq(files.iter().map(|number| contents.file(*number).digest())))
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
