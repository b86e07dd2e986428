//! Pairs of virtual Ethernet links. Source: linux/veth.h.

use std::os::fd::{AsRawFd, BorrowedFd};

use neli::consts::rtnl::{Ifla, IflaInfo};

use super::MacAddress;
use super::change::{State, link_message, make};
use crate::attribute::Attributes;
use crate::error::Result;
use crate::message::{Message, check_name};

/// `VETH_INFO_PEER` (linux/veth.h): an ifinfomsg and the attributes of the other end.
const VETH_INFO_PEER: u16 = 1;

/// A pair of virtual Ethernet links to make. The peer is not set up: the kernel refuses that at creation
/// (ENOTCONN).
#[derive(Debug, Clone, Copy)]
pub struct Veth<'fd, 'a> {
    /// This end's name.
    pub name: &'a str,
    /// This end's index, if the caller chooses it.
    pub index: Option<u32>,
    /// This end's hardware address; without one the kernel makes one up.
    pub address: Option<MacAddress>,
    /// The largest packet in bytes, at both ends.
    pub mtu: Option<u32>,
    /// The index of the bridge of which this end becomes a port.
    pub master: Option<u32>,
    /// Whether this end is set up at once.
    pub up: bool,
    /// How many queues each end has for either direction; without a number the kernel makes one for each
    /// processor, which takes it time and memory, and serves only XDP and interfaces with NAPI.
    pub queues: Option<u32>,
    /// The other end.
    pub peer: Peer<'fd, 'a>,
}

impl<'fd, 'a> Veth<'fd, 'a> {
    /// A pair with nothing special; this end is set up.
    pub fn new(name: &'a str, peer: Peer<'fd, 'a>) -> Veth<'fd, 'a> {
        Veth { name, index: None, address: None, mtu: None, master: None, up: true, queues: None, peer }
    }
}

/// The other end of a [`Veth`].
#[derive(Debug, Clone, Copy)]
pub struct Peer<'fd, 'a> {
    /// Its name.
    pub name: &'a str,
    /// Its index; the kernel only honours it if this end's is chosen too.
    pub index: Option<u32>,
    /// Its hardware address; without one the kernel makes one up.
    pub address: Option<MacAddress>,
    /// The network namespace in which it is made; without one, the socket's.
    pub namespace: Option<BorrowedFd<'fd>>,
}

/// Makes a pair of virtual Ethernet links.
///
/// # Errors
/// A name is not one that a link can have.
pub fn add_veth<'fd>(veth: &Veth<'fd, '_>) -> Result<Message<'fd>> {
    let Veth { name, index, address, mtu, master, up, queues, peer } = *veth;
    let mut data = Attributes::default();
    data.nest_message(
        VETH_INFO_PEER,
        &link_message(peer.index.unwrap_or(0), State::AsItIs)?,
        &peer_attributes(&peer, mtu, queues)?,
    )?;
    let mut info = Attributes::default();
    info.push_text(IflaInfo::Kind, "veth");
    info.nest(IflaInfo::Data, &data);

    let mut attributes = Attributes::default();
    attributes.push_text(Ifla::Ifname, check_name(name)?);
    if let Some(address) = address {
        attributes.push(Ifla::Address, &address);
    }
    if let Some(mtu) = mtu {
        attributes.push_u32(Ifla::Mtu, mtu);
    }
    if let Some(master) = master {
        attributes.push_u32(Ifla::Master, master);
    }
    push_queues(&mut attributes, queues);
    attributes.nest(Ifla::Linkinfo, &info);
    let state = if up { State::Up } else { State::AsItIs };
    make(format!("add veth {name} with peer {}", peer.name), index, state, attributes)
}

fn peer_attributes(peer: &Peer<'_, '_>, mtu: Option<u32>, queues: Option<u32>) -> Result<Attributes> {
    // The index is in the fixed part.
    let Peer { name, index: _, address, namespace } = *peer;
    let mut attributes = Attributes::default();
    attributes.push_text(Ifla::Ifname, check_name(name)?);
    if let Some(mtu) = mtu {
        attributes.push_u32(Ifla::Mtu, mtu);
    }
    if let Some(address) = address {
        attributes.push(Ifla::Address, &address);
    }
    if let Some(namespace) = namespace {
        attributes.push(Ifla::NetNsFd, &namespace.as_raw_fd().to_ne_bytes());
    }
    push_queues(&mut attributes, queues);
    Ok(attributes)
}

fn push_queues(attributes: &mut Attributes, queues: Option<u32>) {
    if let Some(queues) = queues {
        attributes.push_u32(Ifla::NumTxQueues, queues);
        attributes.push_u32(Ifla::NumRxQueues, queues);
    }
}
