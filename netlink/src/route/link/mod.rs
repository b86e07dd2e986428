//! Network links: making, changing, moving, listing. Sources: rtnetlink(7), linux/if_link.h.
//!
//! ```no_run
//! use pillbox_netlink::Socket;
//! use pillbox_netlink::link::{self, Kind, MacvlanMode, NewLink, Port};
//!
//! let mut socket = Socket::open()?;
//! let parent = link::index_of(&mut socket, "eth0")?;
//! let macvlan = NewLink::new("mac0", Kind::Macvlan { parent, mode: MacvlanMode::Bridge });
//! let isolated = Port { isolated: Some(true), ..Port::default() };
//! socket.request(&[link::add(&macvlan)?, link::set_mtu("mac0", 1400)?, link::set_port("veth0", &isolated)?])?;
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

mod bridge;
mod change;
mod kind;
mod names;
mod port;
mod veth;

use std::fmt;

pub use bridge::{Bridge, BridgeOptions, add_bridge, set_bridge};
pub use change::{
    clear_master, delete, move_to_namespace, rename, set_address, set_down, set_master, set_mtu,
    set_promiscuous, set_up,
};
pub use kind::{IpvlanBetween, IpvlanMode, Kind, MacvlanMode, NewLink, VlanProtocol, add};
pub use port::{Port, set_hairpin, set_port};
pub use veth::{Peer, Veth, add_veth};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Iff, Ifla, IflaInfo, Rtm};

use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::message::Message;
use crate::reply::{self, Reply, read_string, u32_at};
use crate::route::namespace;
use crate::socket::Socket;
use change::{State, link_message, message};
use names::LINK;

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
    /// The index of the link that it lies over, or of a veth's other end, which may be in another namespace.
    pub parent: Option<u32>,
    /// The number of the namespace that `parent` is in, if that is not the socket's own:
    /// [`namespace::id_of`].
    pub parent_namespace: Option<u32>,
    /// What is particular to its kind, and to it as a port: `IFLA_LINKINFO`.
    info: Vec<u8>,
}

impl Link {
    /// Whether it is set up (`IFF_UP`), which does not mean that it has a carrier.
    pub fn is_up(&self) -> bool {
        self.flags & Iff::UP.bits() != 0
    }

    /// Whether it was set to take frames for other hardware addresses as well (`IFF_PROMISC`).
    pub fn is_promiscuous(&self) -> bool {
        self.flags & Iff::PROMISC.bits() != 0
    }

    /// What it is with all that is particular to it; `None` for kinds without a [`Kind`].
    ///
    /// # Errors
    /// The kernel's lengths don't fit.
    pub fn details(&self) -> Result<Option<Kind>> {
        kind::read(self, reply::find(&self.info, IflaInfo::Data)?.unwrap_or_default())
    }

    /// Its settings as the port of a bridge, if it is one.
    ///
    /// # Errors
    /// The kernel's lengths don't fit.
    pub fn port(&self) -> Result<Option<Port>> {
        match reply::find(&self.info, IflaInfo::SlaveKind)? {
            Some(b"bridge\0" | b"bridge") => {
                reply::find(&self.info, IflaInfo::SlaveData)?.map(port::read).transpose()
            }
            _ => Ok(None),
        }
    }
}

/// The index of the link with this name.
///
/// # Errors
/// [`Cause::Refused`](crate::Cause::Refused) with ENODEV if there is none.
pub fn index_of(socket: &mut Socket, name: &str) -> Result<u32> {
    Ok(get(socket, name)?.index)
}

/// One link.
///
/// # Errors
/// [`Cause::Refused`](crate::Cause::Refused) with ENODEV if there is none.
pub fn get<'a>(socket: &mut Socket, which: impl Into<Which<'a>>) -> Result<Link> {
    let which = which.into();
    let what = format!("look up link {which}");
    let question =
        message(Rtm::Getlink, NlmF::empty(), what.clone(), which, State::AsItIs, Attributes::default())?;
    socket.ask(&question, read_link)?.pop().ok_or(Error::unanswered(what))
}

