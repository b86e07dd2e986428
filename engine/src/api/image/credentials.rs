//! Who asks a registry: whoever the client says, for one request alone.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::json;

use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::image::{Document, Platform};
use crate::reference::{DOCKER_HUB, Repository};
use crate::registries::Registries;
use crate::registry::{Access, Credential, Credentials, Purpose, Registry, Verification};

/// What `docker login` keeps, and sends with each request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthConfig {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    serveraddress: String,
}

impl AuthConfig {
    fn credential(self) -> Outcome<Option<Credential>> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity(self.identitytoken)));
        }
        if !self.username.is_empty() {
            return Ok(Some(Credential::Password { name: self.username, password: self.password }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let wrong = || Fault::invalid("auth: must be the base64 of NAME:PASSWORD");
        let text = String::from_utf8(decode(&self.auth).ok_or_else(wrong)?).map_err(|_| wrong())?;
        let (name, password) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Some(Credential::Password { name: name.to_string(), password: password.to_string() }))
    }
}

/// Clients write base64 with and without padding, in both alphabets.
fn decode(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [&URL_SAFE, &STANDARD]
        .into_iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
}

/// Who asks, as the header says it. The daemon's own names and passwords are for nobody else.
///
/// # Errors
/// The header is none.
pub fn access(exchange: &Exchange<'_>) -> Outcome<Access> {
    let credential = match exchange.head.header("x-registry-auth") {
        None | Some("") => None,
        Some(text) => {
            let wrong = || Fault::invalid("X-Registry-Auth: must be the base64 of a JSON object");
            let bytes = decode(text).ok_or_else(wrong)?;
            let config: AuthConfig = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
            config.credential()?
        }
    };
    let given = credential.map(|credential| (None, credential));
    let registries = Registries::of_caller()?;
    Ok(Access { registries, credentials: Credentials::given(given), verification: Verification::Required })
}

/// Who asks several registries: a build does.
///
/// # Errors
/// The header is none.
pub fn registries(exchange: &Exchange<'_>) -> Outcome<Access> {
    let wrong = || Fault::invalid("X-Registry-Config: must be the base64 of a JSON object of objects");
    let known: BTreeMap<String, AuthConfig> = match exchange.head.header("x-registry-config") {
        None | Some("") => BTreeMap::new(),
        Some(text) => serde_json::from_slice(&decode(text).ok_or_else(wrong)?).map_err(|_| wrong())?,
    };
    let mut given = Vec::new();
    for (registry, config) in known {
        given.extend(config.credential()?.map(|credential| (Some(registry), credential)));
    }
    let registries = Registries::of_caller()?;
    Ok(Access { registries, credentials: Credentials::given(given), verification: Verification::Required })
}

/// `POST /auth`: whether a registry knows somebody.
pub fn auth(_: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let config: AuthConfig = exchange.document()?;
    let host = config.serveraddress.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default();
    let registry = match host {
        "" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_string(),
        host => host.to_string(),
    };
    let credential = config.credential()?;
    let whole = Repository { registry, path: String::new() };
    let refused = |error: crate::Error| Fault::new(401, error.to_string());
    let verification = match Registries::of_caller()?.is_insecure(&whole.registry) {
        true => Verification::Waived,
        false => Verification::Required,
    };
    let opened = Registry::open_as(&whole, Purpose::Pull, verification, credential).map_err(refused)?;
    opened.check_credentials().map_err(refused)?;
    Ok(Reply::Json(200, json!({"Status": "Login Succeeded", "IdentityToken": ""})))
}

/// `GET /distribution/NAME/json`: what a name leads to in its registry.
pub fn distribution(_: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let reference = super::reference(exchange.parameter(0), None)?;
    let access = access(exchange)?;
    let registry = Registry::open(&access.registries.endpoint(&reference)?, Purpose::Pull, &access)?;
    let found = registry.manifest(&reference.target())?;
    let platforms: Vec<Platform> = match Document::parse(&found.text)? {
        Document::Index(index) => index.manifests.into_iter().filter_map(|one| one.platform).collect(),
        Document::Manifest(_) => vec![Platform::of_machine()],
    };
    Ok(Reply::Json(
        200,
        json!({
            "Descriptor": {"mediaType": found.media_type, "digest": found.digest, "size": found.text.len()},
            "Platforms": platforms,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_in_every_form() {
        for text in ["e30=", "e30"] {
            assert_eq!(decode(text).as_deref(), Some(&b"{}"[..]), "{text}");
        }
        assert_eq!(decode("-_8="), decode("+/8="));
        assert_eq!(decode("?"), None);
        let config = AuthConfig { auth: "YTpiOmM=".into(), ..AuthConfig::default() };
        let expected = Credential::Password { name: "a".into(), password: "b:c".into() };
        assert!(config.credential().unwrap() == Some(expected));
        assert!(AuthConfig::default().credential().unwrap().is_none());
    }
}
