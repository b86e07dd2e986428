//! Where an address leads: scheme, host and port. What is secret goes to one such place alone.

use std::fmt;

use ureq::http::Uri;

use super::proxy::is_loopback;
use crate::error::{Error, Result};

/// The scheme, the host and the port of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    is_secured: bool,
    /// In lower case, an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// That of an address.
    ///
    /// # Errors
    /// It is not one of HTTP's, or has a name or a password in it.
    pub fn of(url: &Uri) -> Result<Origin> {
        let wrong = |why: &str| Error::invalid(format!("address {:?}: {why}", url.to_string()));
        let is_secured = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("must begin with https:// or http://")),
        };
        let authority = url.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::invalid(format!(
                "address of {}: it has a name or a password",
                authority.host()
            )));
        }
        let port = authority.port_u16().unwrap_or(if is_secured { 443 } else { 80 });
        Ok(Origin { is_secured, host: authority.host().to_ascii_lowercase(), port })
    }

    /// Whether it is reached by TLS.
    pub fn is_secured(&self) -> bool {
        self.is_secured
    }

    /// Without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is this machine's own.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { is_secured, host, port } = self;
        write!(f, "{}://{host}:{port}", if *is_secured { "https" } else { "http" })
    }
}

/// The header Authorization, for one origin and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    value: String,
    origin: Origin,
}

impl Authorization {
    pub fn new(value: String, origin: Origin) -> Authorization {
        Authorization { value, origin }
    }

    /// What an origin is told; nothing if it is for another one.
    pub fn value_for(&self, origin: &Origin) -> Option<&str> {
        (self.origin == *origin).then_some(&*self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Origin> {
        Origin::of(&url.parse().unwrap())
    }

    #[test]
    fn the_usual_port_need_not_be_said() {
        assert_eq!(of("https://quay.io/v2/").unwrap(), of("https://QUAY.io:443/x").unwrap());
        assert_eq!(of("http://[::1]/").unwrap(), of("http://[::1]:80/").unwrap());
        for other in ["http://quay.io", "https://quay.io:5000", "https://cdn.quay.io"] {
            assert_ne!(of("https://quay.io").unwrap(), of(other).unwrap(), "{other}");
        }
        let authorization = Authorization::new("Basic x".into(), of("https://quay.io").unwrap());
        assert_eq!(authorization.value_for(&of("https://quay.io:443").unwrap()), Some("Basic x"));
        assert_eq!(authorization.value_for(&of("https://quay.io:444").unwrap()), None);
    }

    #[test]
    fn names_and_passwords_are_not_part_of_an_address() {
        let error = of("https://ann:secret@quay.io/").unwrap_err().to_string();
        assert!(error.contains("quay.io") && !error.contains("secret"), "{error}");
        assert!(of("ftp://quay.io/").unwrap_err().to_string().contains("https:// or http://"));
    }
}