/// All links in the socket's namespace.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>> {
    let (fixed, none) = (link_message(0, State::AsItIs)?, Attributes::default());
    let question = Message::new(Rtm::Getlink, NlmF::DUMP, "list links".to_string(), &fixed, &none, LINK)?;
    socket.ask(&question, read_link)
}

fn read_link(reply: &Reply<'_>) -> Result<Option<Link>> {
    if reply.kind != u16::from(Rtm::Newlink) {
        return Ok(None);
    }
    let attributes = reply::Attributes::after(IFINFOMSG, reply.body)?;
    let (index, flags) = (u32_at(reply.body, 4).unwrap_or(0), u32_at(reply.body, 8).unwrap_or(0));
    let (name, mtu, address, master, kind) = (String::new(), 0, None, None, None);
    let (parent, parent_namespace, info) = (None, None, Vec::new());
    let mut link = Link { index, name, flags, mtu, address, master, kind, parent, parent_namespace, info };
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match Ifla::from(kind) {
            Ifla::Ifname => link.name = read_string(payload),
            Ifla::Mtu => link.mtu = u32_at(payload, 0).unwrap_or(0),
            Ifla::Address => link.address = payload.try_into().ok(),
            Ifla::Master => link.master = u32_at(payload, 0),
            Ifla::Link => link.parent = u32_at(payload, 0),
            Ifla::LinkNetnsid => link.parent_namespace = namespace::read(payload),
            Ifla::Linkinfo => {
                link.kind = reply::find(payload, IflaInfo::Kind)?.map(read_string);
                link.info = payload.to_vec();
            }
            _ => {}
        }
    }
    Ok(Some(link))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::Cause;

    /// Reads a reply as everything that it could be; only that it returns matters.
    pub(crate) fn read_anything(reply: &Reply<'_>) {
        let _ = reply::read_verdict(reply);
        for kind in [Rtm::Newlink, Rtm::Newaddr, Rtm::Newneigh, Rtm::Newrule, Rtm::Newroute, Rtm::Newnsid] {
            let reply = Reply { kind: u16::from(kind), ..*reply };
            if let Ok(Some(link)) = read_link(&reply) {
                let _ = (link.details(), link.port());
            }
            let _ = namespace::read_id(&reply);
            let _ = crate::route::address::read_assigned(&reply);
            let _ = crate::route::neighbour::read_neighbour(&reply);
            let _ = crate::route::rule::read_rule(&reply);
            let _ = crate::route::route::read_route(&reply);
        }
    }

    #[test]
    fn the_loopback_request_is_what_ip_link_set_lo_up_sends() {
        let mut wire = Vec::new();
        set_up(crate::LOOPBACK_INDEX).unwrap().append_to(&mut wire, 5, NlmF::ACK).unwrap();
        let words: Vec<u32> = (0..8).map(|word| u32_at(&wire, word * 4).unwrap()).collect();
        // length · RTM_SETLINK with REQUEST|ACK · sequence · port · family, type · index · flags · change
        assert_eq!(words, [32, 19 | 5 << 16, 5, 0, 0, 1, 1, 1]);
        assert_eq!(wire.len(), 32);
    }

    #[test]
    fn impossible_names_are_refused_before_anything_is_sent() {
        let peer = Peer { name: "eth0", index: None, address: None, namespace: None };
        let veth = Veth::new("sixteen-bytes-xx", peer);
        assert!(matches!(add_veth(&veth), Err(error) if matches!(error.cause(), Cause::Invalid(_))));
        let peer = Peer { name: "", ..peer };
        assert!(
            matches!(add_veth(&Veth { name: "v", peer, ..veth }), Err(error) if matches!(error.cause(), Cause::Invalid(_)))
        );
        assert!(matches!(set_up("a/b"), Err(error) if matches!(error.cause(), Cause::Invalid(_))));
    }
}
