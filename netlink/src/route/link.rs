//! Network links: making, setting up, moving, listing. Sources: rtnetlink(7), linux/if_link.h, linux/veth.h.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Iff, Ifla, IflaInfo, RtAddrFamily, Rtm};
use neli::rtnl::{Ifinfomsg, IfinfomsgBuilder};

use crate::error::{Error, Result};
use crate::message::{Attributes, Message, check_name, unencodable};
use crate::reply::{self, Reply, read_string, u32_at};
use crate::socket::Socket;

/// `VETH_INFO_PEER` (linux/veth.h): an ifinfomsg and the attributes of the other end.
const VETH_INFO_PEER: u16 = 1;

/// `IFLA_BRPORT_MODE` (linux/if_link.h): hairpin, one byte.
const BRPORT_MODE: u16 = 4;

/// `sizeof(struct ifinfomsg)`.
const IFINFOMSG: usize = 16;

/// A link's hardware address.
pub type MacAddress = [u8; 6];

/// How to name a link to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// By its index.
    Index(u32),
    /// By its name, 1 to 15 bytes.
    Name(&'a str),
}

impl From<u32> for Which<'_> {
    fn from(index: u32) -> Self {
        Which::Index(index)
    }
}

impl<'a> From<&'a str> for Which<'a> {
    fn from(name: &'a str) -> Self {
        Which::Name(name)
    }
}

impl fmt::Display for Which<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Index(index) => write!(f, "{index}"),
            Which::Name(name) => f.write_str(name),
        }
    }
}

/// A link, as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index, above 0.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The `IFF_` flags (netdevice(7)); see [`Link::is_up`].
    pub flags: u32,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// The hardware address, where it is an Ethernet address.
    pub address: Option<MacAddress>,
    /// The index of the bridge (or bond) of which it is a port.
    pub master: Option<u32>,
    /// The kind of a virtual link: `veth`, `bridge`.
    pub kind: Option<String>,
}

impl Link {
    /// Whether it is set up (`IFF_UP`), which does not mean that it has a carrier.
    pub fn is_up(&self) -> bool {
        self.flags & Iff::UP.bits() != 0
    }
}

/// A bridge to make.
#[derive(Debug, Clone, Copy)]
pub struct Bridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its index, if the caller chooses it so that the same batch can use it.
    pub index: Option<u32>,
    /// Its hardware address. Without one the bridge has the lowest one of its ports, which changes with them.
    pub address: Option<MacAddress>,
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
}

/// A pair of virtual Ethernet links to make. This end is set up, but not the peer: the kernel refuses that at
/// creation (ENOTCONN).
#[derive(Debug, Clone, Copy)]
pub struct Veth<'fd, 'a> {
    /// This end's name.
    pub name: &'a str,
    /// This end's index, if the caller chooses it.
    pub index: Option<u32>,
    /// The largest packet in bytes, at both ends.
    pub mtu: Option<u32>,
    /// The index of the bridge of which this end becomes a port.
    pub master: Option<u32>,
    /// The other end.
    pub peer: Peer<'fd, 'a>,
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

/// Sets a link up.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_up<'a>(which: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let which = which.into();
    change(Rtm::Setlink, NlmF::empty(), format!("set link {which} up"), which, true, Attributes::default())
}

/// Sets the largest packet, in bytes.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_mtu<'a>(which: impl Into<Which<'a>>, mtu: u32) -> Result<Message<'static>> {
    let which = which.into();
    let mut attributes = Attributes::default();
    attributes.push_u32(Ifla::Mtu, mtu)?;
    change(
        Rtm::Setlink,
        NlmF::empty(),
        format!("set the MTU of link {which} to {mtu}"),
        which,
        false,
        attributes,
    )
}

