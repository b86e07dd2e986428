//! One request and its answer: redirects without our name, patience with those who are busy, errors in words.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{Method, Response, StatusCode, Uri, header};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};
use ureq::{Agent, Body, ResponseExt, SendBody};

use super::certificate::{self, Verification};
use super::host_names::HostNames;
use super::origin::{Authorization, Origin};
use super::patience::{ATTEMPTS, is_busy, pause, retry_after};
use super::proxy::Proxies;
use super::tls::Tls;
use crate::error::{Context, Error, Kind, Result};
use crate::stop::{Ending, Stop};

/// How long nothing may come or go before a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);

const REDIRECTS_MAX: usize = 10;

/// What is asked for.
pub struct Request<'a> {
    /// GET, HEAD, POST, PUT.
    pub method: Method,
    /// The whole address.
    pub url: String,
    /// More headers.
    pub headers: Vec<(header::HeaderName, String)>,
    /// What is sent.
    pub content: Content<'a>,
}

/// What is sent with a request.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// Nothing.
    None,
    /// Bytes at hand.
    Bytes(&'a [u8]),
    /// Bytes that nobody else may get: a redirect to another origin is an error.
    Secret(&'a [u8]),
    /// A file from its beginning on, and a look at each piece of it.
    File(&'a File, &'a (dyn Fn(u64) -> Result<()> + Sync)),
}

impl<'a> Request<'a> {
    /// Without headers and content.
    pub fn new(method: Method, url: String) -> Request<'a> {
        Request { method, url, headers: Vec::new(), content: Content::None }
    }

    /// With one more header.
    pub fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Request<'a> {
        self.headers.push((name, value.into()));
        self
    }

    /// With something to send.
    pub fn content(self, content: Content<'a>) -> Request<'a> {
        Request { content, ..self }
    }
}

/// Why there is no answer.
pub enum Failure {
    /// The connection broke: another attempt may go well.
    Broken(Error),
    /// No attempt will.
    Final(Error),
}

impl Failure {
    /// Whether the host was reached, or something is wrong with the configuration: another way to it does not help.
    pub fn is_final_word(&self) -> bool {
        matches!(self, Failure::Final(error) if error.kind() == Kind::Invalid)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Broken(error) | Failure::Final(error) => error,
        }
    }
}

/// Connections, by the proxy that they go through.
pub struct Http {
    /// The registry's, without its port.
    host: String,
    verification: Verification,
    proxies: Proxies,
    agents: Mutex<BTreeMap<Option<String>, (Agent, Ending)>>,
    /// What ends all of them.
    stop: Stop,
}

impl Http {
    /// To the registry at `host` and where it leads.
    pub fn new(host: &str, verification: Verification) -> Http {
        let host = host.to_ascii_lowercase();
        let (agents, stop) = (Mutex::default(), Stop::default());
        Http { host, verification, proxies: Proxies::of_process(), agents, stop }
    }

    /// The same until `stop` ends them, whatever is waited for.
    pub fn until(self, stop: &Stop) -> Http {
        Http { stop: stop.clone(), ..self }
    }

    /// What ends what is sent.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Whether an origin may be asked without TLS: one of this machine, or the registry itself if verification is waived.
    pub fn allows_plain(&self, origin: &Origin) -> bool {
        let is_waived = self.verification == Verification::Waived && origin.host() == self.host;
        is_waived || origin.is_loopback()
    }

