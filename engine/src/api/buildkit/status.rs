//! How a call ends: gRPC's status.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderValue};

use super::message::Rpc;
use crate::error::{Error, Kind};

/// Codes of gRPC. Clients of BuildKit put their names before the sentence, but for that of the unknown one: it is for what is said to people.
pub const CANCELLED: u32 = 1;
pub const UNKNOWN: u32 = 2;
pub const NOT_FOUND: u32 = 5;
pub const EXISTS: u32 = 6;
pub const EXHAUSTED: u32 = 8;
pub const UNIMPLEMENTED: u32 = 12;
pub const UNAVAILABLE: u32 = 14;

/// A call that has failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// One of gRPC's codes.
    pub code: u32,
    /// Why.
    pub message: String,
    /// What programs read, besides.
    pub details: Option<Vec<u8>>,
}

impl Status {
    /// A code with a sentence.
    pub fn new(code: u32, message: impl Into<String>) -> Status {
        Status { code, message: message.into(), details: None }
    }

    /// What was asked for cannot be.
    pub fn invalid(message: impl Into<String>) -> Status {
        Status::new(UNKNOWN, message)
    }

    /// There is nobody any more who waits for it, or who could do it.
    pub fn is_of_gone_peer(&self) -> bool {
        matches!(self.code, CANCELLED | UNAVAILABLE)
    }

    /// The headers that end a call.
    pub fn trailers(outcome: &Result<(), Status>) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        let Err(Status { code, message, details }) = outcome else {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            return trailers;
        };
        trailers.insert("grpc-status", HeaderValue::from(*code));
        if let Ok(text) = HeaderValue::from_str(&escape(message)) {
            trailers.insert("grpc-message", text);
        }
        let details = details.as_ref().map(|details| STANDARD_NO_PAD.encode(details));
        if let Some(Ok(text)) = details.as_deref().map(HeaderValue::from_str) {
            trailers.insert("grpc-status-details-bin", text);
        }
        trailers
    }

    /// What the headers say that end a call.
    pub fn of_trailers(trailers: &HeaderMap) -> Result<(), Status> {
        let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
        match text("grpc-status").map(str::parse::<u32>) {
            Some(Ok(0)) => Ok(()),
            Some(Ok(code)) => Err(Status::new(code, unescape(text("grpc-message").unwrap_or_default()))),
            _ => Err(Status::new(UNKNOWN, "the call has ended without a status")),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let code = if error.kind() == Kind::Closed { CANCELLED } else { UNKNOWN };
        Status::new(code, error.to_string())
    }
}

impl From<std::io::Error> for Status {
    fn from(error: std::io::Error) -> Status {
        Error::from(error).into()
    }
}

impl From<crate::api::fault::Fault> for Status {
    fn from(fault: crate::api::fault::Fault) -> Status {
        Status::new(UNKNOWN, fault.message())
    }
}

impl From<h2::Error> for Status {
    fn from(error: h2::Error) -> Status {
        match error.reason() {
            Some(h2::Reason::CANCEL | h2::Reason::NO_ERROR) => {
                Status::new(CANCELLED, "the other side has ended the call")
            }
            _ => Status::new(UNAVAILABLE, format!("the connection: {error}")),
        }
    }
}

impl From<Rpc> for Status {
    fn from(rpc: Rpc) -> Status {
        let code = u32::try_from(rpc.code).unwrap_or(UNKNOWN);
        Status::new(if code == 0 { UNKNOWN } else { code }, rpc.message)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        let kind = match status.code {
            NOT_FOUND => Kind::NotFound,
            CANCELLED => Kind::Closed,
            UNAVAILABLE => Kind::Host,
            _ => Kind::Invalid,
        };
        Error::new(kind, status.message)
    }
}

/// Everything but ASCII that can be printed is escaped, and the sign of escapes.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'%' | 0..b' ' | 0x7f.. => escaped += &format!("%{byte:02X}"),
            byte => escaped.push(char::from(byte)),
        }
    }
    escaped
}

/// What is no escape stands for itself.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| others.get(..2)).flatten();
        let value = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &others[2..] } else { others };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_sentence_can_be_said() {
        let status = Status::new(UNKNOWN, "100 % of\nTür \u{1F4E6} \x7f");
        assert_eq!(Status::of_trailers(&Status::trailers(&Err(status.clone()))), Err(status));
        assert_eq!(Status::of_trailers(&Status::trailers(&Ok(()))), Ok(()));
        assert_eq!(unescape("%zz%4"), "%zz%4");
        assert_eq!(Status::of_trailers(&HeaderMap::new()).unwrap_err().code, UNKNOWN);
    }
}
