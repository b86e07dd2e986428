//! Reads replies. Every length is checked against what was received, and nothing is copied.
//!
//! Layouts: linux/netlink.h (nlmsghdr, nlmsgerr, nlattr), in the machine's byte order, aligned to four bytes.

use rustix::io::Errno;

use crate::attribute::NESTED;
use crate::error::{Error, Result};

/// `sizeof(struct nlmsghdr)`.
const HEADER: usize = 16;

/// `NLMSG_DONE`: the end of a dump. Its body is a code as in an acknowledgement, without the request after
/// it.
const DONE: u16 = 3;

/// `NLM_F_CAPPED`: the reply repeats only the request's header, not its body.
const CAPPED: u16 = 0x100;

/// `NLM_F_ACK_TLVS`: attributes follow the repeated request.
const ACK_TLVS: u16 = 0x200;

/// `NLMSGERR_ATTR_MSG`: the kernel's own text, a string.
const ERROR_TEXT: u16 = 1;

/// `NLMSGERR_ATTR_OFFS`: which byte of the request is meant, counted from its header.
const ERROR_OFFSET: u16 = 2;

/// `NLA_TYPE_MASK`: an attribute's type without the flags for nesting and network byte order.
const TYPE_MASK: u16 = 0x3fff;

/// One message of a reply.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub body: &'a [u8],
}

/// The kernel's verdict on one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Refused(Errno, Reason),
}

/// What the kernel adds to an error number, where it does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reason {
    /// In words.
    pub text: Option<String>,
    /// The byte of the request that it means.
    pub offset: Option<usize>,
}

/// The messages of one datagram.
pub(crate) struct Replies<'a>(pub &'a [u8]);

impl<'a> Iterator for Replies<'a> {
    type Item = Result<Reply<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((message, length)) = split_reply(self.0) else {
            self.0 = &[];
            return Some(Err(Error::malformed("a message's length exceeds what was received")));
        };
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(Ok(message))
    }
}

fn split_reply(bytes: &[u8]) -> Option<(Reply<'_>, usize)> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER..length)?;
    let reply =
        Reply { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, sequence: u32_at(bytes, 8)?, body };
    Some((reply, length))
}

/// The attributes of a message or of a nest: type and payload.
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes after a message's fixed part of `fixed` bytes.
    pub(crate) fn after(fixed: usize, body: &'a [u8]) -> Result<Self> {
        body.get(align(fixed)..)
            .map(Attributes)
            .ok_or_else(|| Error::malformed("a message is shorter than its fixed part"))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((kind, payload)) = split_attribute(self.0) else {
            self.0 = &[];
            return Some(Err(Error::malformed("an attribute's length exceeds its message")));
        };
        self.0 = self.0.get(align(payload.len() + 4)..).unwrap_or_default();
        Some(Ok((kind & TYPE_MASK, payload)))
    }
}

/// The payload of the first attribute of that type.
pub(crate) fn find(attributes: &[u8], wanted: impl Into<u16>) -> Result<Option<&[u8]>> {
    let wanted = wanted.into();
    for attribute in Attributes(attributes) {
        let (kind, payload) = attribute?;
        if kind == wanted {
            return Ok(Some(payload));
        }
    }
    Ok(None)
}

/// Whether the kernel lists just the attributes that were sent to it: it orders them as it likes, and flags
/// no nests.
pub(crate) fn is_same(sent: &[u8], listed: &[u8]) -> bool {
    let mut left = Positions::new(listed).count();
    for (kind, payload, start) in Positions::new(sent) {
        let is_nest = u16_at(sent, start + 2).is_some_and(|kind| kind & NESTED != 0);
        match find(listed, kind) {
            Ok(Some(found)) if found == payload || is_nest && is_same(payload, found) => {
                left = left.wrapping_sub(1)
            }
            _ => return false,
        }
    }
    left == 0
}

/// As [`Attributes`], with where each begins; it ends at the first whose length does not fit.
pub(crate) struct Positions<'a> {
    attributes: Attributes<'a>,
    length: usize,
}

impl<'a> Positions<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Positions { attributes: Attributes(bytes), length: bytes.len() }
    }
}

impl<'a> Iterator for Positions<'a> {
    type Item = (u16, &'a [u8], usize);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.length - self.attributes.0.len();
        let (kind, payload) = self.attributes.next()?.ok()?;
        Some((kind, payload, start))
    }
}

fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let payload = bytes.get(4..usize::from(u16_at(bytes, 0)?))?;
    Some((u16_at(bytes, 2)?, payload))
}

/// Reads an `NLMSG_ERROR`, which acknowledgements are as well, or an `NLMSG_DONE`.
pub(crate) fn read_verdict(reply: &Reply<'_>) -> Result<Verdict> {
    let code = u32_at(reply.body, 0)
        .ok_or_else(|| Error::malformed("an acknowledgement without a code"))?
        .cast_signed();
    if code == 0 {
        return Ok(Verdict::Accepted);
    }
    // MAX_ERRNO in include/linux/err.h: anything else is not an errno.
    if !(-4095..0).contains(&code) {
        return Err(Error::malformed("an acknowledgement's code is no error number"));
    }
    // The reason is optional: if its frame is wrong, the errno still counts.
    Ok(Verdict::Refused(Errno::from_raw_os_error(-code), read_reason(reply).unwrap_or_default()))
}

