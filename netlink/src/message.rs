//! Builds requests from neli's headers and attributes, ready to be sent.

use std::io::Cursor;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use neli::ToBytes;
use neli::consts::nl::NlmF;
use neli::consts::rtnl::Rtm;

use crate::error::{Error, Result};

/// The longest name of a link in bytes: `IFNAMSIZ` without the NUL (linux/if.h).
const MAX_NAME: usize = 15;

/// `sizeof(struct nlmsghdr)`: netlink(7).
const HEADER: usize = 16;

/// `sizeof(struct nlattr)`: length and type. The length includes this header.
const ATTRIBUTE_HEADER: usize = 4;

/// A request to the kernel. It may refer to descriptors (network namespaces), which must stay open as long as
/// it lives.
#[derive(Debug, Clone)]
pub struct Message<'fd> {
    kind: Rtm,
    flags: NlmF,
    body: Vec<u8>,
    what: String,
    descriptors: PhantomData<BorrowedFd<'fd>>,
}

impl Message<'_> {
    /// `fixed` is the part before the attributes; `what` says what the message does, and begins the text of a
    /// refusal.
    pub(crate) fn new(
        kind: Rtm,
        flags: NlmF,
        what: String,
        fixed: &dyn ToBytes,
        attributes: &Attributes,
    ) -> Result<Self> {
        let mut body = encode(fixed)?;
        body.extend_from_slice(&attributes.0);
        Ok(Message { kind, flags, body, what, descriptors: PhantomData })
    }

    /// What the message does.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The encoded message, for callers that have a socket of their own and must not allocate memory when
    /// they send.
    ///
    /// # Errors
    /// It is too long.
    pub fn encode(&self, sequence: u32) -> Result<Vec<u8>> {
        let mut wire = Vec::new();
        self.append_to(&mut wire, sequence)?;
        Ok(wire)
    }

    /// Appends the encoded message: header, body, padding.
    pub(crate) fn append_to(&self, wire: &mut Vec<u8>, sequence: u32) -> Result<()> {
        let length = u32::try_from(HEADER + self.body.len()).map_err(|_| unencodable("message"))?;
        let flags = NlmF::REQUEST | NlmF::ACK | self.flags;
        wire.extend_from_slice(&length.to_ne_bytes());
        wire.extend_from_slice(&u16::from(self.kind).to_ne_bytes());
        wire.extend_from_slice(&flags.bits().to_ne_bytes());
        wire.extend_from_slice(&sequence.to_ne_bytes());
        // Port id 0: the kernel fills in the socket's.
        wire.extend_from_slice(&0u32.to_ne_bytes());
        wire.extend_from_slice(&self.body);
        wire.resize(wire.len().next_multiple_of(4), 0);
        Ok(())
    }
}

/// The encoded attributes of one message or of one nest, in order.
#[derive(Debug, Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn push(&mut self, kind: impl Into<u16>, payload: &[u8]) -> Result<()> {
        self.push_number(kind.into(), payload)
    }

    // Not a part of push(), so that there is one copy instead of one for each type of `kind`.
    fn push_number(&mut self, kind: u16, payload: &[u8]) -> Result<()> {
        let length = u16::try_from(ATTRIBUTE_HEADER + payload.len())
            .map_err(|_| Error::Invalid(format!("netlink attribute {kind}: more than 65531 bytes")))?;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        Ok(())
    }

    pub(crate) fn push_u32(&mut self, kind: impl Into<u16>, payload: u32) -> Result<()> {
        self.push_number(kind.into(), &payload.to_ne_bytes())
    }

    /// Pushes `text` with the NUL that the kernel expects.
    pub(crate) fn push_text(&mut self, kind: impl Into<u16>, text: &str) -> Result<()> {
        self.push_number(kind.into(), &[text.as_bytes(), &[0]].concat())
    }

    pub(crate) fn push_ip(&mut self, kind: impl Into<u16>, ip: IpAddr) -> Result<()> {
        match ip {
            IpAddr::V4(ip) => self.push_number(kind.into(), &ip.octets()),
            IpAddr::V6(ip) => self.push_number(kind.into(), &ip.octets()),
        }
    }

    pub(crate) fn nest(&mut self, kind: impl Into<u16>, inner: &Attributes) -> Result<()> {
        self.push_number(kind.into(), &inner.0)
    }

    /// Nests the fixed part and the attributes of a message (a veth's peer).
    pub(crate) fn nest_message(&mut self, kind: u16, fixed: &dyn ToBytes, inner: &Attributes) -> Result<()> {
        let mut payload = encode(fixed)?;
        payload.extend_from_slice(&inner.0);
        self.push_number(kind, &payload)
    }
}

/// Checks a link's name as the kernel's dev_valid_name() does, so that the error can say what is wrong.
pub(crate) fn check_name(name: &str) -> Result<&str> {
    let fits = (1..=MAX_NAME).contains(&name.len());
    let legal = |byte: u8| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b':' | 0 | 0x0b);
    if fits && name != "." && name != ".." && name.bytes().all(legal) {
        return Ok(name);
    }
    Err(Error::Invalid(format!(
        "link name {name:?}: must be 1 to {MAX_NAME} bytes without blank, ':' and '/'"
    )))
}

fn encode(payload: &dyn ToBytes) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::with_capacity(128));
    payload.to_bytes(&mut bytes).map_err(|_| unencodable("payload"))?;
    Ok(bytes.into_inner())
}

/// neli's builders only fail if a field is missing, which the tests of all messages would have shown.
pub(crate) fn unencodable(part: &str) -> Error {
    Error::Invalid(format!("netlink {part}: cannot be encoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_the_kernel_does() {
        for good in ["lo", "eth0", "a", "fifteen-bytes-x", "vé", "eth%d"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a:b", "a\tb", "a\0", "sixteen-bytes-xx"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nested_attributes_are_padded_and_counted() {
        let mut inner = Attributes::default();
        inner.push_text(1u16, "veth").unwrap();
        let mut outer = Attributes::default();
        outer.nest(18u16, &inner).unwrap();
        outer.push_u32(3u16, 0x0102_0304).unwrap();
        let mut expected = Vec::new();
        for word in [16u16, 18, 9, 1] {
            expected.extend(word.to_ne_bytes());
        }
        expected.extend(b"veth\0\0\0\0");
        for word in [8u16, 3] {
            expected.extend(word.to_ne_bytes());
        }
        expected.extend(0x0102_0304_u32.to_ne_bytes());
        assert_eq!(outer.0, expected);
    }

    #[test]
    fn an_attribute_that_is_too_long_is_refused() {
        let mut attributes = Attributes::default();
        assert!(attributes.push(1u16, &vec![0; 65532]).is_err());
        assert!(attributes.push(1u16, &vec![0; 65531]).is_ok());
    }
}
