//! Manifests and indexes, of OCI and of Docker's schema 2, which differ in media types alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Platform;
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The most bytes of a manifest, an index or a configuration: as containerd and registries have it.
pub const DOCUMENT_MAX: u64 = 8 << 20;

/// The most layers that overlayfs puts over one another.
pub const LAYERS_MAX: usize = 500;

/// Names of formats.
pub mod media_type {
    /// An index of manifests, OCI's.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A manifest, OCI's.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// A configuration, OCI's.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer, OCI's; `+gzip` or `+zstd` may follow.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// An index of manifests, Docker's.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A manifest, Docker's.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A configuration, Docker's.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// A layer, Docker's.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// A layer that is not compressed, Docker's.
    pub const DOCKER_PLAIN_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

    /// A layer with zstd, Docker's.
    pub const DOCKER_ZSTD_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

    /// What a layer of Docker's is called by OCI.
    pub fn of_oci(text: &str) -> &str {
        match text {
            DOCKER_LAYER => "application/vnd.oci.image.layer.v1.tar+gzip",
            DOCKER_ZSTD_LAYER => "application/vnd.oci.image.layer.v1.tar+zstd",
            DOCKER_PLAIN_LAYER => OCI_LAYER,
            other => other,
        }
    }

    /// What a layer of this format is called with gzip; `None` if it is compressed.
    pub fn compressed(text: &str) -> Option<&'static str> {
        match text {
            OCI_LAYER => Some("application/vnd.oci.image.layer.v1.tar+gzip"),
            DOCKER_PLAIN_LAYER => Some(DOCKER_LAYER),
            _ => None,
        }
    }

    /// Whether a layer of this format can be unpacked.
    pub fn is_layer(text: &str) -> bool {
        // What nobody was to redistribute was marked so for some years.
        let text = text.replace(".nondistributable", "").replace(".foreign", "");
        let compressed =
            |name: &str| text.strip_prefix(name).is_some_and(|rest| matches!(rest, "" | "+gzip" | "+zstd"));
        compressed(OCI_LAYER)
            || [DOCKER_LAYER, DOCKER_PLAIN_LAYER, DOCKER_ZSTD_LAYER].contains(&text.as_str())
    }
}

/// A blob by digest, with its length and its format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its format; see [`media_type`].
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// In an index, what the manifest is for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub platform: Option<Platform>,
    /// In the index of a layout, its name among others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub annotations: BTreeMap<String, String>,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own format.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest one first.
    pub layers: Vec<Descriptor>,
    /// Whatever its author says; OCI's alone have any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub annotations: BTreeMap<String, String>,
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own format.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub media_type: Option<String>,
    /// Manifests, or indexes of them.
    pub manifests: Vec<Descriptor>,
}

/// What a name or a digest in a registry leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// What tells the formats apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a manifest or an index.
    ///
    /// # Errors
    /// It is neither, or of schema 1.
    pub fn parse(text: &[u8]) -> Result<Document> {
        let wrong = |error: serde_json::Error| Error::corrupt(format!("manifest: {error}"));
        let Outline { schema_version, media_type, manifests } =
            serde_json::from_slice(text).map_err(wrong)?;
        if schema_version == 1 {
            return Err(Error::invalid(
                "manifest: schema 1, which Docker gave up in 2023: have the image pushed anew by a newer client",
            ));
        }
        let is_index = match media_type.as_deref() {
            Some(media_type::OCI_INDEX | media_type::DOCKER_INDEX) => true,
            Some(media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => false,
            Some(other) => {
                return Err(Error::invalid(format!("manifest: its media type is {other}, not an image's")));
            }
            None => manifests.is_some(),
        };
        if is_index {
            serde_json::from_slice(text).map(Document::Index).map_err(wrong)
        } else {
            serde_json::from_slice(text).map(Document::Manifest).map_err(wrong)
        }
    }
}

impl Manifest {
    /// Whether it is of an image: registries and layouts have other things, too.
    ///
    /// # Errors
    /// It is not; the error names the format.
    pub fn check_formats(&self) -> Result<()> {
        let config = self.config.media_type.as_str();
        if ![media_type::OCI_CONFIG, media_type::DOCKER_CONFIG].contains(&config) {
            return Err(Error::invalid(format!("it is no image: its configuration is of {config}")));
        }
        match self.layers.iter().find(|layer| !media_type::is_layer(&layer.media_type)) {
            Some(layer) => Err(Error::invalid(format!(
                "layer {}: of {}, and a tar, plain or with gzip or zstd, is wanted",
                layer.digest, layer.media_type
            ))),
            None => Ok(()),
        }
    }
}

impl Index {
    /// The manifest for a platform: the first one that is for it, or the only one there is if it says nothing of platforms.
    ///
    /// # Errors
    /// There is none; the error names those that there are.
    pub fn select(&self, platform: &Platform) -> Result<&Descriptor> {
        let for_it = |descriptor: &&Descriptor| {
            descriptor.platform.as_ref().is_some_and(|found| platform.accepts(found))
        };
        if let Some(found) = self.manifests.iter().find(for_it) {
            return Ok(found);
        }
        if let [only] = &self.manifests[..]
            && only.platform.is_none()
        {
            return Ok(only);
        }
        let known = self.manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref());
        // What is no image (attestations) says that it is for `unknown/unknown`.
        let known: Vec<_> = known.map(Platform::to_string).filter(|name| name != "unknown/unknown").collect();
        Err(Error::not_found(format!("there is no image for {platform}, but for {}", known.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(platform: &str) -> String {
        format!(r#"{{"mediaType": "m", "digest": "{DIGEST}", "size": 3{platform}}}"#)
    }

    #[test]
    fn an_index_is_searched_by_platform() {
        let of = |architecture: &str| {
            descriptor(&format!(r#", "platform": {{"os": "linux", "architecture": "{architecture}"}}"#))
        };
        let text = format!(
            r#"{{"schemaVersion": 2, "mediaType": "{}", "manifests": [{}, {}]}}"#,
            media_type::OCI_INDEX,
            of("arm64"),
            of("amd64")
        );
        let Ok(Document::Index(index)) = Document::parse(text.as_bytes()) else { panic!("{text}") };
        let found = index.select(&Platform::parse("amd64").unwrap()).unwrap();
        assert_eq!(found.platform.as_ref().unwrap().architecture, "amd64");
        let error = index.select(&Platform::parse("s390x").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "there is no image for linux/s390x, but for linux/arm64, linux/amd64");
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        let of = |text: &str| Document::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(of(r#"{"schemaVersion": 1}"#).contains("schema 1"));
        assert!(of(r#"{"schemaVersion": 2, "mediaType": "text/plain"}"#).contains("text/plain"));
        assert!(of("[").contains("manifest: "));
        let manifest = format!(r#"{{"schemaVersion": 2, "config": {}, "layers": []}}"#, descriptor(""));
        assert!(matches!(Document::parse(manifest.as_bytes()), Ok(Document::Manifest(_))));
    }
}