    /// Sends a request, again and again if the connection breaks or the registry is busy.
    ///
    /// # Errors
    /// It could not be sent, is redirected in a circle, or out of TLS; a status is no error.
    pub fn send(
        &self,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Response<Body>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let is_last = attempt == ATTEMPTS;
            match self.send_once(request, authorization) {
                Ok(answer) if !is_busy(answer.status()) || is_last => return Ok(answer),
                Ok(answer) => pause(&self.stop, retry_after(&answer), attempt, answer.status().as_str())?,
                Err(Failure::Broken(error)) if !is_last => {
                    pause(&self.stop, None, attempt, &error.to_string())?
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// The same once.
    pub fn send_once(
        &self,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
    ) -> std::result::Result<Response<Body>, Failure> {
        let mut url: Uri = parse(&request.url).map_err(Failure::Final)?;
        let mut method = request.method.clone();
        let mut content = request.content;
        for _ in 0..REDIRECTS_MAX {
            let origin = Origin::of(&url).map_err(Failure::Final)?;
            let authorization = authorization.and_then(|authorization| authorization.value_for(&origin));
            let answer = self.exchange(&method, &url, &request.headers, content, authorization)?;
            let status = answer.status();
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| status.is_redirection()) else { return Ok(answer) };
            let next = follow(&url, location).map_err(Failure::Final)?;
            if status == StatusCode::SEE_OTHER {
                (method, content) = (Method::GET, Content::None);
            }
            let leads_away = Origin::of(&next).map_err(Failure::Final)? != origin;
            if leads_away && matches!(content, Content::Secret(_)) {
                let text = format!("{url}: it leads to {next}, which is not to know what is secret");
                return Err(Failure::Final(Error::invalid(text)));
            }
            url = next;
        }
        Err(Failure::Final(Error::invalid(format!("{}: more than {REDIRECTS_MAX} redirects", request.url))))
    }

    fn exchange(
        &self,
        method: &Method,
        url: &Uri,
        headers: &[(header::HeaderName, String)],
        content: Content<'_>,
        authorization: Option<&str>,
    ) -> std::result::Result<Response<Body>, Failure> {
        let mut builder = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        let wrong = |error: http::Error| Failure::Final(Error::invalid(format!("{url}: {error}")));
        let agent = self.agent(url)?;
        let answer = match content {
            Content::None => agent.run(builder.body(()).map_err(wrong)?),
            Content::Bytes(bytes) | Content::Secret(bytes) => agent.run(builder.body(bytes).map_err(wrong)?),
            Content::File(file, look) => {
                let length = rewind(file).map_err(|error| Failure::Final(error.into()))?;
                let mut reader = Watched { file, look };
                let body = SendBody::from_reader(&mut reader);
                agent.run(builder.header(header::CONTENT_LENGTH, length).body(body).map_err(wrong)?)
            }
        };
        answer.map_err(|error| failure(url, error))
    }

    fn agent(&self, url: &Uri) -> std::result::Result<Agent, Failure> {
        let proxy = self.proxies.find(is_https(url), url.host().unwrap_or_default(), url.port_u16());
        let proxy = proxy.map(str::to_string);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((agent, _)) = agents.get(&proxy) {
            return Ok(agent.clone());
        }
        let through = match &proxy {
            Some(text) => Some(ureq::Proxy::new(text).map_err(|error| {
                // It may have a name and a password.
                let shown = text.rsplit_once('@').map_or(&**text, |(_, host)| host);
                Failure::Final(Error::invalid(format!(
                    "proxy {shown:?} (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY): {error}"
                )))
            })?),
            None => None,
        };
        let configuration = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(through)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .input_buffer_size(1 << 17)
            .output_buffer_size(1 << 17)
            .user_agent(concat!("box/", env!("CARGO_PKG_VERSION")))
            .build();
        let tls = Tls::new(self.verification, certificate::folders());
        let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(tls);
        let agent = Agent::with_parts(configuration, connector, HostNames::default());
        let ended = agent.clone();
        let ending = self.stop.also(move || ended.clone().shutdown());
        agents.insert(proxy, (agent.clone(), ending));
        Ok(agent)
    }
}

/// A file that says how much of it has been read.
struct Watched<'a> {
    file: &'a File,
    look: &'a (dyn Fn(u64) -> Result<()> + Sync),
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read(buffer)?;
        (self.look)(length as u64).map_err(std::io::Error::other)?;
        Ok(length)
    }
}

fn rewind(mut file: &File) -> std::io::Result<u64> {
    file.rewind()?;
    Ok(file.metadata()?.len())
}

