//! Builds requests from neli's headers and our attributes, ready to be sent.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use neli::ToBytes;
use neli::consts::nl::NlmF;
use rustix::io::Errno;

use crate::attribute::{Attributes, encode, unencodable};
use crate::error::{Error, Refusal, Result};
use crate::field::{self, Names};
use crate::reply::Reason;

/// The longest name of a link in bytes: `IFNAMSIZ` without the NUL (linux/if.h).
const MAX_NAME: usize = 15;

/// `sizeof(struct nlmsghdr)`: netlink(7).
const HEADER: usize = 16;

/// A request to the kernel. It may refer to descriptors (network namespaces), which must stay open as long as
/// it lives.
#[derive(Debug, Clone)]
pub struct Message<'fd> {
    kind: u16,
    flags: NlmF,
    body: Vec<u8>,
    /// The length of the part in front of the attributes.
    fixed: usize,
    names: Names,
    what: String,
    descriptors: PhantomData<BorrowedFd<'fd>>,
}

impl Message<'_> {
    /// `fixed` is the part before the attributes, `names` their names; `what` says what the message does, and
    /// begins the text of a refusal.
    pub(crate) fn new(
        kind: impl Into<u16>,
        flags: NlmF,
        what: String,
        fixed: &dyn ToBytes,
        attributes: &Attributes,
        names: Names,
    ) -> Result<Self> {
        let mut body = encode(fixed)?;
        let fixed = body.len();
        body.extend_from_slice(attributes.checked()?);
        Ok(Message { kind: kind.into(), flags, body, fixed, names, what, descriptors: PhantomData })
    }

    /// The kernel's refusal of this message, which is number `message` of its batch.
    pub(crate) fn refusal(&self, message: usize, errno: Errno, reason: Reason) -> Refusal {
        let attributes = self.body.get(self.fixed..).unwrap_or_default();
        let offset = reason.offset.and_then(|offset| offset.checked_sub(HEADER + self.fixed));
        let field = offset.and_then(|offset| field::at(self.names, attributes, offset));
        Refusal { message, what: self.what.clone(), errno, text: reason.text, field }
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
        self.append_to(&mut wire, sequence, NlmF::ACK)?;
        Ok(wire)
    }

    /// Appends the encoded message: header, body, padding.
    pub(crate) fn append_to(&self, wire: &mut Vec<u8>, sequence: u32, flags: NlmF) -> Result<()> {
        let length = u32::try_from(HEADER + self.body.len()).map_err(|_| unencodable("message"))?;
        let flags = NlmF::REQUEST | flags | self.flags;
        wire.extend_from_slice(&length.to_ne_bytes());
        wire.extend_from_slice(&self.kind.to_ne_bytes());
        wire.extend_from_slice(&flags.bits().to_ne_bytes());
        wire.extend_from_slice(&sequence.to_ne_bytes());
        // Port id 0: the kernel fills in the socket's.
        wire.extend_from_slice(&0u32.to_ne_bytes());
        wire.extend_from_slice(&self.body);
        wire.resize(wire.len().next_multiple_of(4), 0);
        Ok(())
    }
}

/// Checks a link's name as the kernel's dev_valid_name() does, so that the error can say what is wrong.
pub(crate) fn check_name(name: &str) -> Result<&str> {
    let fits = (1..=MAX_NAME).contains(&name.len());
    let legal = |byte: u8| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b':' | 0 | 0x0b);
    if fits && name != "." && name != ".." && name.bytes().all(legal) {
        return Ok(name);
    }
    Err(Error::invalid(format_args!(
        "link name {name:?}: must be 1 to {MAX_NAME} bytes without blank, ':' and '/'"
    )))
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
}
