//! The head of a request: method, path, parameters, headers. Pure.

use super::fault::Fault;
use super::query::{Query, unescape};
use super::web_socket;

/// The most bytes of a head: the request's line and all headers.
pub const HEAD_MAX: usize = 64 << 10;

/// The most headers.
const HEADERS_MAX: usize = 100;

/// What a request says before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `GET`, `POST` …
    pub method: String,
    /// Without its escapes and without the version.
    pub path: String,
    /// The version of the API that it asks for, if it does.
    pub version: Option<String>,
    /// What stands behind `?`.
    pub query: Query,
    /// How long its body is.
    pub length: Length,
    /// Whether another request may follow on the connection.
    pub keeps_alive: bool,
    /// It knows answers in pieces, whose end it can tell from a connection that was cut.
    pub takes_chunks: bool,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Known(u64),
    /// It comes in chunks.
    Chunked,
}

/// Reads a head from the beginning of what has come. `None`: more has to come. Otherwise also how many bytes it has.
///
/// # Errors
/// It is none, or longer than one may be.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let end = match request.parse(bytes) {
        Ok(httparse::Status::Complete(end)) if end <= HEAD_MAX => end,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        Ok(_) => return Err(Fault::new(431, format!("the request's head has more than {HEAD_MAX} bytes"))),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Fault::new(431, format!("the request has more than {HEADERS_MAX} headers")));
        }
        Err(error) => return Err(Fault::invalid(format!("the request's head: {error}"))),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    let headers: Vec<(String, String)> =
        request.headers.iter().map(|one| (one.name.to_ascii_lowercase(), text(one.value))).collect();
    let target = request.path.unwrap_or_default();
    // A proxy's form has the host in front.
    let target =
        target.strip_prefix("http://").map_or(target, |rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = unescape(path).ok_or_else(|| Fault::invalid(format!("path {path}: a wrong escape")))?;
    let (version, path) = split_version(&path);
    let mut head = Head {
        method: request.method.unwrap_or_default().to_string(),
        path,
        version,
        query: Query::parse(query)?,
        length: Length::Known(0),
        keeps_alive: request.version == Some(1),
        takes_chunks: request.version == Some(1),
        headers,
    };
    head.length = head.body_length()?;
    head.keeps_alive &= !head.has_word("connection", "close") && !head.is_upgrade();
    Ok(Some((head, end)))
}

/// `/v1.51/info` is version 1.51 and `/info`.
fn split_version(path: &str) -> (Option<String>, String) {
    let found = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let is_one = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_one.then(|| (version.to_string(), rest[version.len()..].to_string()))
    });
    found.map_or((None, path.to_string()), |(version, path)| (Some(version), path))
}

impl Head {
    /// The first header of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All headers; their names are in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether the connection is to become a stream in both directions.
    pub fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some() && self.has_word("connection", "upgrade")
    }

    /// Whether it asks for a web socket.
    pub fn is_web_socket(&self) -> bool {
        let has = |name, value: &str| self.header(name).is_some_and(|own| own.eq_ignore_ascii_case(value));
        let version = has("sec-websocket-version", web_socket::VERSION);
        self.is_upgrade()
            && has("upgrade", "websocket")
            && version
            && self.header("sec-websocket-key").is_some()
    }

    /// Whether the client waits for a word before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.has_word("expect", "100-continue")
    }

    fn has_word(&self, name: &str, word: &str) -> bool {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        values.any(|(_, value)| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(word)))
    }

    /// A body whose end two readers could see in two places is refused.
    fn body_length(&self) -> Result<Length, Fault> {
        let mut lengths = self.headers.iter().filter(|(name, _)| name == "content-length");
        let length = lengths.next().map(|(_, value)| value.as_str());
        if lengths.any(|(_, other)| Some(other.as_str()) != length) {
            return Err(Fault::invalid("the request has several headers Content-Length"));
        }
        if self.headers.iter().filter(|(name, _)| name == "transfer-encoding").count() > 1 {
            return Err(Fault::invalid("the request has several headers Transfer-Encoding"));
        }
        match (self.header("transfer-encoding"), length) {
            (None, None) => Ok(Length::Known(0)),
            (None, Some(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let wrong = |_| Fault::invalid(format!("Content-Length {text}: must be a number of bytes"));
                text.parse().map(Length::Known).map_err(wrong)
            }
            (None, Some(text)) => {
                Err(Fault::invalid(format!("Content-Length {text}: must be a number of bytes")))
            }
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Length::Chunked),
            (Some(_), Some(_)) => {
                Err(Fault::invalid("the request has Content-Length and Transfer-Encoding at once"))
            }
            (Some(coding), None) => {
                Err(Fault::new(501, format!("Transfer-Encoding {coding}: must be chunked")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, Fault> {
        parse_head(text.replace('\n', "\r\n").as_bytes()).map(|found| found.expect("a whole head").0)
    }

    #[test]
    fn a_head_is_read() {
        let found =
            head("POST /v1.51/containers/a%2Fb/wait?condition=next-exit HTTP/1.1\nHost: d\n\n").unwrap();
        assert_eq!((found.version.as_deref(), found.path.as_str()), (Some("1.51"), "/containers/a/b/wait"));
        assert_eq!(found.query.text("condition"), Some("next-exit"));
        assert_eq!((found.keeps_alive, found.length), (true, Length::Known(0)));
        let found =
            head("POST /x HTTP/1.1\nConnection: Upgrade\nUpgrade: tcp\nContent-Length: 12\n\n").unwrap();
        assert!(found.is_upgrade() && !found.keeps_alive && found.length == Length::Known(12));
        assert!(!head("GET /version HTTP/1.0\n\n").unwrap().keeps_alive);
        assert_eq!(head("GET /volumes/v1 HTTP/1.1\n\n").unwrap().path, "/volumes/v1");
        let whole = b"GET /_ping HTTP/1.1\r\n\r\nGET";
        assert_eq!(parse_head(whole).unwrap().unwrap().1, whole.len() - 3);
        assert_eq!(parse_head(&whole[..20]).unwrap(), None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let status = |text: &str| head(text).unwrap_err().status();
        assert_eq!(status("POST /x HTTP/1.1\nContent-Length: 1\nContent-Length: 2\n\n"), 400);
        assert_eq!(status("POST /x HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked\n\n"), 400);
        assert_eq!(status("POST /x HTTP/1.1\nContent-Length: +1\n\n"), 400);
        let twice = "POST /x HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n";
        assert_eq!(status(twice), 400);
        assert_eq!(status("POST /x HTTP/1.1\nTransfer-Encoding: gzip\n\n"), 501);
        assert_eq!(status("GET /%zz HTTP/1.1\n\n"), 400);
        assert_eq!(status(&format!("GET / HTTP/1.1\n{}\n", "a: b\n".repeat(200))), 431);
        let long = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(HEAD_MAX));
        assert_eq!(parse_head(long.as_bytes()).unwrap_err().status(), 431);
    }

    /// Whatever comes, there is an answer.
    #[test]
    fn changed_heads_do_no_harm() {
        let text =
            b"POST /v1.51/containers/create?name=a%20b HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc";
        let mut seed = 7u64;
        let mut next = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        for _ in 0..20_000 {
            let mut bytes = text.to_vec();
            for _ in 0..=next() % 4 {
                let at = next() % bytes.len();
                match next() % 3 {
                    0 => bytes[at] = next() as u8,
                    1 => bytes.insert(at, next() as u8),
                    _ => drop(bytes.remove(at)),
                }
            }
            let _ = parse_head(&bytes);
        }
    }
}
