//! Messages of nf_tables: their numbers, their fixed part, what their attributes are called.

use neli::consts::nl::NlmF;

use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::field::{Inside, Name, Names};
use crate::message::Message;
use crate::reply::{self, Reply};

/// `NFNL_SUBSYS_NFTABLES` (linux/netfilter/nfnetlink.h): the upper byte of a message's type.
pub(super) const SUBSYSTEM: u16 = 10;

/// `sizeof(struct nfgenmsg)`: family, version, two bytes of resource id.
pub(super) const NFGENMSG: usize = 4;

/// The longest name in bytes: `NFT_NAME_MAXLEN` without the NUL.
const MAX_NAME: usize = 255;

/// What a message is about and what is to happen: `NFT_MSG_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    NewTable = 0,
    GetTable = 1,
    DeleteTable = 2,
    NewChain = 3,
    GetChain = 4,
    DeleteChain = 5,
    NewRule = 6,
    GetRule = 7,
    DeleteRule = 8,
    NewSet = 9,
    GetSet = 10,
    DeleteSet = 11,
    NewElement = 12,
    GetElement = 13,
    DeleteElement = 14,
    NewGeneration = 15,
    GetGeneration = 16,
}

/// The packets that a table sees (`NFPROTO_`, linux/netfilter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// ARP.
    Arp = 3,
    /// What comes in by a link, or goes out.
    Netdev = 5,
    /// What passes a bridge.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

impl Family {
    const ALL: [(Family, &'static str); 6] = [
        (Family::Inet, "inet"),
        (Family::Ip, "ip"),
        (Family::Arp, "arp"),
        (Family::Netdev, "netdev"),
        (Family::Bridge, "bridge"),
        (Family::Ip6, "ip6"),
    ];

    /// As nft(8) calls it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(family, _)| *family == self).map_or("", |(_, name)| name)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(family, _)| *family as u8 == number).map(|(family, _)| *family)
    }
}

/// Something that the kernel has listed, and the number by which it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Its handle, by which rules are deleted and replaced.
    pub handle: u64,
    /// What was listed.
    pub value: T,
}

pub(super) fn message(
    kind: Kind,
    flags: NlmF,
    family: Family,
    what: String,
    attributes: &Attributes,
) -> Result<Message<'static>> {
    Message::new(number(kind), flags, what, &fixed(Some(family)), attributes, names(kind))
}

/// A message of all families.
pub(super) fn unspecific(kind: Kind, flags: NlmF, what: String) -> Result<Message<'static>> {
    Message::new(number(kind), flags, what, &fixed(None), &Attributes::default(), names(kind))
}

fn number(kind: Kind) -> u16 {
    SUBSYSTEM << 8 | u16::from(kind as u8)
}

fn fixed(family: Option<Family>) -> [u8; NFGENMSG] {
    [family.map_or(0, |family| family as u8), 0, 0, 0]
}

/// The attributes of a reply, if it is of that kind.
pub(super) fn attributes<'a>(reply: &Reply<'a>, kind: Kind) -> Result<Option<reply::Attributes<'a>>> {
    if reply.kind != number(kind) {
        return Ok(None);
    }
    reply::Attributes::after(NFGENMSG, reply.body).map(Some)
}

/// The family with that number.
pub(super) fn family_of(number: u32) -> Option<Family> {
    Family::from_number(u8::try_from(number).ok()?)
}

/// The family of a reply.
pub(super) fn family(reply: &Reply<'_>) -> Option<Family> {
    Family::from_number(*reply.body.first()?)
}

/// Checks the name of `what`.
pub(super) fn check_name<'a>(what: &str, name: &'a str) -> Result<&'a str> {
    if (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0') {
        return Ok(name);
    }
    Err(Error::invalid(format_args!("{what} {name:?}: must be 1 to {MAX_NAME} bytes without NUL")))
}

fn names(kind: Kind) -> Names {
    match kind {
        Kind::NewTable | Kind::GetTable | Kind::DeleteTable => TABLE,
        Kind::NewChain | Kind::GetChain | Kind::DeleteChain => CHAIN,
        Kind::NewRule | Kind::GetRule | Kind::DeleteRule => RULE,
        Kind::NewSet | Kind::GetSet | Kind::DeleteSet => SET,
        Kind::NewElement | Kind::GetElement | Kind::DeleteElement => ELEMENTS,
        Kind::NewGeneration | Kind::GetGeneration => &[],
    }
}

const TABLE: Names = &[
    Name(1, "name", Inside::Value),
    Name(2, "flags", Inside::Value),
    Name(4, "handle", Inside::Value),
    Name(6, "userdata", Inside::Value),
];

const CHAIN: Names = &[
    Name(1, "table", Inside::Value),
    Name(2, "handle", Inside::Value),
    Name(3, "name", Inside::Value),
    Name(4, "hook", Inside::Nest(HOOK)),
    Name(5, "policy", Inside::Value),
    Name(7, "type", Inside::Value),
    Name(12, "userdata", Inside::Value),
];

const HOOK: Names =
    &[Name(1, "number", Inside::Value), Name(2, "priority", Inside::Value), Name(3, "device", Inside::Value)];

const RULE: Names = &[
    Name(1, "table", Inside::Value),
    Name(2, "chain", Inside::Value),
    Name(3, "handle", Inside::Value),
    Name(4, "expressions", Inside::Labelled(EXPRESSION)),
    Name(6, "position", Inside::Value),
    Name(7, "userdata", Inside::Value),
];

const EXPRESSION: Names = &[Name(1, "name", Inside::Value), Name(2, "data", Inside::Nest(&[]))];

const SET: Names = &[
    Name(1, "table", Inside::Value),
    Name(2, "name", Inside::Value),
    Name(3, "flags", Inside::Value),
    Name(4, "key type", Inside::Value),
    Name(5, "key length", Inside::Value),
    Name(6, "data type", Inside::Value),
    Name(7, "data length", Inside::Value),
    Name(9, "description", Inside::Nest(&[])),
    Name(13, "userdata", Inside::Value),
    Name(16, "handle", Inside::Value),
];

const ELEMENTS: Names = &[
    Name(1, "table", Inside::Value),
    Name(2, "set", Inside::Value),
    Name(3, "elements", Inside::List(ELEMENT)),
];

const ELEMENT: Names = &[
    Name(1, "key", Inside::Nest(&[])),
    Name(2, "data", Inside::Nest(&[])),
    Name(3, "flags", Inside::Value),
    Name(4, "timeout", Inside::Value),
    Name(6, "userdata", Inside::Value),
    Name(10, "last key", Inside::Nest(&[])),
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::nft::{chain, element, outline, rule, set, socket, table};

    /// Reads a reply as everything that it could be; only that it returns matters.
    pub(crate) fn read_anything(reply: &Reply<'_>) {
        let as_kind = |kind| Reply { kind: number(kind), ..*reply };
        let _ = table::read(&as_kind(Kind::NewTable));
        let _ = chain::read(&as_kind(Kind::NewChain));
        let _ = rule::read(&as_kind(Kind::NewRule));
        let _ = outline::read(&as_kind(Kind::NewRule), "", &[]);
        let _ = set::read(&as_kind(Kind::NewSet));
        let _ = socket::read_generation(&as_kind(Kind::NewGeneration));
        if let Ok(Some(elements)) = element::read(&as_kind(Kind::NewElement)) {
            let _ = element::pair(elements);
        }
    }
}
