//! What a cache says of itself: steps by their keys, and the layer that each came to.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{ChainId, DOCUMENT_MAX, DiffId};
use crate::time::Moment;

/// Its format, in the manifest of a cache.
pub const MEDIA_TYPE: &str = "application/vnd.pillbox.build.cache.v1+json";

const VERSION: u32 = 1;

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheDocument {
    /// Always 1.
    version: u32,
    /// Digests of the layers' tars, in the order of the manifest; none in an image, whose configuration has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff_ids: Vec<DiffId>,
    /// Steps.
    pub steps: Vec<CachedStep>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedStep {
    /// Each of them leads to it.
    pub keys: Vec<Digest>,
    /// As it is shown.
    pub text: String,
    /// When its layer was made.
    pub created: Moment,
    /// Its layer, by its place among those of the manifest; none if it has changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// The layer together with those below it: what stands on top afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainId>,
}

impl CacheDocument {
    /// Of steps.
    pub fn new(diff_ids: Vec<DiffId>, steps: Vec<CachedStep>) -> CacheDocument {
        CacheDocument { version: VERSION, diff_ids, steps }
    }

    /// Its text.
    ///
    /// # Errors
    /// It has become too long: nobody could read it again.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(self).map_err(|error| Error::invalid(format!("cache: {error}")))?;
        match text.len() as u64 {
            0..=DOCUMENT_MAX => Ok(text),
            length => Err(Error::invalid(format!(
                "cache: its steps need {length} bytes: {DOCUMENT_MAX} are the most"
            ))),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is not one, or of another version.
    pub fn parse(text: &[u8]) -> Result<CacheDocument> {
        let read: CacheDocument =
            serde_json::from_slice(text).map_err(|error| Error::corrupt(format!("cache: {error}")))?;
        match read.version {
            VERSION => Ok(read),
            other => Err(Error::invalid(format!("cache: it is of version {other}, and {VERSION} is known"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cache_is_refused() {
        let digest = Digest::of(b"x");
        let layer: DiffId = digest.into();
        let step = CachedStep {
            keys: vec![digest],
            text: "RUN x".into(),
            created: Moment::of_seconds(1),
            layer: Some(0),
            chain: Some(ChainId::above(None, &layer)),
        };
        let document = CacheDocument::new(vec![layer], vec![step]);
        let text = document.encode().unwrap();
        assert_eq!(CacheDocument::parse(&text).unwrap(), document);
        let text = String::from_utf8(text).unwrap();
        for wrong in ["{}", "[]", &text[..text.len() - 1], &text.replace("\"version\":1", "\"version\":2")] {
            assert!(CacheDocument::parse(wrong.as_bytes()).unwrap_err().to_string().starts_with("cache: "));
        }
    }
}