/// Makes a bridge and sets it up.
///
/// # Errors
/// The name is not one that a link can have.
pub fn add_bridge(bridge: &Bridge<'_>) -> Result<Message<'static>> {
    let Bridge { name, index, address, mtu } = *bridge;
    let mut attributes = Attributes::default();
    attributes.push_text(Ifla::Ifname, check_name(name)?)?;
    if let Some(address) = address {
        attributes.push(Ifla::Address, &address)?;
    }
    if let Some(mtu) = mtu {
        attributes.push_u32(Ifla::Mtu, mtu)?;
    }
    let mut info = Attributes::default();
    info.push_text(IflaInfo::Kind, "bridge")?;
    attributes.nest(Ifla::Linkinfo, &info)?;
    let which = Which::Index(index.unwrap_or(0));
    change(Rtm::Newlink, NlmF::CREATE | NlmF::EXCL, format!("add bridge {name}"), which, true, attributes)
}

/// Makes a pair of virtual Ethernet links.
///
/// # Errors
/// A name is not one that a link can have.
pub fn add_veth<'fd>(veth: &Veth<'fd, '_>) -> Result<Message<'fd>> {
    let Veth { name, index, mtu, master, peer } = *veth;
    let mut data = Attributes::default();
    data.nest_message(
        VETH_INFO_PEER,
        &link_message(peer.index.unwrap_or(0), false)?,
        &peer_attributes(&peer, mtu)?,
    )?;
    let mut info = Attributes::default();
    info.push_text(IflaInfo::Kind, "veth")?;
    info.nest(IflaInfo::Data, &data)?;

    let mut attributes = Attributes::default();
    attributes.push_text(Ifla::Ifname, check_name(name)?)?;
    if let Some(mtu) = mtu {
        attributes.push_u32(Ifla::Mtu, mtu)?;
    }
    if let Some(master) = master {
        attributes.push_u32(Ifla::Master, master)?;
    }
    attributes.nest(Ifla::Linkinfo, &info)?;
    let which = Which::Index(index.unwrap_or(0));
    let what = format!("add veth {name} with peer {}", peer.name);
    change(Rtm::Newlink, NlmF::CREATE | NlmF::EXCL, what, which, true, attributes)
}

fn peer_attributes(peer: &Peer<'_, '_>, mtu: Option<u32>) -> Result<Attributes> {
    // The index is in the fixed part.
    let Peer { name, index: _, address, namespace } = *peer;
    let mut attributes = Attributes::default();
    attributes.push_text(Ifla::Ifname, check_name(name)?)?;
    if let Some(mtu) = mtu {
        attributes.push_u32(Ifla::Mtu, mtu)?;
    }
    if let Some(address) = address {
        attributes.push(Ifla::Address, &address)?;
    }
    if let Some(namespace) = namespace {
        attributes.push(Ifla::NetNsFd, &namespace.as_raw_fd().to_ne_bytes())?;
    }
    Ok(attributes)
}

/// Lets a bridge's port send packets back where they came from (hairpin mode), which a container needs to
/// reach its own published port.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_hairpin<'a>(port: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let port = port.into();
    let mut data = Attributes::default();
    data.push(BRPORT_MODE, &[1])?;
    let mut info = Attributes::default();
    info.nest(IflaInfo::SlaveData, &data)?;
    let mut attributes = Attributes::default();
    attributes.nest(Ifla::Linkinfo, &info)?;
    change(Rtm::Newlink, NlmF::empty(), format!("set hairpin mode of link {port}"), port, false, attributes)
}

/// Moves a link into another network namespace and sets it up there, under another name if one is given
/// (`eth%d` lets the kernel choose the number). The link loses its addresses; it gets another index if its
/// own is taken there.
///
/// # Errors
/// The name is not one that a link can have.
pub fn move_to_namespace<'fd>(
    index: u32,
    namespace: BorrowedFd<'fd>,
    name: Option<&str>,
) -> Result<Message<'fd>> {
    let mut attributes = Attributes::default();
    attributes.push(Ifla::NetNsFd, &namespace.as_raw_fd().to_ne_bytes())?;
    if let Some(name) = name {
        attributes.push_text(Ifla::Ifname, check_name(name)?)?;
    }
    let what = match name {
        Some(name) => format!("move link {index} to another network namespace as {name}"),
        None => format!("move link {index} to another network namespace"),
    };
    change(Rtm::Setlink, NlmF::empty(), what, Which::Index(index), true, attributes)
}

/// Deletes a link; the other end of a veth is deleted with it.
///
/// # Errors
/// The name is not one that a link can have.
pub fn delete<'a>(which: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let which = which.into();
    change(Rtm::Dellink, NlmF::empty(), format!("delete link {which}"), which, false, Attributes::default())
}

/// The index of the link with this name.
///
/// # Errors
/// [`Error::Refused`] with ENODEV if there is none.
pub fn index_of(socket: &mut Socket, name: &str) -> Result<u32> {
    Ok(get(socket, name)?.index)
}

