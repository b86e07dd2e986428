//! Building attributes (`struct nlattr`, linux/netlink.h), as they go over the wire.

use std::io::Cursor;
use std::net::IpAddr;

use neli::ToBytes;

use crate::error::{Error, Result};

/// `sizeof(struct nlattr)`: length and type. The length includes this header.
pub(crate) const HEADER: usize = 4;

/// `NLA_F_NESTED`: nf_tables wants it on every nest, rtnetlink does without.
pub(crate) const NESTED: u16 = 0x8000;

/// The encoded attributes of one message or of one nest, in order.
// What is too long is remembered, and found when the message is made: a result of each call would be half of
// the code.
#[derive(Debug, Default)]
pub(crate) struct Attributes(pub(crate) Vec<u8>, Option<u16>);

impl Attributes {
    /// Makes sure that nothing was too long.
    pub(crate) fn checked(&self) -> Result<&[u8]> {
        match self.1 {
            None => Ok(&self.0),
            Some(kind) => {
                Err(Error::invalid(format_args!("netlink attribute {kind}: more than 65531 bytes")))
            }
        }
    }

    /// Takes over what the kernel has encoded.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Attributes(bytes, None)
    }

    /// Appends others.
    pub(crate) fn append(&mut self, others: &Attributes) {
        self.1 = self.1.or(others.1);
        self.0.extend_from_slice(&others.0);
    }

    pub(crate) fn push(&mut self, kind: impl Into<u16>, payload: &[u8]) {
        self.push_number(kind.into(), payload);
    }

    // Not a part of push(), so that there is one copy instead of one for each type of `kind`.
    #[inline(never)]
    fn push_number(&mut self, kind: u16, payload: &[u8]) {
        let length = u16::try_from(HEADER + payload.len()).unwrap_or_else(|_| {
            self.1.get_or_insert(kind);
            0
        });
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(crate) fn push_u8(&mut self, kind: impl Into<u16>, payload: u8) {
        self.push_number(kind.into(), &[payload]);
    }

    pub(crate) fn push_u16(&mut self, kind: impl Into<u16>, payload: u16) {
        self.push_number(kind.into(), &payload.to_ne_bytes());
    }

    pub(crate) fn push_u32(&mut self, kind: impl Into<u16>, payload: u32) {
        self.push_number(kind.into(), &payload.to_ne_bytes());
    }

    /// In network byte order, as all of nf_tables' numbers are.
    pub(crate) fn push_be32(&mut self, kind: u16, payload: u32) {
        self.push_number(kind, &payload.to_be_bytes());
    }

    /// In network byte order.
    pub(crate) fn push_be64(&mut self, kind: u16, payload: u64) {
        self.push_number(kind, &payload.to_be_bytes());
    }

    /// Pushes `text` with the NUL that the kernel expects.
    pub(crate) fn push_text(&mut self, kind: impl Into<u16>, text: &str) {
        self.push_number(kind.into(), &[text.as_bytes(), &[0]].concat());
    }

    pub(crate) fn push_ip(&mut self, kind: impl Into<u16>, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.push_number(kind.into(), &ip.octets()),
            IpAddr::V6(ip) => self.push_number(kind.into(), &ip.octets()),
        }
    }

    pub(crate) fn nest(&mut self, kind: impl Into<u16>, inner: &Attributes) {
        self.nest_number(kind.into(), inner);
    }

    fn nest_number(&mut self, kind: u16, inner: &Attributes) {
        self.1 = self.1.or(inner.1);
        self.push_number(kind, &inner.0);
    }

    /// Nests with the flag that says so.
    pub(crate) fn nest_flagged(&mut self, kind: u16, inner: &Attributes) {
        self.nest_number(kind | NESTED, inner);
    }

    /// Nests the fixed part and the attributes of a message (a veth's peer).
    pub(crate) fn nest_message(&mut self, kind: u16, fixed: &dyn ToBytes, inner: &Attributes) -> Result<()> {
        let mut payload = encode(fixed)?;
        payload.extend_from_slice(inner.checked()?);
        self.push_number(kind, &payload);
        Ok(())
    }
}

pub(crate) fn encode(payload: &dyn ToBytes) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::with_capacity(128));
    payload.to_bytes(&mut bytes).map_err(|_| unencodable("payload"))?;
    Ok(bytes.into_inner())
}

/// neli's builders only fail if a field is missing, which the tests of all messages would have shown.
pub(crate) fn unencodable(part: &str) -> Error {
    Error::invalid(format_args!("netlink {part}: cannot be encoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_attributes_are_padded_and_counted() {
        let mut inner = Attributes::default();
        inner.push_text(1u16, "veth");
        let mut outer = Attributes::default();
        outer.nest(18u16, &inner);
        outer.push_u32(3u16, 0x0102_0304);
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
        for (length, is_refused) in [(65531, false), (65532, true)] {
            let mut inner = Attributes::default();
            inner.push(7u16, &vec![0; length]);
            let (mut outer, mut list) = (Attributes::default(), Attributes::default());
            outer.nest(1u16, &inner);
            list.append(&inner);
            assert_eq!(inner.checked().is_err(), is_refused);
            assert_eq!(list.checked().is_err(), is_refused);
            // A nest that is too long by its header alone is refused as well.
            assert!(outer.checked().is_err());
        }
        let mut long = Attributes::default();
        long.push(7u16, &vec![0; 65532]);
        let error = long.checked().unwrap_err().to_string();
        assert_eq!(error, "netlink attribute 7: more than 65531 bytes");
    }
}
