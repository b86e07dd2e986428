//! What a URL leads to, for an ADD of a Dockerfile: the same connections, proxies and authorities as for registries.

use std::io::Read;

use ureq::http::{Method, header};

use super::certificate::Verification;
use super::http::{Http, Request, parse};
use super::origin::Origin;
use crate::error::{Error, Result};

/// A file that comes.
pub struct Download {
    /// Its content.
    pub body: Box<dyn Read + Send>,
    /// When it was changed last, as HTTP writes it.
    pub modified: Option<String>,
}

/// Asks for a URL.
///
/// # Errors
/// Nobody answers, or not with a file.
pub fn download(url: &str) -> Result<Download> {
    let origin = Origin::of(&parse(url)?)?;
    let http = Http::new(origin.host(), Verification::Required);
    let answer = http.send(&Request::new(Method::GET, url.to_string()), None)?;
    if !answer.status().is_success() {
        return Err(Error::not_found(format!("{url}: the server answers {}", answer.status())));
    }
    let modified = answer.headers().get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let modified = modified.map(str::to_string);
    Ok(Download { body: Box::new(answer.into_body().into_reader()), modified })
}
