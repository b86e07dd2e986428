//! Building requests: neli's headers and attributes, made ready to be sent.

use std::io::Cursor;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{RtaType, Rtm};
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::rtnl::RtattrBuilder;
use neli::types::{Buffer, RtBuffer};
use neli::{Size, ToBytes};

use crate::error::{Error, Result};

/// The longest name of a link in bytes: `IFNAMSIZ` without its NUL (linux/if.h).
const MAX_NAME: usize = 15;

/// The longest payload that an attribute's 16-bit length can state: the header's four bytes are counted in.
const MAX_PAYLOAD: usize = u16::MAX as usize - 4;

/// One request to the kernel. It may name descriptors (a network namespace), which stay open as long as it lives.
#[derive(Debug, Clone)]
pub struct Message<'fd> {
    kind: Rtm,
    flags: NlmF,
    body: Vec<u8>,
    what: String,
    descriptors: PhantomData<BorrowedFd<'fd>>,
}

impl Message<'_> {
    /// `what` says in words what the message is to do; it opens the text of a refusal.
    pub(crate) fn new(kind: Rtm, flags: NlmF, what: String, payload: &(impl Size + ToBytes)) -> Result<Self> {
        Ok(Message { kind, flags, body: encode(payload)?, what, descriptors: PhantomData })
    }

    /// What the message is to do, in words.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Appends the message as it goes over the wire: header, body, padding.
    pub(crate) fn append_to(&self, wire: &mut Vec<u8>, sequence: u32) -> Result<()> {
        let message = NlmsghdrBuilder::default()
            .nl_type(self.kind)
            .nl_flags(NlmF::REQUEST | NlmF::ACK | self.flags)
            .nl_seq(sequence)
            .nl_payload(NlPayload::Payload(Buffer::from(self.body.as_slice())))
            .build()
            .map_err(|_| unencodable("message"))?;
        wire.extend_from_slice(&encode(&message)?);
        Ok(())
    }
}

/// The attributes of one message or of one nest, in order.
pub(crate) struct Attributes<T>(RtBuffer<T, Buffer>);

impl<T: RtaType> Attributes<T> {
    pub(crate) fn new() -> Self {
        Attributes(RtBuffer::new())
    }

    pub(crate) fn push<P: Size + ToBytes>(&mut self, kind: T, payload: P) -> Result<()> {
        if payload.padded_size() > MAX_PAYLOAD {
            return Err(Error::Invalid(format!("netlink attribute: more than {MAX_PAYLOAD} bytes")));
        }
        let attribute = RtattrBuilder::default().rta_type(kind).rta_payload(payload).build();
        self.0.push(attribute.map_err(|_| unencodable("attribute"))?);
        Ok(())
    }

    /// Pushes nothing when there is no payload.
    pub(crate) fn push_some<P: Size + ToBytes>(&mut self, kind: T, payload: Option<P>) -> Result<()> {
        payload.map_or(Ok(()), |payload| self.push(kind, payload))
    }

    pub(crate) fn nest<U: RtaType>(&mut self, kind: T, inner: Attributes<U>) -> Result<()> {
        self.push(kind, inner.0)
    }

    pub(crate) fn finish(self) -> RtBuffer<T, Buffer> {
        self.0
    }
}

/// Checks a link's name as the kernel's dev_valid_name() does, so that the error can say what is wrong with it.
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

fn encode(payload: &impl ToBytes) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::with_capacity(128));
    payload.to_bytes(&mut bytes).map_err(|_| unencodable("payload"))?;
    Ok(bytes.into_inner())
}

/// neli's builders fail on a missing field only, which the tests of every message would have shown.
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
        let mut inner = Attributes::<u16>::new();
        inner.push(1, "veth").unwrap();
        let mut outer = Attributes::<u16>::new();
        outer.nest(18, inner).unwrap();
        outer.push(3, 0x0102_0304_u32).unwrap();
        let mut expected = Vec::new();
        for word in [16u16, 18, 9, 1] {
            expected.extend(word.to_ne_bytes());
        }
        expected.extend(b"veth\0\0\0\0");
        for word in [8u16, 3] {
            expected.extend(word.to_ne_bytes());
        }
        expected.extend(0x0102_0304_u32.to_ne_bytes());
        assert_eq!(encode(&outer.finish()).unwrap(), expected);
    }

    #[test]
    fn an_attribute_that_is_too_long_is_refused() {
        let mut attributes = Attributes::<u16>::new();
        assert!(attributes.push(1, Buffer::from(vec![0; MAX_PAYLOAD + 1])).is_err());
    }
}