/// One link.
///
/// # Errors
/// [`Error::Refused`] with ENODEV if there is none.
pub fn get<'a>(socket: &mut Socket, which: impl Into<Which<'a>>) -> Result<Link> {
    let which = which.into();
    let what = format!("look up link {which}");
    let question = change(Rtm::Getlink, NlmF::empty(), what.clone(), which, false, Attributes::default())?;
    socket.ask(&question, read_link)?.pop().ok_or(Error::Unanswered(what))
}

/// All links in the socket's namespace.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>> {
    let (fixed, none) = (link_message(0, false)?, Attributes::default());
    let question = Message::new(Rtm::Getlink, NlmF::DUMP, "list links".to_string(), &fixed, &none)?;
    socket.ask(&question, read_link)
}

fn change<'fd>(
    kind: Rtm,
    flags: NlmF,
    what: String,
    which: Which<'_>,
    up: bool,
    mut attributes: Attributes,
) -> Result<Message<'fd>> {
    let index = match which {
        Which::Index(index) => index,
        Which::Name(name) => {
            attributes.push_text(Ifla::Ifname, check_name(name)?)?;
            0
        }
    };
    Message::new(kind, flags, what, &link_message(index, up)?, &attributes)
}

fn link_message(index: u32, up: bool) -> Result<Ifinfomsg> {
    let message =
        IfinfomsgBuilder::default().ifi_family(RtAddrFamily::Unspecified).ifi_index(index.cast_signed());
    let message = if up { message.up() } else { message };
    message.build().map_err(|_| unencodable("link message"))
}

fn read_link(reply: &Reply<'_>) -> Result<Option<Link>> {
    if reply.kind != u16::from(Rtm::Newlink) {
        return Ok(None);
    }
    let attributes = reply::Attributes::after(IFINFOMSG, reply.body)?;
    let (index, flags) = (u32_at(reply.body, 4).unwrap_or(0), u32_at(reply.body, 8).unwrap_or(0));
    let mut link =
        Link { index, name: String::new(), flags, mtu: 0, address: None, master: None, kind: None };
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match Ifla::from(kind) {
            Ifla::Ifname => link.name = read_string(payload),
            Ifla::Mtu => link.mtu = u32_at(payload, 0).unwrap_or(0),
            Ifla::Address => link.address = payload.try_into().ok(),
            Ifla::Master => link.master = u32_at(payload, 0),
            Ifla::Linkinfo => link.kind = read_kind(payload)?,
            _ => {}
        }
    }
    Ok(Some(link))
}

fn read_kind(payload: &[u8]) -> Result<Option<String>> {
    for attribute in reply::Attributes(payload) {
        let (kind, payload) = attribute?;
        if IflaInfo::from(kind) == IflaInfo::Kind {
            return Ok(Some(read_string(payload)));
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads a reply as everything that it could be; only that it returns matters.
    pub(crate) fn read_anything(reply: &Reply<'_>) {
        let _ = reply::read_verdict(reply);
        for kind in [Rtm::Newlink, Rtm::Newaddr] {
            let reply = Reply { kind: u16::from(kind), ..*reply };
            let _ = read_link(&reply);
            let _ = crate::route::address::read_assigned(&reply);
        }
    }

    #[test]
    fn the_loopback_request_is_what_ip_link_set_lo_up_sends() {
        let mut wire = Vec::new();
        set_up(crate::LOOPBACK_INDEX).unwrap().append_to(&mut wire, 5).unwrap();
        let words: Vec<u32> = (0..8).map(|word| u32_at(&wire, word * 4).unwrap()).collect();
        // length · RTM_SETLINK with REQUEST|ACK · sequence · port · family, type · index · flags · change
        assert_eq!(words, [32, 19 | 5 << 16, 5, 0, 0, 1, 1, 1]);
        assert_eq!(wire.len(), 32);
    }

    #[test]
    fn impossible_names_are_refused_before_anything_is_sent() {
        let peer = Peer { name: "eth0", index: None, address: None, namespace: None };
        let veth = Veth { name: "sixteen-bytes-xx", index: None, mtu: None, master: None, peer };
        assert!(matches!(add_veth(&veth), Err(Error::Invalid(_))));
        let peer = Peer { name: "", ..peer };
        assert!(matches!(add_veth(&Veth { name: "v", peer, ..veth }), Err(Error::Invalid(_))));
        assert!(matches!(set_up("a/b"), Err(Error::Invalid(_))));
    }
}
