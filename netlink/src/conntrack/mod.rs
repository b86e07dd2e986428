//! Connections that the kernel tracks (nf_conntrack): listing and deleting them. Source:
//! linux/netfilter/nfnetlink_conntrack.h.
//!
//! An entry says where the packets of a connection go, whatever the rules have become since. Over UDP there
//! is no end that the kernel sees, and a client that goes on sending keeps its entry alive. So a program that
//! stops translating a port deletes the entries. The socket is that of nf_tables.
//!
//! ```no_run
//! use pillbox_netlink::conntrack::{self, Filter, Pattern};
//! use pillbox_netlink::nft;
//!
//! let container = "10.88.0.5".parse().expect("an address");
//! let published = Filter {
//!     protocol: Some(17),
//!     original: Pattern { destination_port: Some(5353), ..Pattern::default() },
//!     reply: Pattern { source: Some(container), source_port: Some(53), ..Pattern::default() },
//! };
//! let mut socket = nft::Socket::open()?;
//! conntrack::delete(&mut socket, &published)?;
//! assert_eq!(conntrack::list(&mut socket, &published)?, []);
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

mod filter;

pub use filter::{Filter, Pattern};

use std::net::IpAddr;

use neli::consts::nl::NlmF;
use rustix::io::Errno;

use crate::attribute::Attributes;
use crate::error::{Cause, Result};
use crate::field::{Inside, Name, Names};
use crate::message::Message;
use crate::nft::Socket;
use crate::reply::{self, Reply, be16_at, be32_at};
use crate::route::address::read_ip;
use crate::socket::MAX_BATCH;

/// `NFNL_SUBSYS_CTNETLINK` (linux/netfilter/nfnetlink.h), the upper byte of a message's type, and
/// `IPCTNL_MSG_CT_`.
const NEW: u16 = 0x100;
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;

/// `sizeof(struct nfgenmsg)`: family, version, two bytes of resource id.
const NFGENMSG: usize = 4;

/// Of the protocol: with 0, a deletion is for all families.
const VERSION: u8 = 1;

/// `CTA_`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const MARK: u16 = 8;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;

/// `CTA_TUPLE_`, `CTA_IP_`, `CTA_PROTO_`.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IPV4_SOURCE: u16 = 1;
const IPV4_DESTINATION: u16 = 2;
const IPV6_SOURCE: u16 = 3;
const IPV6_DESTINATION: u16 = 4;
const PROTOCOL: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// `AF_INET`, `AF_INET6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// What the attributes of a message are called.
const NAMES: Names = &[
    Name(ORIGINAL, "original", Inside::Nest(TUPLE)),
    Name(REPLY, "reply", Inside::Nest(TUPLE)),
    Name(ID, "id", Inside::Value),
    Name(ZONE, "zone", Inside::Value),
    Name(FILTER, "filter", Inside::Value),
];
const TUPLE: Names =
    &[Name(TUPLE_IP, "addresses", Inside::Nest(&[])), Name(TUPLE_PROTOCOL, "protocol", Inside::Nest(&[]))];

/// The packets of a connection in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Where they come from.
    pub source: IpAddr,
    /// Where they go.
    pub destination: IpAddr,
    /// The protocol over IP: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// The port that they come from, 0 for protocols without ports.
    pub source_port: u16,
    /// The port that they go to, 0 for protocols without ports.
    pub destination_port: u16,
}

/// A connection, as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A number that no other entry has, and none gets that takes its place.
    pub id: u32,
    /// The packets from the side that began it, before any translation.
    pub original: Tuple,
    /// The packets back, as they arrive. What is translated shows here: they come from where the destination
    /// was translated to.
    pub reply: Tuple,
    /// What has become of it: [`connection`](crate::nft::connection), the bits of the status.
    pub status: u32,
    /// Its mark.
    pub mark: u32,
    /// Its zone: one pair of addresses and ports may be tracked once in each.
    pub zone: u16,
    /// `CTA_TUPLE_ORIG`, by which the kernel finds it again.
    key: Vec<u8>,
}

/// The connections of the socket's namespace that a filter names.
///
/// # Errors
/// The filter has ports without a protocol, or addresses of both families; a socket error; the kernel refused
/// the request: EINVAL if it has no `nf_conntrack_netlink`.
pub fn list(socket: &mut Socket, filter: &Filter) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let of = filter.family()?;
    // The kernel takes a filter for one family only.
    for family in [IPV4, IPV6].into_iter().filter(|family| of == 0 || of == *family) {
        let question = message(GET, NlmF::DUMP, family, filter)?;
        entries
            .extend(socket.0.ask(&question, |reply| Ok(read(reply)?.filter(|entry| filter.matches(entry))))?);
    }
    Ok(entries)
}

