//! What a registry asks for in WWW-Authenticate (RFC 9110, 11.6.1; distribution's token specification).

use crate::error::{Error, Result};

/// How a registry wants to know who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// With name and password.
    Basic,
    /// With a token, which is to be had at `realm`.
    Bearer {
        /// An address.
        realm: String,
        /// The service that the token is for.
        service: Option<String>,
        /// What it allows: `repository:library/alpine:pull`.
        scope: Option<String>,
    },
}

impl Challenge {
    /// From the values of all headers of that name; a token is preferred.
    ///
    /// # Errors
    /// Neither way is offered.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Challenge> {
        let headers: Vec<&str> = headers.collect();
        let offered: Vec<Challenge> = headers.iter().filter_map(|header| Challenge::parse(header)).collect();
        let is_token = |challenge: &&Challenge| matches!(challenge, Challenge::Bearer { .. });
        let chosen = offered.iter().find(is_token).or(offered.first()).cloned();
        chosen.ok_or_else(|| {
            let text = headers.join(", ");
            Error::invalid(format!("it asks for {text:?}: names with passwords and tokens are known"))
        })
    }

    fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => {
                let parameters = parameters(rest);
                let take = |name: &str| {
                    let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.clone())
                };
                Some(Challenge::Bearer {
                    realm: take("realm")?,
                    service: take("service"),
                    scope: take("scope"),
                })
            }
            _ => None,
        }
    }
}

/// `key="value", key=value`, with `\` before what is meant as it stands.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        let key: String =
            std::iter::from_fn(|| letters.next_if(|letter| !matches!(letter, '=' | ','))).collect();
        match letters.next() {
            Some('=') => {}
            Some(_) => continue,
            None => return found,
        }
        let mut value = String::new();
        if letters.next_if_eq(&'"').is_some() {
            while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
                value.extend(if letter == '\\' { letters.next() } else { Some(letter) });
            }
        } else {
            value.extend(std::iter::from_fn(|| letters.next_if(|letter| *letter != ',')));
        }
        found.push((key.trim().to_string(), value.trim().to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_preferred() {
        let header =
            r#"Bearer realm="https://auth.example/token?a=b,c",service=reg,scope="repository:a/b:pull,push""#;
        let chosen = Challenge::choose(["Basic realm=\"x\"", header].into_iter()).unwrap();
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token?a=b,c".into(),
            service: Some("reg".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(chosen, expected);
        assert_eq!(Challenge::choose(["basic"].into_iter()).unwrap(), Challenge::Basic);
        let quoted = Challenge::choose([r#"Bearer realm="a\"b" , x="y""#].into_iter()).unwrap();
        assert_eq!(quoted, Challenge::Bearer { realm: "a\"b".into(), service: None, scope: None });
    }

    #[test]
    fn what_is_unknown_is_named() {
        for headers in [&["Negotiate"][..], &[], &["Bearer service=x"]] {
            let error = Challenge::choose(headers.iter().copied()).unwrap_err().to_string();
            assert!(error.contains(&format!("{:?}", headers.join(", "))), "{error}");
        }
    }
}
