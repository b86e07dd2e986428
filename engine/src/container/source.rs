//! What a container is made from: an image by its name, a tar of a root file system, an OCI layout, a folder.

use std::path::Path;

use super::record::Base;
use crate::archive;
use crate::error::{Context, Error, Kind, Result};
use crate::image::{Execution, Platform};
use crate::store::{Image, ImageRecord, Lock, Store};

/// Where a container's root comes from, and how its author wants it to be run.
#[derive(Debug)]
pub struct Source {
    /// As it was named.
    pub name: String,
    /// What the root is made of.
    pub base: Base,
    /// Of an image.
    pub execution: Execution,
    /// Keep the layers from being removed before the container's record names them.
    pub locks: Vec<Lock>,
}

impl Source {
    /// Whether a command line means a path, and no image by its name. What has a slash at its beginning or a dot before one is a path; so is what ends like a
    /// tar and is there.
    pub fn is_path(name: &str) -> bool {
        let is_path =
            ["/", "./", "../"].iter().any(|start| name.starts_with(start)) || matches!(name, "." | "..");
        let ends_like_a_tar = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| name.ends_with(end));
        is_path || (ends_like_a_tar && Path::new(name).exists())
    }

    /// Finds what a command line means. `found` is the image that its name has meant a moment ago.
    ///
    /// # Errors
    /// There is no such thing, or it is for another machine.
    pub fn find(store: &Store, name: &str, found: Option<ImageRecord>) -> Result<Source> {
        if !Source::is_path(name) {
            return Source::of_name(store, name, found);
        }
        let path = Path::new(name);
        let status = std::fs::metadata(path).context(|| name.to_string())?;
        if !status.is_dir() {
            let (image, locks) = archive::import_rootfs(store, path)?;
            return Source::of_image(name, image, locks);
        }
        if archive::is_layout(path) {
            let (image, locks) = archive::import_layout(store, path, &Platform::of_machine())?;
            return Source::of_image(name, image, locks);
        }
        let folder = std::fs::canonicalize(path).context(|| name.to_string())?;
        // overlayfs has no changes below what they are changes of.
        let data = &store.place().data;
        if std::fs::canonicalize(data).context(|| data.display().to_string())?.starts_with(&folder) {
            return Err(Error::invalid(format!(
                "{name}: a container's changes would lie in the folder itself, in {}: copy what is needed of it, or give another --data-root",
                data.display()
            )));
        }
        Ok(Source {
            name: name.to_string(),
            base: Base::Folder(folder),
            execution: Execution::default(),
            locks: Vec::new(),
        })
    }

    /// An image by its name, whatever that looks like; `found` as in [`Source::find`].
    ///
    /// # Errors
    /// There is none, or it is for another machine.
    pub fn of_name(store: &Store, name: &str, found: Option<ImageRecord>) -> Result<Source> {
        // Nobody removes it between the look at its name and the locks.
        let _beside = store.beside_removals()?;
        let still =
            |found: &ImageRecord| store.images().find(&found.name).ok().flatten().as_ref() == Some(found);
        let record = match found.filter(still) {
            Some(record) => record,
            None => store.find_image(name).map_err(|error| no_image(name, error))?,
        };
        match store.hold_image(&record)? {
            Some((image, locks)) => Source::of_image(name, image, locks),
            None => {
                let wrong = record.layers.iter().find_map(|layer| store.layers().check(layer).err());
                let why = wrong.map_or_else(|| "a layer is missing".to_string(), |error| error.to_string());
                Err(Error::corrupt(format!("{name}: {why}: box pull {name}, or load it again")))
            }
        }
    }

    fn of_image(name: &str, image: Image, locks: Vec<Lock>) -> Result<Source> {
        let Image { id, config, layers } = image;
        let (machine, made_for) = (Platform::of_machine(), config.platform());
        if !machine.accepts(&made_for) {
            return Err(Error::invalid(format!(
                "{name}: it is made for {made_for}, and this machine is {machine}"
            )));
        }
        Ok(Source {
            name: name.to_string(),
            base: Base::Image { id, layers },
            execution: config.config,
            locks,
        })
    }
}

fn no_image(name: &str, error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::not_found(format!(
            "{error}: box pull {name}, or name a tar of a root file system, an OCI layout or a folder by its path (./{name})"
        )),
        _ => error,
    }
}
