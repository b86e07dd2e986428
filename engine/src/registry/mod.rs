//! Registries by the distribution API: manifests and blobs, up and down. It knows nothing of the store.
//!
//! `http` sends a request, with `patience`; `token` says who asks; a [`Registry`] is one repository at one host.

mod blob;
mod certificate;
mod challenge;
mod credential;
mod download;
mod host_names;
mod http;
mod origin;
mod patience;
mod proxy;
mod tags;
mod tls;
mod token;
mod upload;

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use ureq::http::{Method, Response, StatusCode, header};
use ureq::{Body, ResponseExt};

use self::http::{Failure, Http, Request, parse, read};
use self::origin::{Authorization, Origin};
pub use blob::BlobReader;
pub use certificate::Verification;
use challenge::Challenge;
pub use credential::{Credential, Credentials, Keeper};
pub use download::{Download, download, download_trusted, is_url};
pub use token::encode as percent_encode;
pub use upload::Uploaded;

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::image::{DOCUMENT_MAX, media_type};
use crate::reference::{DOCKER_HUB, Repository};
use crate::registries::{Endpoint, Registries};
use crate::stop::Stop;

/// The host that serves Docker Hub.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// What of an answer's text is shown.
const MESSAGE_MAX: u64 = 1 << 16;

/// What is to be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To read.
    Pull,
    /// To write.
    Push,
}

/// Who asks, where, and whom to trust.
#[derive(Debug)]
pub struct Access {
    /// Where registries are.
    pub registries: Registries,
    /// Names and passwords.
    pub credentials: Credentials,
    /// Whether registries have to show who they are.
    pub verification: Verification,
}

/// One repository of one registry.
pub struct Registry {
    repository: Repository,
    purpose: Purpose,
    /// `https://host:port`.
    base: String,
    /// What it leads to; nobody else hears who asks.
    origin: Origin,
    http: Http,
    credential: Option<Credential>,
    authorization: Mutex<Option<Authorization>>,
}

/// A manifest or an index as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawDocument {
    /// Of its bytes.
    pub digest: Digest,
    /// As the registry says.
    pub media_type: String,
    /// As it is.
    pub text: Vec<u8>,
}