/// An address.
///
/// # Errors
/// It is none.
pub fn parse(url: &str) -> Result<Uri> {
    url.parse().map_err(|error| Error::invalid(format!("address {url:?}: {error}")))
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// Where an address leads that may leave out what it has in common with the one before.
fn resolve(base: &Uri, location: &str) -> Result<Uri> {
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let whole = match location {
        _ if location.starts_with("https://") || location.starts_with("http://") => location.to_string(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ => {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{location}")
        }
    };
    parse(&whole)
}

/// Where an answer leads from `url`. From TLS nothing leads to what has none: whoever is on the way could be anybody.
fn follow(url: &Uri, location: &str) -> Result<Uri> {
    let next = resolve(url, location)?;
    if Origin::of(url)?.is_secured() && !Origin::of(&next)?.is_secured() {
        return Err(Error::invalid(format!("{url}: it leads to {next}, which is not secured by TLS")));
    }
    Ok(next)
}

/// The address that an answer leads to.
///
/// # Errors
/// It is none, or not secured as the one before was.
pub fn location(answer: &Response<Body>) -> Result<String> {
    let from = answer.get_uri();
    let value = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| Error::corrupt(format!("{from}: an answer without Location")))?;
    Ok(follow(from, value)?.to_string())
}

fn failure(url: &Uri, error: ureq::Error) -> Failure {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut,
        UnexpectedEof, WouldBlock,
    };
    let host = url.authority().map_or("", |authority| authority.as_str());
    let host_error = |text: String| Error::new(Kind::Host, text);
    match error {
        ureq::Error::Io(error) if certificate::is_distrust(&error) => {
            Failure::Final(certificate::distrust(host, &error))
        }
        ureq::Error::Io(error) if certificate::is_refusal(&error) => {
            Failure::Final(certificate::refusal(host, &error))
        }
        ureq::Error::Io(error) => {
            let is_broken = matches!(
                error.kind(),
                BrokenPipe
                    | ConnectionAborted
                    | ConnectionRefused
                    | ConnectionReset
                    | Interrupted
                    | TimedOut
                    | UnexpectedEof
                    | WouldBlock
            );
            let error = host_error(format!("{host}: {}", Error::from(error)));
            if is_broken { Failure::Broken(error) } else { Failure::Final(error) }
        }
        ureq::Error::Timeout(what) => {
            Failure::Broken(host_error(format!("{host}: no answer in time ({what})")))
        }
        ureq::Error::HostNotFound => Failure::Final(host_error(format!(
            "{host}: there is no host of this name (is there a network, and DNS?)"
        ))),
        ureq::Error::ConnectionFailed => Failure::Final(host_error(format!("{host}: no connection"))),
        // Half an answer.
        error @ ureq::Error::Protocol(_) => Failure::Broken(host_error(format!("{host}: {error}"))),
        error => Failure::Final(host_error(format!("{host}: {error}"))),
    }
}

/// The content of an answer of at most `limit` bytes.
///
/// # Errors
/// It is longer, or the connection broke.
pub fn read(answer: &mut Response<Body>, limit: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let body = answer.body_mut().with_config().limit(u64::MAX).reader();
    body.take(limit + 1).read_to_end(&mut content).context(|| "the answer")?;
    if content.len() as u64 > limit {
        return Err(Error::corrupt(format!("an answer of more than {limit} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed() {
        let base = parse("https://quay.io:443/v2/a/blobs/uploads/x?y").unwrap();
        let of = |location: &str| resolve(&base, location).unwrap().to_string();
        assert_eq!(of("http://other/z?q"), "http://other/z?q");
        assert_eq!(of("//other/z"), "https://other/z");
        assert_eq!(of("/v2/z"), "https://quay.io:443/v2/z");
        assert_eq!(of("z"), "https://quay.io:443/v2/a/blobs/uploads/z");
    }

    #[test]
    fn nothing_leads_out_of_tls() {
        let (secured, plain) =
            (parse("https://quay.io/v2/").unwrap(), parse("http://localhost/v2/").unwrap());
        assert!(follow(&secured, "/v2/x").is_ok() && follow(&secured, "https://cdn.example/x").is_ok());
        for location in ["http://quay.io/v2/x", "http://localhost/x", "http://127.0.0.1:80/x"] {
            let error = follow(&secured, location).unwrap_err().to_string();
            assert!(error.contains(location) && error.contains("not secured by TLS"), "{error}");
        }
        assert!(follow(&plain, "https://quay.io/").is_ok() && follow(&plain, "http://other/").is_ok());
    }
}