/// Deletes the connections of the socket's namespace that a filter names. The next packet of each begins a
/// new one, to which the rules apply as they are then. By IPv6 addresses, and before Linux 6.12, it takes as
/// long as listing them.
///
/// # Errors
/// As [`list`].
pub fn delete(socket: &mut Socket, filter: &Filter) -> Result<()> {
    if filter.can_delete() {
        match socket.0.request(&[message(DELETE, NlmF::empty(), filter.family()?, filter)?]) {
            // Another kernel takes the pattern for a whole tuple, in which something is missing.
            Err(error) if matches!(error.refused(), Some(Errno::INVAL | Errno::OPNOTSUPP)) => {}
            deleted => return deleted,
        }
    }
    let entries = list(socket, filter)?;
    delete_entries(socket, &entries)
}

/// Deletes connections that were listed. One that has ended since is no error.
///
/// # Errors
/// A socket error; the kernel refused it.
pub fn delete_entries(socket: &mut Socket, entries: &[Entry]) -> Result<()> {
    for entries in entries.chunks(MAX_BATCH) {
        let batch = entries.iter().map(Entry::deletion).collect::<Result<Vec<_>>>()?;
        // What has ended meanwhile is not there.
        let mut refusals = socket.0.exchange(&batch)?.into_iter();
        if let Some(refusal) = refusals.find(|refusal| refusal.errno != Errno::NOENT) {
            return Err(Cause::Refused(refusal).into());
        }
    }
    Ok(())
}

/// A message about all that a filter names, as far as the kernel can tell.
fn message(kind: u16, flags: NlmF, family: u8, filter: &Filter) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    filter.push(&mut attributes);
    let verb = if kind == GET { "list" } else { "delete" };
    let what = format!("{verb} tracked connections");
    Message::new(kind, flags, what, &[family, VERSION, 0, 0], &attributes, NAMES)
}

impl Entry {
    /// By its id too, so that no entry is hit that has taken its place.
    fn deletion(&self) -> Result<Message<'static>> {
        let family = if self.original.source.is_ipv4() { IPV4 } else { IPV6 };
        let mut attributes = Attributes::default();
        attributes.nest_flagged(ORIGINAL, &Attributes::of_bytes(self.key.clone()));
        attributes.push_be32(ID, self.id);
        if self.zone != 0 {
            attributes.push(ZONE, &self.zone.to_be_bytes());
        }
        let Tuple { source, destination, protocol, source_port, destination_port } = self.original;
        let what = format!(
            "delete the tracked connection of protocol {protocol} from {source} port {source_port} to \
             {destination} port {destination_port}"
        );
        Message::new(DELETE, NlmF::empty(), what, &[family, VERSION, 0, 0], &attributes, NAMES)
    }
}

/// `None` for other messages, and for connections of neither family.
fn read(reply: &Reply<'_>) -> Result<Option<Entry>> {
    if reply.kind != NEW {
        return Ok(None);
    }
    let (mut original, mut back, mut key) = (None, None, Vec::new());
    let (mut id, mut status, mut mark, mut zone) = (0, 0, 0, 0);
    for attribute in reply::Attributes::after(NFGENMSG, reply.body)? {
        let (kind, payload) = attribute?;
        match kind {
            ORIGINAL => {
                original = read_tuple(payload)?;
                key = payload.to_vec();
            }
            REPLY => back = read_tuple(payload)?,
            STATUS => status = be32_at(payload, 0).unwrap_or(0),
            MARK => mark = be32_at(payload, 0).unwrap_or(0),
            ID => id = be32_at(payload, 0).unwrap_or(0),
            ZONE => zone = be16_at(payload, 0).unwrap_or(0),
            _ => {}
        }
    }
    let both = original.zip(back);
    Ok(both.map(|(original, reply)| Entry { id, original, reply, status, mark, zone, key }))
}

fn read_tuple(nest: &[u8]) -> Result<Option<Tuple>> {
    let ips = reply::find(nest, TUPLE_IP)?.unwrap_or_default();
    let ports = reply::find(nest, TUPLE_PROTOCOL)?.unwrap_or_default();
    let (mut source, mut destination) = (None, None);
    for attribute in reply::Attributes(ips) {
        let (kind, payload) = attribute?;
        match kind {
            IPV4_SOURCE | IPV6_SOURCE => source = read_ip(payload),
            IPV4_DESTINATION | IPV6_DESTINATION => destination = read_ip(payload),
            _ => {}
        }
    }
    let port = |kind| {
        reply::find(ports, kind).map(|found| found.and_then(|payload| be16_at(payload, 0)).unwrap_or(0))
    };
    let protocol = reply::find(ports, PROTOCOL)?.and_then(|payload| payload.first().copied()).unwrap_or(0);
    let (source_port, destination_port) = (port(SOURCE_PORT)?, port(DESTINATION_PORT)?);
    Ok(source.zip(destination).map(|(source, destination)| Tuple {
        source,
        destination,
        protocol,
        source_port,
        destination_port,
    }))
}

#[cfg(test)]
pub(crate) mod tests;