/// What a registry says with a status.
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Registry {
    /// Finds out how a registry is spoken to. Hosts without TLS are those of this machine alone, unless verification is waived.
    ///
    /// # Errors
    /// It cannot be reached, or is no registry.
    pub fn open(endpoint: &Endpoint, purpose: Purpose, access: &Access) -> Result<Registry> {
        Registry::open_until(endpoint, purpose, access, &Stop::default())
    }

    /// The same for work that `stop` ends, whatever the registry is waited for.
    ///
    /// # Errors
    /// As for [`Registry::open`].
    pub fn open_until(
        endpoint: &Endpoint,
        purpose: Purpose,
        access: &Access,
        stop: &Stop,
    ) -> Result<Registry> {
        let Endpoint { repository, is_insecure, is_elsewhere } = endpoint;
        let verification = if *is_insecure { Verification::Waived } else { access.verification };
        let credential = match is_elsewhere {
            false => access.credentials.find(repository)?,
            true => access.credentials.find_named(repository)?,
        };
        Registry::begin(repository, purpose, verification, credential, stop)
    }

    /// The same as somebody in particular.
    ///
    /// # Errors
    /// As for [`Registry::open`].
    pub fn open_as(
        repository: &Repository,
        purpose: Purpose,
        verification: Verification,
        credential: Option<Credential>,
    ) -> Result<Registry> {
        Registry::begin(repository, purpose, verification, credential, &Stop::default())
    }

    fn begin(
        repository: &Repository,
        purpose: Purpose,
        verification: Verification,
        credential: Option<Credential>,
        stop: &Stop,
    ) -> Result<Registry> {
        let host = match repository.registry.as_str() {
            DOCKER_HUB => DOCKER_HUB_HOST,
            host => host,
        };
        let (base, plain) = (format!("https://{host}"), format!("http://{host}"));
        let origin = Origin::of(&parse(&base)?)?;
        let mut registry = Registry {
            repository: repository.clone(),
            purpose,
            base,
            http: Http::new(origin.host(), verification).until(stop),
            origin,
            credential,
            authorization: Mutex::default(),
        };
        let answer = match registry.ping() {
            // One that has TLS, but is not trusted, is not asked without.
            Err(failure) if !failure.is_final_word() && registry.http.allows_plain(&registry.origin) => {
                registry.origin = Origin::of(&parse(&plain)?)?;
                registry.base = plain;
                registry.ping().map_err(Error::from)?
            }
            pinged => pinged.map_err(Error::from)?,
        };
        match answer.status() {
            StatusCode::UNAUTHORIZED if registry.is_own(&answer)? => registry.authorize(&answer)?,
            status if status.is_success() => {}
            status if status == StatusCode::NOT_FOUND => {
                return Err(Error::invalid(format!("{host}: it is no registry (no /v2/ there)")));
            }
            _ => return Err(registry.refusal(&format!("registry {host}"), answer)),
        }
        Ok(registry)
    }

    fn ping(&self) -> std::result::Result<Response<Body>, Failure> {
        let request = Request::new(Method::GET, format!("{}/v2/", self.base));
        match self.http.send_once(&request, None) {
            // Busy or gone for a moment.
            Ok(answer) if answer.status().is_server_error() || answer.status().as_u16() == 429 => {
                self.http.send(&request, None).map_err(Failure::Final)
            }
            pinged => pinged,
        }
    }

    /// Whether the registry takes the credentials.
    ///
    /// # Errors
    /// It does not.
    pub fn check_credentials(&self) -> Result<()> {
        let request = Request::new(Method::GET, format!("{}/v2/", self.base));
        let answer = self.send(&request)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            _ => Err(self.refusal("login", answer)),
        }
    }

    /// A manifest or an index, by tag or digest.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; it is not what its digest says.
    pub fn manifest(&self, target: &str) -> Result<RawDocument> {
        let accepted = [
            media_type::OCI_INDEX,
            media_type::DOCKER_INDEX,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_MANIFEST,
        ];
        let url = self.url(&format!("manifests/{target}"));
        let request = Request::new(Method::GET, url).header(header::ACCEPT, accepted.join(", "));
        let mut answer = self.send(&request)?;
        if !answer.status().is_success() {
            return Err(self.refusal(&format!("manifest {target}"), answer));
        }
        let text = read(&mut answer, DOCUMENT_MAX).context(|| format!("manifest {target}"))?;
        let value = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let digest = Digest::of(&text);
        let expected = target.parse::<Digest>().ok();
        // The header is of another algorithm at times; what is asked for by a tag has no other witness.
        let promised = value("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        if let Some(expected) = expected.or(promised).filter(|expected| *expected != digest) {
            return Err(Error::corrupt(format!(
                "manifest {target}: its content has the digest {digest}, and not {expected}"
            )));
        }
        let media_type = value("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_string();
        Ok(RawDocument { digest, media_type, text })
    }

    /// Sends a request as whoever asks; a token that is not taken any more is replaced once.
    fn send(&self, request: &Request<'_>) -> Result<Response<Body>> {
        let used = self.authorization();
        let answer = self.http.send(request, used.as_ref())?;
        // Whoever else it leads to is not told who asks.
        if answer.status() != StatusCode::UNAUTHORIZED || !self.is_own(&answer)? {
            return Ok(answer);
        }
        // Another thread may have a new one already.
        if self.authorization() == used {
            self.authorize(&answer)?;
        }
        match self.authorization() {
            Some(authorization) => self.http.send(request, Some(&authorization)),
            None => Ok(answer),
        }
    }

    /// Whether an answer comes from the registry itself, and not from where it has led.
    fn is_own(&self, answer: &Response<Body>) -> Result<bool> {
        Ok(Origin::of(answer.get_uri())? == self.origin)
    }

    fn authorization(&self) -> Option<Authorization> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn authorize(&self, answer: &Response<Body>) -> Result<()> {
        let headers = answer.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = Challenge::choose(headers.iter().filter_map(|value| value.to_str().ok()))
            .context(|| self.repository.registry.clone())?;
        let actions = match self.purpose {
            Purpose::Pull => "pull",
            Purpose::Push => "pull,push",
        };
        let scope = match self.repository.path.as_str() {
            "" => String::new(),
            path => format!("repository:{path}:{actions}"),
        };
        let value = token::authorize(&self.http, &challenge, &scope, self.credential.as_ref())?;
        let authorization = value.map(|value| Authorization::new(value, self.origin.clone()));
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = authorization;
        Ok(())
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.repository.path)
    }

    /// What a status means, in words.
    fn refusal(&self, what: &str, mut answer: Response<Body>) -> Error {
        let status = answer.status();
        let text = read(&mut answer, MESSAGE_MAX).unwrap_or_default();
        let said = serde_json::from_slice::<Errors>(&text).map(|errors| errors.errors).unwrap_or_default();
        let said: Vec<String> = said
            .into_iter()
            .map(|OneError { code, message }| if message.is_empty() { code } else { message })
            .filter(|text| !text.is_empty())
            .collect();
        let said = if said.is_empty() { status.to_string() } else { said.join(", ") };
        let registry = &self.repository.registry;
        let (kind, remedy) = match (status, &self.credential) {
            (StatusCode::NOT_FOUND, _) => (Kind::NotFound, String::new()),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                (Kind::Invalid, format!(": it is not there, or not for everybody (box login {registry})"))
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(_)) => (
                Kind::Invalid,
                format!(": it is not there, or not for the one who is logged in (box login {registry})"),
            ),
            (StatusCode::TOO_MANY_REQUESTS, _) => (
                Kind::Host,
                format!(": too many requests: later, or with a name of your own (box login {registry})"),
            ),
            _ => (Kind::Host, String::new()),
        };
        Error::new(kind, format!("{what}: {said}{remedy}"))
    }
}
