//! `--build-context NAME=…` of `build`: files, or an image that stands in the place of another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::build::{ContextSource, GitAddress, LayoutShelf, NamedContext, import_image, whole_name};
use crate::error::{Error, Result};
use crate::image::Platform;
use crate::reference::Reference;
use crate::registry::is_url;
use crate::store::Store;

/// Contexts with names of their own.
#[derive(Debug, Default)]
pub struct NamedContexts {
    /// Those that are files.
    pub files: BTreeMap<String, NamedContext>,
    /// Names of images that stand for others.
    pub images: BTreeMap<String, String>,
    /// Layouts with images that do.
    layouts: BTreeMap<String, String>,
}

impl NamedContexts {
    /// Reads the flag's values.
    ///
    /// # Errors
    /// One of them is none.
    pub fn parse(texts: &[String]) -> Result<NamedContexts> {
        let mut contexts = NamedContexts::default();
        for text in texts {
            let (name, place) = text.split_once('=').unwrap_or((text, ""));
            let wrong = |what: &str| Error::invalid(format!("--build-context {text}: {what}"));
            let file = if name.is_empty() || place.is_empty() {
                return Err(wrong("must be NAME=PLACE"));
            } else if let Err(error) = Reference::parse(name) {
                return Err(wrong(&error.to_string()));
            } else if let Some(image) = place.strip_prefix("docker-image://") {
                contexts.images.insert(whole_name(name), image.to_string());
                continue;
            } else if let Some(layout) = place.strip_prefix("oci-layout://") {
                contexts.layouts.insert(name.to_string(), layout.to_string());
                continue;
            } else if ContextSource::is_address(place) && !Path::new(place).is_dir() {
                match GitAddress::is_one(place) {
                    true => NamedContext::Git(GitAddress::parse(place)?),
                    false if is_url(place) => NamedContext::Tar(place.to_string()),
                    false => return Err(wrong("it is no address")),
                }
            } else if Path::new(place).is_dir() {
                NamedContext::Folder(place.into())
            } else {
                return Err(wrong(
                    "must be a folder that is there, docker-image://NAME, oci-layout://FOLDER, or an address of a tar or a repository of git",
                ));
            };
            contexts.files.insert(name.to_string(), file);
        }
        Ok(contexts)
    }

    /// Imports the images of layouts; the result is what stands for what.
    ///
    /// # Errors
    /// One of them has no such image.
    pub fn images(&self, store: &Store, platform: Option<&Platform>) -> Result<BTreeMap<String, String>> {
        let mut images = self.images.clone();
        for (name, layout) in &self.layouts {
            let named = |error: Error| error.context(format!("--build-context {name}=oci-layout://{layout}"));
            let shelf = shelf_of(layout).map_err(named)?;
            let machine = Platform::of_machine();
            let image = import_image(store, Arc::new(shelf), platform.unwrap_or(&machine)).map_err(named)?;
            images.insert(whole_name(name), image.id.to_string());
        }
        Ok(images)
    }
}

/// `FOLDER[:TAG][@DIGEST]`.
fn shelf_of(layout: &str) -> Result<LayoutShelf> {
    let (place, digest) =
        layout.split_once('@').map_or((layout, None), |(place, digest)| (place, Some(digest)));
    let (folder, tag) = match place.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((folder, tag)) => (folder, Some(tag)),
        None => (place, None),
    };
    Ok(match digest {
        Some(digest) => LayoutShelf::of_digest(folder, digest.parse()?),
        None => LayoutShelf::tagged(folder, tag),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_files_or_images() {
        let parse = |text: &str| NamedContexts::parse(&[text.to_string()]);
        let base = parse("base=docker-image://alpine:3").unwrap();
        assert_eq!(base.images["docker.io/library/base:latest"], "alpine:3");
        assert!(matches!(parse("a=https://h/a.git#v1").unwrap().files["a"], NamedContext::Git(_)));
        assert!(matches!(parse("a=https://h/a.tar").unwrap().files["a"], NamedContext::Tar(_)));
        assert!(matches!(parse("a=src").unwrap().files["a"], NamedContext::Folder(_)));
        for wrong in ["a", "=b", "a=/nonesuch", "A=src", "a b=src"] {
            assert!(parse(wrong).unwrap_err().to_string().starts_with(&format!("--build-context {wrong}: ")));
        }
    }
}
