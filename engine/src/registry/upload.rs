//! Blobs and manifests on their way up.

use std::fs::File;

use ureq::http::{Method, StatusCode, header};

use super::http::{Content, Request, location};
use super::token::encode;
use super::{Purpose, Registry};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// How a blob came to be in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Already,
    /// It was taken from another repository of the registry.
    Mounted,
    /// It was sent.
    Sent,
}

impl Registry {
    /// Whether a blob is in the repository.
    ///
    /// # Errors
    /// The registry did not say.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let request = Request::new(Method::HEAD, self.url(&format!("blobs/{digest}")));
        let answer = self.send(&request)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refusal(&format!("blob {digest}"), answer)),
        }
    }

    /// Sends a blob; `look` hears of each piece. `from` is a repository of the same registry that may have it.
    ///
    /// # Errors
    /// The registry did not take it.
    pub fn upload(
        &self,
        digest: &Digest,
        file: &File,
        from: Option<&str>,
        look: &(dyn Fn(u64) -> Result<()> + Sync),
    ) -> Result<Uploaded> {
        debug_assert_eq!(self.purpose, Purpose::Push);
        if self.has_blob(digest)? {
            return Ok(Uploaded::Already);
        }
        let what = format!("blob {digest}");
        let mount = from.map_or(String::new(), |from| {
            format!("?mount={}&from={}", encode(&digest.to_string()), encode(from))
        });
        let url = self.url(&format!("blobs/uploads/{mount}"));
        let begun = self.send(&Request::new(Method::POST, url).content(Content::Bytes(b"")))?;
        match begun.status() {
            StatusCode::CREATED if from.is_some() => return Ok(Uploaded::Mounted),
            StatusCode::ACCEPTED => {}
            _ => return Err(self.refusal(&what, begun)),
        }
        let place = location(&begun)?;
        let separator = if place.contains('?') { '&' } else { '?' };
        let request =
            Request::new(Method::PUT, format!("{place}{separator}digest={}", encode(&digest.to_string())))
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .content(Content::File(file, look));
        let answer = self.send(&request)?;
        match answer.status() {
            StatusCode::CREATED => Ok(Uploaded::Sent),
            _ => Err(self.refusal(&what, answer)),
        }
    }

    /// Gives a manifest a name there: a tag, or its digest.
    ///
    /// # Errors
    /// The registry did not take it, or says that it is another one.
    pub fn put_manifest(&self, target: &str, media_type: &str, text: &[u8]) -> Result<Digest> {
        let what = format!("manifest {target}");
        let request = Request::new(Method::PUT, self.url(&format!("manifests/{target}")))
            .header(header::CONTENT_TYPE, media_type)
            .content(Content::Bytes(text));
        let answer = self.send(&request)?;
        if answer.status() != StatusCode::CREATED {
            return Err(self.refusal(&what, answer));
        }
        let digest = Digest::of(text);
        let said = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match said.and_then(|said| said.parse::<Digest>().ok()) {
            Some(said) if said != digest => {
                Err(Error::corrupt(format!("{what}: the registry made {said} of {digest}")))
            }
            _ => Ok(digest),
        }
    }
}