fn read_reason(reply: &Reply<'_>) -> Option<Reason> {
    let &Reply { kind, flags, body, .. } = reply;
    if flags & ACK_TLVS == 0 {
        return None;
    }
    let repeated = match kind {
        DONE => 0,
        _ if flags & CAPPED != 0 => HEADER,
        _ => usize::try_from(u32_at(body, 4)?).ok()?,
    };
    let mut reason = Reason::default();
    for (kind, payload) in Attributes(body.get(4usize.checked_add(align(repeated))?..)?).flatten() {
        match kind {
            ERROR_TEXT => reason.text = Some(read_string(payload)),
            ERROR_OFFSET => {
                reason.offset = u32_at(payload, 0).and_then(|offset| usize::try_from(offset).ok())
            }
            _ => {}
        }
    }
    Some(reason)
}

/// A string attribute without its NUL; bytes that are not UTF-8 are replaced.
pub(crate) fn read_string(payload: &[u8]) -> String {
    let end = payload.iter().position(|&byte| byte == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

/// The 64-bit number at `offset`, which is in network byte order.
pub(crate) fn be64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 16-bit number at `offset`, which is in network byte order.
pub(crate) fn be16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 32-bit number at `offset`, which is in network byte order.
pub(crate) fn be32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 32-bit number at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The 16-bit number at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// A string attribute without its NUL, as it stands.
pub(crate) fn text(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(&[0]).unwrap_or(payload)
}

/// Rounds up to four bytes, the alignment of messages and attributes.
pub(crate) fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn verdict(kind: u16, flags: u16, body: &[u8]) -> Result<Verdict> {
        read_verdict(&Reply { kind, flags, sequence: 7, body })
    }

    fn refusal(capped: bool) -> (u16, Vec<u8>) {
        let mut body = (-22i32).to_ne_bytes().to_vec();
        let request = reply(16, 5, &[9; 16]);
        body.extend(if capped { &request[..HEADER] } else { &request[..] });
        body.extend(12u16.to_ne_bytes());
        body.extend(ERROR_TEXT.to_ne_bytes());
        body.extend(b"No way!\0");
        for word in [8u16, ERROR_OFFSET] {
            body.extend(word.to_ne_bytes());
        }
        body.extend(36u32.to_ne_bytes());
        (ACK_TLVS | if capped { CAPPED } else { 0 }, body)
    }

    fn expected() -> Verdict {
        let reason = Reason { text: Some("No way!".to_string()), offset: Some(36) };
        Verdict::Refused(Errno::INVAL, reason)
    }

    #[test]
    fn the_kernels_text_is_found_behind_either_form_of_the_request() {
        for capped in [true, false] {
            let (flags, body) = refusal(capped);
            assert_eq!(verdict(2, flags, &body).unwrap(), expected());
        }
        let mut done = (-22i32).to_ne_bytes().to_vec();
        done.extend(&refusal(true).1[4 + HEADER..]);
        assert_eq!(verdict(DONE, ACK_TLVS, &done).unwrap(), expected());
    }

    #[test]
    fn a_cut_reply_is_an_error_and_never_a_panic() {
        let (flags, body) = refusal(false);
        for length in 0..body.len() {
            let _ = verdict(2, flags, &body[..length]);
        }
        let whole = reply(2, flags, &body);
        for length in 1..whole.len() {
            assert!(Replies(&whole[..length]).next().unwrap().is_err(), "{length}");
        }
        assert_eq!(Replies(&whole).count(), 1);
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let mut short = reply(2, 0, &[0; 4]);
        short[..4].copy_from_slice(&15u32.to_ne_bytes());
        assert!(Replies(&short).next().unwrap().is_err());
        short[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(Replies(&short).next().unwrap().is_err());
        for length in [0u16, 3, 9, u16::MAX] {
            let mut attribute = [0u8; 8];
            attribute[..2].copy_from_slice(&length.to_ne_bytes());
            assert!(Attributes(&attribute).next().unwrap().is_err(), "{length}");
        }
        assert!(Attributes::after(16, &[0; 12]).is_err());
        assert!(verdict(2, 0, &1i32.to_ne_bytes()).is_err());
        assert!(verdict(2, 0, &i32::MIN.to_ne_bytes()).is_err());
    }

    /// Seeded: the same inputs in every run.
    #[test]
    fn mutated_replies_end_and_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (flags, body) = refusal(false);
        let mut seed = reply(2, flags, &body);
        seed.extend(reply(16, 2, &[4; 64]));
        for _ in 0..200_000 {
            let mut bytes = seed.clone();
            for _ in 0..1 + random() % 6 {
                let at = usize::try_from(random()).unwrap() % bytes.len();
                bytes[at] = random().to_le_bytes()[0];
            }
            bytes.truncate(usize::try_from(random()).unwrap() % (bytes.len() + 1));
            let replies = Replies(&bytes).take(1000).flatten();
            let read = |reply: &Reply<'_>| {
                crate::route::link::tests::read_anything(reply);
                crate::nft::read_anything(reply);
                crate::conntrack::tests::read_anything(reply);
            };
            let count = replies.inspect(read).count();
            assert!(count <= bytes.len() / HEADER);
        }
    }
}
