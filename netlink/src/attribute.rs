//! Building attributes (`struct nlattr`, linux/netlink.h), as they go over the wire.

use std::io::Cursor;
use std::net::IpAddr;

use neli::ToBytes;

use crate::error::{Error, Result};

/// `sizeof(struct nlattr)`: length and type. The length includes this header.
pub(crate) const HEADER: usize = 4;

/// `NLA_F_NESTED`: nf_tables wants it on every nest, rtnetlink does without.
const NESTED: u16 = 0x8000;

/// The encoded attributes of one message or of one nest, in order.
#[derive(Debug, Default)]
pub(crate) struct Attributes(pub(crate) Vec<u8>);

impl Attributes {
    pub(crate) fn push(&mut self, kind: impl Into<u16>, payload: &[u8]) -> Result<()> {
        self.push_number(kind.into(), payload)
    }

    // Not a part of push(), so that there is one copy instead of one for each type of `kind`.
    fn push_number(&mut self, kind: u16, payload: &[u8]) -> Result<()> {
        let length = u16::try_from(HEADER + payload.len())
            .map_err(|_| Error::Invalid(format!("netlink attribute {kind}: more than 65531 bytes")))?;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        Ok(())
    }

    pub(crate) fn push_u8(&mut self, kind: impl Into<u16>, payload: u8) -> Result<()> {
        self.push_number(kind.into(), &[payload])
    }

    pub(crate) fn push_u16(&mut self, kind: impl Into<u16>, payload: u16) -> Result<()> {
        self.push_number(kind.into(), &payload.to_ne_bytes())
    }

    pub(crate) fn push_u32(&mut self, kind: impl Into<u16>, payload: u32) -> Result<()> {
        self.push_number(kind.into(), &payload.to_ne_bytes())
    }

    /// In network byte order, as all of nf_tables' numbers are.
    pub(crate) fn push_be32(&mut self, kind: u16, payload: u32) -> Result<()> {
        self.push_number(kind, &payload.to_be_bytes())
    }

    /// In network byte order.
    pub(crate) fn push_be64(&mut self, kind: u16, payload: u64) -> Result<()> {
        self.push_number(kind, &payload.to_be_bytes())
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

    /// Nests with the flag that says so.
    pub(crate) fn nest_flagged(&mut self, kind: u16, inner: &Attributes) -> Result<()> {
        self.push_number(kind | NESTED, &inner.0)
    }

    /// Nests the fixed part and the attributes of a message (a veth's peer).
    pub(crate) fn nest_message(&mut self, kind: u16, fixed: &dyn ToBytes, inner: &Attributes) -> Result<()> {
        let mut payload = encode(fixed)?;
        payload.extend_from_slice(&inner.0);
        self.push_number(kind, &payload)
    }
}

pub(crate) fn encode(payload: &dyn ToBytes) -> Result<Vec<u8>> {
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
