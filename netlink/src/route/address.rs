//! Addresses of links. Sources: rtnetlink(7), linux/if_addr.h.
//!
//! ```no_run
//! use pillbox_netlink::address::{self, Address};
//! use pillbox_netlink::{Socket, link};
//!
//! let mut socket = Socket::open()?;
//! let index = link::index_of(&mut socket, "eth0")?;
//! let own = Address { ip: "192.0.2.7".parse().expect("an address"), prefix: 24 };
//! socket.request(&[address::add(index, own)?])?;
//! assert!(address::list(&mut socket)?.iter().any(|assigned| assigned.index == index && assigned.address == own));
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

use std::net::{IpAddr, Ipv4Addr};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Ifa, IfaF, RtAddrFamily, RtScope, Rtm};
use neli::rtnl::IfaddrmsgBuilder;

use crate::attribute::{Attributes, unencodable};
use crate::error::{Error, Result};
use crate::field::{Inside, Name, Names};
use crate::message::Message;
use crate::reply::{self, Reply, u32_at};
use crate::socket::Socket;

/// `sizeof(struct ifaddrmsg)`.
const IFADDRMSG: usize = 8;

/// What the attributes of an address message are called.
const NAMES: Names = &[
    Name(1, "address", Inside::Value),
    Name(2, "local address", Inside::Value),
    Name(4, "broadcast address", Inside::Value),
];

/// An address that a link has or gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address itself.
    pub ip: IpAddr,
    /// The length of its network's prefix in bits, at most 32 or 128.
    pub prefix: u8,
}

/// An address that a link has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The link's index.
    pub index: u32,
    /// The address.
    pub address: Address,
    /// Its scope: 0 global, 253 link, 254 host (rtnetlink(7), `RT_SCOPE_`).
    pub scope: u8,
    /// The `IFA_F_` flags (linux/if_addr.h).
    pub flags: u32,
    /// Its broadcast address, if it has one.
    pub broadcast: Option<IpAddr>,
}

impl Assigned {
    /// Whether it was set by hand and has global scope. Such addresses are kept when a link is moved.
    pub fn is_permanent_global(&self) -> bool {
        self.scope == u8::from(RtScope::Universe) && self.flags & u32::from(IfaF::PERMANENT.bits()) != 0
    }
}

/// Gives a link an address, for IPv4 with the network's broadcast address if the network has one. An IPv6
/// address is usable at once: duplicate address detection, which would delay it for a second, is off.
///
/// # Errors
/// The prefix is longer than the address.
pub fn add(index: u32, address: Address) -> Result<Message<'static>> {
    let broadcast = match address {
        Address { ip: IpAddr::V4(ip), prefix } if prefix < 31 => Some(broadcast(ip, prefix).into()),
        _ => None,
    };
    message(index, address, broadcast)
}

/// Gives a link an address that another link has or had, with the same broadcast address or none.
///
/// # Errors
/// As [`add`].
pub fn add_as_assigned(index: u32, assigned: &Assigned) -> Result<Message<'static>> {
    message(index, assigned.address, assigned.broadcast)
}

/// Takes an address from a link.
///
/// # Errors
/// As [`add`].
pub fn delete(index: u32, address: Address) -> Result<Message<'static>> {
    let Address { ip, prefix } = address;
    let mut attributes = Attributes::default();
    attributes.push_ip(Ifa::Local, ip);
    attributes.push_ip(Ifa::Address, ip);
    let what = format!("delete address {ip}/{prefix} of link {index}");
    encode(Rtm::Deladdr, NlmF::empty(), what, index, address, &attributes)
}

fn message(index: u32, address: Address, broadcast: Option<IpAddr>) -> Result<Message<'static>> {
    let Address { ip, prefix } = address;
    let mut attributes = Attributes::default();
    attributes.push_ip(Ifa::Local, ip);
    attributes.push_ip(Ifa::Address, ip);
    if let Some(broadcast) = broadcast {
        attributes.push_ip(Ifa::Broadcast, broadcast);
    }
    let what = format!("add address {ip}/{prefix} to link {index}");
    encode(Rtm::Newaddr, NlmF::CREATE | NlmF::EXCL, what, index, address, &attributes)
}

