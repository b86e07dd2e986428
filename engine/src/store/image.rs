//! Images by their names: one small file for each, with what `images` shows.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::REMEDY;
use super::{Lock, Store, names_in, read_whole, removal, write_whole};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{ChainId, Configuration, DOCUMENT_MAX, ImageId, Platform};
use crate::order;
use crate::reference::{Reference, Repository};
use crate::registries::Registries;
use crate::thread::by_shares;
use crate::time::{Moment, parse_rfc3339};

/// An image that is there as a whole: its configuration and all its layers.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// What its author says about how it is run.
    pub config: Configuration,
    /// Its layers, the lowest one first.
    pub layers: Vec<ChainId>,
}

/// What is known of an image under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecord {
    /// The name, as Docker normalises it, with its tag; for one without a name, what leads to it: `sha256:…` or `file:…`.
    pub name: String,
    /// The digest of its configuration, which is a blob.
    pub id: ImageId,
    /// The digest of its manifest, which is a blob, if it came with one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub manifest: Option<Digest>,
    /// What its name led to in its registry: the digest of an index, or of the manifest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repo_digest: Option<Digest>,
    /// Its layers, the lowest one first.
    pub layers: Vec<ChainId>,
    /// Bytes of all files of its layers.
    pub size: u64,
    /// When it was made, as its author says it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created: Option<String>,
    /// What it runs on.
    pub platform: Platform,
}

/// How many digits of an id are shown.
const ID_SHOWN: usize = 12;

/// How a command line has named an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// By one of its names.
    Name,
    /// By its id, or the beginning of it.
    Id,
}

/// What an image without a manifest lacks, and what helps.
pub const WITHOUT_MANIFEST: &str = "it was made from a path, and has no manifest: box import FILE NAME, of a layout tar -C FOLDER -c . | box load, makes an image that has one";

/// The folder of names.
#[derive(Debug, Clone)]
pub struct Images {
    folder: PathBuf,
}

impl Images {
    pub(super) fn at(folder: PathBuf) -> Images {
        Images { folder }
    }

    /// Where all of them are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(file_name(name))
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// The record is broken.
    pub fn find(&self, name: &str) -> Result<Option<ImageRecord>> {
        self.read(&self.path(name))
    }

    pub(super) fn read(&self, path: &Path) -> Result<Option<ImageRecord>> {
        let parsed =
            read_whole(path, |text| serde_json::from_slice(text)).context(|| path.display().to_string())?;
        parsed.transpose().map_err(|error| Error::corrupt(format!("{}: {error}: {REMEDY}", path.display())))
    }

    /// All names; see [`Store::broken_images`] for those whose records cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<ImageRecord>> {
        // Removed meanwhile, if it is not there. A broken one keeps nobody from the others.
        let read = |name: &String| self.read(&self.folder.join(name)).ok().flatten();
        let mut records: Vec<_> = by_shares(&names_in(&self.folder)?, read).into_iter().flatten().collect();
        order::sort_by(&mut records, |one, other| one.name.cmp(&other.name));
        Ok(records)
    }

    /// Gives an image its name, or the name another image. It survives the power, so everything that it names is to be
    /// synced before.
    ///
    /// # Errors
    /// The disk did not take it; the name is longer than a file's may be.
    pub fn name(&self, record: &ImageRecord) -> Result<()> {
        let text = serde_json::to_vec(record)
            .map_err(|error| Error::invalid(format!("image {}: {error}", record.name)))?;
        write_whole(&self.path(&record.name), &text)
    }

    /// Takes a name away; its blobs and layers stay until they are pruned. False if there is no such name.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn unname(&self, name: &str) -> Result<bool> {
        match std::fs::remove_file(self.path(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context(|| format!("image {name}")),
        }
    }

    /// Deletes what killed commands have left.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn sweep(&self) -> Result<()> {
        removal::sweep(&self.folder, None, |path| removal::is_old(path).then_some(()))
    }
}

impl ImageRecord {
    /// When it was made; one that does not say so has no moment, and counts as the oldest.
    pub fn moment(&self) -> Option<Moment> {
        self.created.as_deref().and_then(parse_rfc3339)
    }

    /// Its name, if it has one: what is only found by its digest or by the path of a file has none.
    pub fn reference(&self) -> Option<Reference> {
        match self.name.split_once(':') {
            Some(("sha256" | "file", _)) => None,
            _ => Reference::parse(&self.name).ok(),
        }
    }
}

impl Store {
    /// The image that a record names, with its configuration read and checked.
    ///
    /// # Errors
    /// The configuration is missing or broken.
    pub fn load(&self, record: &ImageRecord) -> Result<Image> {
        let named = || format!("image {}", record.name);
        let text = self.blobs().read(record.id.digest(), DOCUMENT_MAX).context(named)?;
        let config = Configuration::parse(&text).context(named)?;
        Ok(Image { id: record.id, config, layers: record.layers.clone() })
    }

    /// The image that a record names, with locks that keep its layers from being removed. `None`: a layer is not here, or cannot be used
    /// here.
    ///
    /// # Errors
    /// As for [`Store::load`].
    pub fn hold_image(&self, record: &ImageRecord) -> Result<Option<(Image, Vec<Lock>)>> {
        let mut locks = Vec::new();
        for layer in &record.layers {
            match self.layers().hold(layer)? {
                Some(lock) => locks.push(lock),
                None => return Ok(None),
            }
        }
        Ok(Some((self.load(record)?, locks)))
    }

