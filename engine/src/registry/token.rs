//! Authorization: name and password, or a token from the service that a registry names.

use serde::Deserialize;
use ureq::http::{Method, header};

use super::challenge::Challenge;
use super::credential::Credential;
use super::http::{Content, Http, Request, parse, read};
use super::origin::{Authorization, Origin};
use crate::error::{Error, Result};

/// The longest answer of a token service.
const ANSWER_MAX: u64 = 1 << 20;

/// As OAuth 2 wants clients to name themselves.
const CLIENT: &str = "box";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// The value of the header Authorization that answers a challenge. `None`: there is nothing to answer with.
///
/// # Errors
/// The token service refused, cannot be reached, or is not secured by TLS.
pub fn authorize(
    http: &Http,
    challenge: &Challenge,
    scope: &str,
    credential: Option<&Credential>,
) -> Result<Option<String>> {
    match challenge {
        Challenge::Basic => Ok(credential.and_then(Credential::basic)),
        Challenge::Bearer { realm, service, scope: asked } => {
            let scope = asked.as_deref().unwrap_or(scope);
            let service = service.as_deref().unwrap_or_default();
            let service = Service { http, realm, origin: origin(http, realm)?, name: service };
            let token = match credential {
                Some(Credential::Identity(identity)) => service.exchange(scope, identity)?,
                other => service.fetch(scope, other)?,
            };
            Ok(Some(format!("Bearer {token}")))
        }
    }
}

/// The origin of a token service, if name and password may go there. A registry could name any.
fn origin(http: &Http, realm: &str) -> Result<Origin> {
    let origin = Origin::of(&parse(realm)?)?;
    match origin.is_secured() || http.allows_plain(&origin) {
        true => Ok(origin),
        false => Err(Error::invalid(format!(
            "{realm}: the registry has its tokens from there, and it is not secured by TLS: nothing is sent to it"
        ))),
    }
}

/// A token service, as a registry names it.
struct Service<'a> {
    http: &'a Http,
    realm: &'a str,
    origin: Origin,
    name: &'a str,
}

impl Service<'_> {
    /// A token for a name and password, or for nobody.
    fn fetch(&self, scope: &str, credential: Option<&Credential>) -> Result<String> {
        let mut pairs = vec![("service", self.name)];
        // Several scopes come in one text, and are asked for one by one.
        pairs.extend(scope.split(' ').map(|scope| ("scope", scope)));
        if let Some(Credential::Password { name, .. }) = credential {
            pairs.push(("account", name));
        }
        let separator = if self.realm.contains('?') { '&' } else { '?' };
        let request = Request::new(Method::GET, format!("{}{separator}{}", self.realm, form(&pairs)));
        self.token(&request, credential.and_then(Credential::basic))
    }

    /// A token for a token (OAuth 2, refresh_token).
    fn exchange(&self, scope: &str, identity: &str) -> Result<String> {
        let pairs = [
            ("grant_type", "refresh_token"),
            ("service", self.name),
            ("client_id", CLIENT),
            ("scope", scope),
            ("refresh_token", identity),
        ];
        let form = form(&pairs);
        let request = Request::new(Method::POST, self.realm.to_string())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .content(Content::Secret(form.as_bytes()));
        self.token(&request, None)
    }

    fn token(&self, request: &Request<'_>, basic: Option<String>) -> Result<String> {
        let Service { realm, .. } = self;
        let authorization = basic.map(|basic| Authorization::new(basic, self.origin.clone()));
        let mut answer = self.http.send(request, authorization.as_ref())?;
        let status = answer.status();
        if status.as_u16() == 401 || status.as_u16() == 403 {
            return Err(Error::invalid(format!(
                "{realm}: it refuses the name and password ({status}): box login"
            )));
        }
        if !status.is_success() {
            return Err(Error::invalid(format!("{realm}: no token: {status}")));
        }
        let text = read(&mut answer, ANSWER_MAX)?;
        let Answer { token, access_token } = serde_json::from_slice(&text)
            .map_err(|error| Error::corrupt(format!("{realm}: no token: {error}")))?;
        match if token.is_empty() { access_token } else { token } {
            token if token.is_empty() => Err(Error::corrupt(format!("{realm}: an answer without a token"))),
            token => Ok(token),
        }
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

/// All but what RFC 3986 calls unreserved as `%HH`.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_what_is_not_empty() {
        let pairs = [("service", ""), ("scope", "repository:a/b:pull,push"), ("account", "ann e")];
        assert_eq!(form(&pairs), "scope=repository%3Aa%2Fb%3Apull%2Cpush&account=ann%20e");
    }
}