fn encode(
    kind: Rtm,
    flags: NlmF,
    what: String,
    index: u32,
    address: Address,
    attributes: &Attributes,
) -> Result<Message<'static>> {
    check("address", address)?;
    let Address { ip, prefix } = address;
    let fixed = IfaddrmsgBuilder::default()
        .ifa_family(family(ip))
        .ifa_prefixlen(prefix)
        .ifa_flags(if ip.is_ipv6() { IfaF::NODAD } else { IfaF::empty() })
        .ifa_scope(RtScope::Universe)
        .ifa_index(index)
        .build()
        .map_err(|_| unencodable("address message"))?;
    Message::new(kind, flags, what, &fixed, attributes, NAMES)
}

/// All addresses in the socket's namespace, of both families.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket) -> Result<Vec<Assigned>> {
    let fixed = IfaddrmsgBuilder::default()
        .ifa_family(RtAddrFamily::Unspecified)
        .ifa_prefixlen(0)
        .ifa_scope(RtScope::Universe)
        .ifa_index(0)
        .build()
        .map_err(|_| unencodable("address message"))?;
    let none = Attributes::default();
    let question =
        Message::new(Rtm::Getaddr, NlmF::DUMP, "list addresses".to_string(), &fixed, &none, NAMES)?;
    socket.ask(&question, read_assigned)
}

pub(crate) fn read_assigned(reply: &Reply<'_>) -> Result<Option<Assigned>> {
    if reply.kind != u16::from(Rtm::Newaddr) {
        return Ok(None);
    }
    let attributes = reply::Attributes::after(IFADDRMSG, reply.body)?;
    let &[_, prefix, short_flags, scope, ..] = reply.body else {
        return Err(Error::malformed("an address message is shorter than its fixed part"));
    };
    let (mut flags, mut local, mut remote, mut broadcast) = (u32::from(short_flags), None, None, None);
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match Ifa::from(kind) {
            Ifa::Local => local = read_ip(payload),
            Ifa::Address => remote = read_ip(payload),
            Ifa::Broadcast => broadcast = read_ip(payload),
            Ifa::Flags => flags = u32_at(payload, 0).unwrap_or(flags),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL (linux/if_addr.h).
    let Some(ip) = local.or(remote) else { return Ok(None) };
    let index = u32_at(reply.body, 4).unwrap_or(0);
    Ok(Some(Assigned { index, address: Address { ip, prefix }, scope, flags, broadcast }))
}

pub(crate) fn read_ip(payload: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(payload).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(payload).map(IpAddr::from)).ok()
}

fn broadcast(ip: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from(u32::from(ip) | host_bits)
}

/// Checks that a prefix fits its address, which belongs to `what`.
pub(super) fn check(what: &str, address: Address) -> Result<()> {
    let Address { ip, prefix } = address;
    let width = width(ip);
    if prefix > width {
        return Err(Error::invalid(format_args!("{what} {ip}/{prefix}: the prefix must be at most {width}")));
    }
    Ok(())
}

/// The length of an address in bits.
pub(super) fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

pub(super) fn family(ip: IpAddr) -> RtAddrFamily {
    if ip.is_ipv4() { RtAddrFamily::Inet } else { RtAddrFamily::Inet6 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    #[test]
    fn the_broadcast_address_ends_the_network() {
        let ip = Ipv4Addr::new(10, 88, 3, 7);
        for (prefix, expected) in
            [(16, [10, 88, 255, 255]), (24, [10, 88, 3, 255]), (30, [10, 88, 3, 7]), (0, [255; 4])]
        {
            assert_eq!(broadcast(ip, prefix), Ipv4Addr::from(expected), "{prefix}");
        }
    }

    #[test]
    fn a_prefix_longer_than_the_address_is_refused() {
        for (ip, prefix) in [("10.0.0.1", 33), ("::1", 129)] {
            let address = Address { ip: ip.parse().unwrap(), prefix };
            assert!(
                matches!(add(1, address), Err(error) if matches!(error.cause(), Cause::Invalid(_))),
                "{ip}"
            );
        }
    }
}