    /// Gives an image its name. One that had this name and no other is kept without a name, as Docker does.
    ///
    /// # Errors
    /// As for [`Images::name`].
    pub fn name_image(&self, record: &ImageRecord) -> Result<()> {
        let _beside = self.beside_removals()?;
        let images = self.images();
        if let Some(before) = images.find(&record.name)?
            && before.id != record.id
            && before.reference().is_some()
            && !images.list()?.iter().any(|other| other.id == before.id && other.name != before.name)
        {
            images.name(&ImageRecord { name: before.id.to_string(), repo_digest: None, ..before })?;
        }
        images.name(record)
    }

    /// The image that a command line means: by name, by name and digest, or by its id or the beginning of it.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Invalid`] if several ids begin like this, or it can be neither a name nor an id.
    pub fn find_image(&self, text: &str) -> Result<ImageRecord> {
        self.look_up_image(text).map(|(record, _)| record)
    }

    /// The same, and by what it was found.
    ///
    /// # Errors
    /// The same.
    pub fn look_up_image(&self, text: &str) -> Result<(ImageRecord, FoundBy)> {
        self.find_image_by(text, |text| Ok(Registries::of_name(text)?.expand(text)?.reference))
    }

    /// The same, where it is known what a name without a registry means.
    ///
    /// # Errors
    /// The same.
    pub fn find_image_by(
        &self,
        text: &str,
        expand: impl FnOnce(&str) -> Result<Reference>,
    ) -> Result<(ImageRecord, FoundBy)> {
        let digits = id_digits(text);
        // What is shown as an id is one, whatever somebody has called another image.
        let is_shown = digits.is_some_and(|digits| digits.len() >= ID_SHOWN);
        if let Some(digits) = digits.filter(|_| is_shown)
            && let Some(record) = self.image_by_id(text, digits)?
        {
            return Ok((record, FoundBy::Id));
        }
        let reference = Reference::parse(text);
        if let Ok(usual) = &reference {
            // What a name without a registry is pulled from comes first.
            let pulled = match Repository::has_registry(text) {
                true => usual.clone(),
                false => expand(text)?,
            };
            let pulled = if pulled == *usual { None } else { self.image_by_name(&pulled)? };
            if let Some(record) = pulled.map_or_else(|| self.image_by_name(usual), |found| Ok(Some(found)))? {
                return Ok((record, FoundBy::Name));
            }
        }
        match digits {
            None => drop(reference?),
            Some(digits) => {
                if let Some(record) = self.image_by_id(text, digits)? {
                    return Ok((record, FoundBy::Id));
                }
            }
        }
        Err(Error::not_found(format!("{text}: there is no such image here")))
    }

    fn image_by_name(&self, reference: &Reference) -> Result<Option<ImageRecord>> {
        let images = self.images();
        let Some(digest) = reference.digest else { return images.find(&reference.to_string()) };
        let is_it = |record: &ImageRecord| {
            let has_digest = [record.repo_digest, record.manifest].contains(&Some(digest));
            has_digest && record.reference().is_some_and(|name| name.repository == reference.repository)
        };
        match images.find(&reference.to_string())?.filter(is_it) {
            Some(record) => Ok(Some(record)),
            None => Ok(images.list()?.into_iter().find(is_it)),
        }
    }

    fn image_by_id(&self, text: &str, digits: &str) -> Result<Option<ImageRecord>> {
        let mut found: Option<ImageRecord> = None;
        for record in self.images().list()? {
            if !record.id.digest().hex().starts_with(digits) {
                continue;
            }
            match &found {
                Some(other) if other.id != record.id => {
                    return Err(Error::invalid(format!("image {text}: several ids begin like this")));
                }
                _ => found = Some(record),
            }
        }
        Ok(found)
    }
}

/// The digits of an id or of its beginning.
fn id_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (!digits.is_empty() && digits.bytes().all(is_digit)).then_some(digits)
}

/// The longest name of a file that a name becomes as it is.
const FILE_NAME_MAX: usize = 200;

/// A name as that of a file: `/` and what could hide it are written as `%2F`. Of a long one its digest is written.
pub(super) fn file_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    for (index, letter) in name.chars().enumerate() {
        match letter {
            '/' => text += "%2F",
            '%' => text += "%25",
            '.' if index == 0 => text += "%2E",
            _ => text.push(letter),
        }
    }
    if text.len() > FILE_NAME_MAX { format!("%{}", Digest::of(name.as_bytes()).hex()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files() {
        let long = "a/".repeat(200);
        let names = ["docker.io/library/alpine:3.20", "file:/srv/a%2Fb.tar", ".hidden", "sha256:00", &long];
        let files: Vec<String> = names.iter().map(|name| file_name(name)).collect();
        for (number, file) in files.iter().enumerate() {
            assert!(!file.contains('/') && !file.starts_with('.') && file.len() <= FILE_NAME_MAX, "{file}");
            assert!(!files[..number].contains(file), "{file}");
        }
        assert_eq!(files[1], "file:%2Fsrv%2Fa%252Fb.tar");
    }
}
