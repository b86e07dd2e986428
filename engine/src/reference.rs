//! Names of images, as Docker normalises them: `alpine` is `docker.io/library/alpine:latest`.

use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// The registry that a name without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// The folder of names without one, there.
const LIBRARY: &str = "library/";

/// The tag that is meant where there is neither a tag nor a digest.
const LATEST: &str = "latest";

/// The longest repository and the longest tag, as registries have them.
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A repository: the registry's host, with its port if it has one, and the path there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// `docker.io`, `quay.io`, `localhost:5000`.
    pub registry: String,
    /// `library/alpine`.
    pub path: String,
}

/// The name of an image: a repository with a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Where it is.
    pub repository: Repository,
    /// A name in the repository; always there where there is no digest.
    pub tag: Option<String>,
    /// Of the manifest or index that it must be.
    pub digest: Option<Digest>,
}

impl Repository {
    /// Reads a repository: a name without tag and digest.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn parse(text: &str) -> Result<Repository> {
        let (registry, path) = match text.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest.to_string()),
            _ => (DOCKER_HUB, text.to_string()),
        };
        let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
        let path = match registry {
            DOCKER_HUB if !path.contains('/') => format!("{LIBRARY}{path}"),
            _ => path,
        };
        check_registry(registry)
            .and_then(|()| check_path(&path))
            .and_then(|()| check_hub_name(registry, &path))
            .map_err(|error| error.context(format!("image {text:?}")))?;
        Ok(Repository { registry: registry.to_string(), path })
    }

    /// That of a path at a registry, without what is understood at Docker Hub.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn at(registry: &str, path: &str) -> Result<Repository> {
        check_registry(registry).and_then(|()| check_path(path))?;
        Ok(Repository { registry: registry.to_string(), path: path.to_string() })
    }

    /// Whether a name begins with its registry.
    pub fn has_registry(text: &str) -> bool {
        text.split_once('/').is_some_and(|(first, _)| is_registry(first))
    }

    /// As people write it: `alpine`, `quay.io/org/name`.
    pub fn familiar(&self) -> String {
        match self.registry.as_str() {
            DOCKER_HUB => self.path.strip_prefix(LIBRARY).unwrap_or(&self.path).to_string(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl Reference {
    /// Reads a name. One without tag and digest means the tag `latest`.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn parse(text: &str) -> Result<Reference> {
        let named = |error: Error| error.context(format!("image {text:?}"));
        if Digest::of_hex(text).is_some() {
            return Err(named(Error::invalid("64 hex digits are an image's id, and no name")));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(named)?)),
            None => (text, None),
        };
        // A colon before the last slash is that of a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag).map_err(named)?;
        }
        let repository = Repository::parse(name)?;
        let tag = tag.or(if digest.is_none() { Some(LATEST) } else { None }).map(str::to_string);
        Ok(Reference { repository, tag, digest })
    }

    /// As people write it, without what is understood anyway, but with its tag.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.repository.familiar(), self.suffix())
    }

    /// What names it within its repository: the digest, or else the tag.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.as_deref().unwrap_or(LATEST).to_string(),
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
        let digest = self.digest.as_ref().map_or(String::new(), |digest| format!("@{digest}"));
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, self.suffix())
    }
}

/// Whether what stands before the first slash is a host, and not a folder at Docker Hub.
fn is_registry(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(text: &str) -> Result<()> {
    let wrong = || {
        Error::invalid(format!(
            "registry {text:?}: must be a host and perhaps a port (quay.io, localhost:5000)"
        ))
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            ("ipv6", if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric();
        let within = label.bytes().all(|byte| is_letter(byte) || byte == b'-');
        within
            && label.bytes().next().is_some_and(is_letter)
            && label.bytes().next_back().is_some_and(is_letter)
    };
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if has_port && host.split('.').all(is_label) { Ok(()) } else { Err(wrong()) }
}

fn check_path(text: &str) -> Result<()> {
    if text.len() > REPOSITORY_MAX {
        return Err(Error::invalid(format!(
            "a repository of {} letters: at most {REPOSITORY_MAX} are possible",
            text.len()
        )));
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Error::invalid(format!(
            "repository {text:?}: must be in lower case ({})",
            text.to_ascii_lowercase()
        )));
    }
    match text.split('/').all(is_component) {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "repository {text:?}: must be words of a to z and 0 to 9 with `.`, `_`, `__` or `-` between them, and `/` between words"
        ))),
    }
}

/// `sha256:…` is an image's id.
fn check_hub_name(registry: &str, path: &str) -> Result<()> {
    match registry == DOCKER_HUB && path.strip_prefix(LIBRARY) == Some("sha256") {
        true => Err(Error::invalid("sha256 is what ids and digests begin with, and no name")),
        false => Ok(()),
    }
}

/// Letters and digits, between which stand `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(is_letter) && text.bytes().next_back().is_some_and(is_letter);
    let separators = text.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    ends && separators
        .into_iter()
        .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn check_tag(text: &str) -> Result<()> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_tag = text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
        && text.len() <= TAG_MAX;
    match is_tag {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "tag {text:?}: must be 1 to {TAG_MAX} of A to Z, a to z, 0 to 9, `_`, `.` and `-`, and not begin with `.` or `-`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_normalised_as_dockers() {
        let of = |text: &str| Reference::parse(text).map(|name| (name.to_string(), name.familiar())).unwrap();
        let cases = [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("org/name", "docker.io/org/name:latest", "org/name:latest"),
            ("index.docker.io/org/name", "docker.io/org/name:latest", "org/name:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("localhost:5000/a/b__c:d", "localhost:5000/a/b__c:d", "localhost:5000/a/b__c:d"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("quay.io/a-b/c.d---e", "quay.io/a-b/c.d---e:latest", "quay.io/a-b/c.d---e:latest"),
        ];
        for (text, whole, familiar) in cases {
            assert_eq!(of(text), (whole.to_string(), familiar.to_string()), "{text}");
            assert_eq!(of(whole).0, whole);
        }
        assert_eq!(of("org/sha256:1").1, "org/sha256:1");
        let digest = of(&format!("alpine:3@{DIGEST}"));
        assert_eq!(digest.0, format!("docker.io/library/alpine:3@{DIGEST}"));
        let name = Reference::parse(&format!("alpine@{DIGEST}")).unwrap();
        assert_eq!((name.tag.as_ref(), name.target().as_str()), (None, DIGEST));
    }

    #[test]
    fn what_is_no_name_is_said() {
        let cases = [
            ("", "repository"),
            ("Alpine", "lower case (library/alpine)"),
            ("a//b", "repository"),
            ("a:", "tag \"\""),
            ("a:.b", "tag \".b\""),
            ("-a", "repository"),
            ("a..b/c", "registry \"a..b\""),
            ("a___b", "repository"),
            ("host:99999/a", "registry \"host:99999\""),
            ("a@sha256:12", "64 hex digits"),
            ("a@sha512:12", "sha512"),
            ("/a", "repository"),
            ("sha256", "no name"),
            (DIGEST, "no name"),
            ("sha256:1", "no name"),
            ("docker.io/library/sha256:1", "no name"),
            (&DIGEST[7..], "id"),
        ];
        for (text, words) in cases {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("image ") && error.contains(words), "{text}: {error}");
        }
        assert!(Reference::parse(&format!("a:{}", "x".repeat(129))).is_err());
        assert!(Reference::parse(&"a/".repeat(200)).is_err());
    }
}
