//! Images by their names: one small file for each, with what `images` shows.

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Store, names_in, removal, write_whole};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{ChainId, Configuration, DOCUMENT_MAX, ImageId, Platform};

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

/// The folder of names.
#[derive(Debug, Clone)]
pub struct Images {
    folder: PathBuf,
}

impl Images {
    pub(super) fn at(folder: PathBuf) -> Images {
        Images { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(file_name(name))
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// The record is broken.
    pub fn find(&self, name: &str) -> Result<Option<ImageRecord>> {
        let path = self.path(name);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| Error::corrupt(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| path.display().to_string()),
        }
    }

    /// All names.
    ///
    /// # Errors
    /// The folder cannot be read, or a record is broken.
    pub fn list(&self) -> Result<Vec<ImageRecord>> {
        let mut records = Vec::new();
        for name in names_in(&self.folder)? {
            // Removed meanwhile, if it is not there.
            records.extend(self.find(&name_of_file(&name))?);
        }
        records.sort_by(|one, other| one.name.cmp(&other.name));
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
        removal::sweep(&self.folder, None, removal::is_old)
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
}

/// A name as that of a file: `/` and what could hide it are written as `%2F`.
fn file_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    for (index, letter) in name.chars().enumerate() {
        match letter {
            '/' => text += "%2F",
            '%' => text += "%25",
            '.' if index == 0 => text += "%2E",
            _ => text.push(letter),
        }
    }
    text
}

fn name_of_file(name: &str) -> String {
    name.replace("%2F", "/").replace("%2E", ".").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files() {
        for name in ["docker.io/library/alpine:3.20", "file:/srv/a%2Fb.tar", ".hidden", "sha256:00"] {
            let file = file_name(name);
            assert!(!file.contains('/') && !file.starts_with('.'), "{file}");
            assert_eq!(name_of_file(&file), name);
        }
    }
}
