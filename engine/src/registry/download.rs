//! What a URL leads to: the same connections, proxies and authorities as for registries.

use std::io::Read;

use ureq::http::{Method, StatusCode, header};

use super::Access;
use super::certificate::Verification;
use super::http::{Http, Request, parse};
use super::origin::Origin;
use crate::error::{Error, Kind, Result};

/// A file that comes.
pub struct Download {
    /// Its content.
    pub body: Box<dyn Read + Send>,
    /// When it was changed last, as HTTP writes it.
    pub modified: Option<String>,
}

/// Asks for a URL, as ADD of a Dockerfile does.
///
/// # Errors
/// Nobody answers, or not with a file.
pub fn download(url: &str) -> Result<Download> {
    let origin = Origin::of(&parse(url)?)?;
    get(url, &Http::new(origin.host(), Verification::Required))
}

/// Asks for a URL of which is said whom to trust. Whoever knows the digest of what is to come need not trust the server: then plain HTTP
/// is taken as well.
///
/// # Errors
/// As for [`download`]; the address is not secured.
pub fn download_trusted(url: &str, access: &Access, is_checked: bool) -> Result<Download> {
    let origin = Origin::of(&parse(url)?)?;
    let is_waived = is_checked && !origin.is_secured();
    let verification = if is_waived { Verification::Waived } else { access.verification };
    let http = Http::new(origin.host(), verification);
    if !origin.is_secured() && !http.allows_plain(&origin) {
        return Err(Error::invalid(format!(
            "{url}: it is not secured by TLS: say what is to come by --sha256 HEX, or trust everybody on the way by --tls-verify=false"
        )));
    }
    get(url, &http)
}

fn get(url: &str, http: &Http) -> Result<Download> {
    let answer = http.send(&Request::new(Method::GET, url.to_string()), None)?;
    match answer.status() {
        status if status.is_success() => {}
        StatusCode::NOT_FOUND => return Err(Error::not_found(format!("{url}: the server has no such file"))),
        status => return Err(Error::new(Kind::Host, format!("{url}: the server answers {status}"))),
    }
    let modified = answer.headers().get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let modified = modified.map(str::to_string);
    Ok(Download { body: Box::new(answer.into_body().into_reader()), modified })
}

/// Whether a text is an address, and no path.
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}
