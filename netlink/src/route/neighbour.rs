//! Neighbours: which hardware address an IP address has on a link (ARP, neighbour discovery). Sources:
//! rtnetlink(7), linux/neighbour.h.
//!
//! ```no_run
//! use pillbox_netlink::neighbour::{self, Neighbour};
//! use pillbox_netlink::{Socket, link};
//!
//! let mut socket = Socket::open()?;
//! let index = link::index_of(&mut socket, "br0")?;
//! let ip = "192.0.2.7".parse().expect("an address");
//! socket.request(&[neighbour::set(&Neighbour::permanent(index, ip, [2, 0, 0, 0, 0, 7]))?])?;
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

use std::net::IpAddr;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Nda, Ntf, Nud, RtAddrFamily, Rtm, Rtn};
use neli::rtnl::{Ndmsg, NdmsgBuilder};

use super::address::{family, read_ip};
use super::link::MacAddress;
use crate::attribute::{Attributes, unencodable};
use crate::error::{Error, Result};
use crate::field::{Inside, Name, Names};
use crate::message::Message;
use crate::reply::{self, Reply, u16_at, u32_at};
use crate::socket::Socket;

/// `sizeof(struct ndmsg)`.
const NDMSG: usize = 12;

/// The family of a bridge's table (linux/socket.h).
const AF_BRIDGE: u8 = 7;

/// What the attributes of a neighbour message are called.
const NAMES: Names = &[Name(1, "address", Inside::Value), Name(2, "hardware address", Inside::Value)];

/// A neighbour on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The link's index.
    pub index: u32,
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address, where it is known and an Ethernet address; a proxy entry has none.
    pub address: Option<MacAddress>,
    /// What is known of it: the `NUD_` bits (rtnetlink(7)), 128 permanent, 2 reachable, 4 stale, 32 failed.
    pub state: u16,
    /// The link answers for that address (proxy ARP for one address).
    pub proxy: bool,
    /// It is a router.
    pub router: bool,
}

impl Neighbour {
    /// One that stands until it is deleted.
    pub const fn permanent(index: u32, ip: IpAddr, address: MacAddress) -> Self {
        Neighbour {
            index,
            ip,
            address: Some(address),
            state: Nud::PERMANENT.bits(),
            proxy: false,
            router: false,
        }
    }

    /// An address that the link answers for.
    pub const fn proxy(index: u32, ip: IpAddr) -> Self {
        Neighbour { index, ip, address: None, state: Nud::PERMANENT.bits(), proxy: true, router: false }
    }

    /// Whether it was set by hand.
    pub fn is_permanent(&self) -> bool {
        self.state & Nud::PERMANENT.bits() != 0
    }
}

/// Adds a neighbour.
///
/// # Errors
/// Only for lack of memory.
pub fn add(neighbour: &Neighbour) -> Result<Message<'static>> {
    message(Rtm::Newneigh, NlmF::CREATE | NlmF::EXCL, "add", neighbour)
}

/// Adds a neighbour, or changes the one with its address.
///
/// # Errors
/// Only for lack of memory.
pub fn set(neighbour: &Neighbour) -> Result<Message<'static>> {
    message(Rtm::Newneigh, NlmF::CREATE | NlmF::REPLACE, "set", neighbour)
}

/// Deletes a neighbour; only link, address and `proxy` count.
///
/// # Errors
/// Only for lack of memory.
pub fn delete(neighbour: &Neighbour) -> Result<Message<'static>> {
    message(Rtm::Delneigh, NlmF::empty(), "delete", neighbour)
}

/// Tells a bridge that a hardware address is behind one of its ports, and nowhere else, as long as the port
/// is there.
///
/// # Errors
/// Only for lack of memory.
pub fn put_behind(port: u32, address: MacAddress) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push(Nda::Lladdr, &address);
    let fixed = fixed_part(RtAddrFamily::from(AF_BRIDGE), port, Nud::REACHABLE | Nud::NOARP, Ntf::MASTER)?;
    let what = format!("put a hardware address behind port {port}");
    Message::new(Rtm::Newneigh, NlmF::CREATE | NlmF::REPLACE, what, &fixed, &attributes, NAMES)
}

/// All neighbours that the socket's namespace knows, of both families, without its proxy entries.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket) -> Result<Vec<Neighbour>> {
    dump(socket, Ntf::empty())
}

/// The addresses that links answer for.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list_proxies(socket: &mut Socket) -> Result<Vec<Neighbour>> {
    dump(socket, Ntf::PROXY)
}

fn dump(socket: &mut Socket, flags: Ntf) -> Result<Vec<Neighbour>> {
    let fixed = fixed_part(RtAddrFamily::Unspecified, 0, Nud::NONE, flags)?;
    let none = Attributes::default();
    let what = "list neighbours".to_string();
    let question = Message::new(Rtm::Getneigh, NlmF::DUMP, what, &fixed, &none, NAMES)?;
    socket.ask(&question, read_neighbour)
}

fn message(kind: Rtm, flags: NlmF, verb: &str, neighbour: &Neighbour) -> Result<Message<'static>> {
    let Neighbour { index, ip, address, state, proxy, router } = *neighbour;
    let mut attributes = Attributes::default();
    attributes.push_ip(Nda::Dst, ip);
    if let Some(address) = address {
        attributes.push(Nda::Lladdr, &address);
    }
    let mut bits = Ntf::empty();
    bits.set(Ntf::PROXY, proxy);
    bits.set(Ntf::ROUTER, router);
    let fixed = fixed_part(family(ip), index, Nud::from_bits_retain(state), bits)?;
    let what = format!("{verb} neighbour {ip} on link {index}");
    Message::new(kind, flags, what, &fixed, &attributes, NAMES)
}

fn fixed_part(family: RtAddrFamily, index: u32, state: Nud, flags: Ntf) -> Result<Ndmsg> {
    NdmsgBuilder::default()
        .ndm_family(family)
        .ndm_index(index.cast_signed())
        .ndm_state(state)
        .ndm_flags(flags)
        .ndm_type(Rtn::Unspec)
        .build()
        .map_err(|_| unencodable("neighbour message"))
}

pub(crate) fn read_neighbour(reply: &Reply<'_>) -> Result<Option<Neighbour>> {
    if reply.kind != u16::from(Rtm::Newneigh) {
        return Ok(None);
    }
    let attributes = reply::Attributes::after(NDMSG, reply.body)?;
    let (Some(index), Some(state), Some(&flags)) =
        (u32_at(reply.body, 4), u16_at(reply.body, 8), reply.body.get(10))
    else {
        return Err(Error::malformed("a neighbour message is shorter than its fixed part"));
    };
    let (mut ip, mut address) = (None, None);
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match Nda::from(kind) {
            Nda::Dst => ip = read_ip(payload),
            Nda::Lladdr => address = payload.try_into().ok(),
            _ => {}
        }
    }
    let flags = Ntf::from_bits_retain(flags);
    let (proxy, router) = (flags.contains(Ntf::PROXY), flags.contains(Ntf::ROUTER));
    // Other families (a bridge's table) have no IP address.
    Ok(ip.map(|ip| Neighbour { index, ip, address, state, proxy, router }))
}
