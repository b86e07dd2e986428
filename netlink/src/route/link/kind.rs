//! Links over another link (VLAN, macvlan, ipvlan) and links over none (dummy). Sources: linux/if_link.h,
//! ip-link(8).

use std::os::fd::{AsRawFd, BorrowedFd};

use neli::consts::rtnl::{Ifla, IflaInfo, IflaVlan};

use super::change::{State, make};
use super::{BridgeOptions, Link, MacAddress, bridge};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::message::{Message, check_name};
use crate::reply::{self, u16_at, u32_at};

/// `IFLA_MACVLAN_MODE`, a 32-bit number.
const MACVLAN_MODE: u16 = 1;
/// `IFLA_IPVLAN_MODE` and `IFLA_IPVLAN_FLAGS`, 16-bit numbers.
const IPVLAN_MODE: u16 = 1;
const IPVLAN_FLAGS: u16 = 2;

/// The highest VLAN identifier (IEEE 802.1Q).
const MAX_VLAN: u16 = 4094;

/// A link to make. It may be born in another network namespace; what it lies over is looked up in the
/// socket's.
#[derive(Debug, Clone, Copy)]
pub struct NewLink<'fd, 'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Its index, if the caller chooses it.
    pub index: Option<u32>,
    /// Its hardware address; without one the kernel makes one up or takes that of the link below.
    pub address: Option<MacAddress>,
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
    /// The index of the bridge of which it becomes a port.
    pub master: Option<u32>,
    /// The network namespace in which it is made; without one, the socket's.
    pub namespace: Option<BorrowedFd<'fd>>,
    /// Whether it is set up.
    pub up: bool,
}

impl<'a> NewLink<'_, 'a> {
    /// A link that is set up, with everything else as the kernel has it.
    pub const fn new(name: &'a str, kind: Kind) -> Self {
        let (index, address, mtu, master, namespace) = (None, None, None, None, None);
        NewLink { name, kind, index, address, mtu, master, namespace, up: true }
    }
}

/// What a link is, and what is particular to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bridge; [`super::add_bridge`] makes the same.
    Bridge(BridgeOptions),
    /// A link that loses what is sent over it.
    Dummy,
    /// The frames of one VLAN on another link.
    Vlan {
        /// The index of the link below.
        parent: u32,
        /// The VLAN's identifier, 0 to 4094.
        id: u16,
        /// Its tag.
        protocol: VlanProtocol,
    },
    /// A link with a hardware address of its own on another link.
    Macvlan {
        /// The index of the link below.
        parent: u32,
        /// What it has to do with the others on that link.
        mode: MacvlanMode,
    },
    /// A link with the hardware address of another link and IP addresses of its own.
    Ipvlan {
        /// The index of the link below.
        parent: u32,
        /// At which layer it takes part. All of one link below have the same.
        mode: IpvlanMode,
        /// What it has to do with the others on that link. All of one link below have the same.
        between: IpvlanBetween,
    },
}

/// A VLAN's tag (linux/if_ether.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum VlanProtocol {
    /// IEEE 802.1Q.
    #[default]
    Q = 0x8100,
    /// IEEE 802.1ad, the outer tag of two.
    Ad = 0x88a8,
}

/// What macvlans of one link have to do with each other (linux/if_link.h, `MACVLAN_MODE_`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum MacvlanMode {
    /// Nothing.
    Private = 1,
    /// What goes to another one goes out to the switch, which sends it back.
    Vepa = 2,
    /// They reach each other directly.
    #[default]
    Bridge = 4,
    /// There is just one, which has the whole link.
    Passthru = 8,
    /// Frames come by their source.
    Source = 16,
}

/// At which layer an ipvlan takes part (linux/if_link.h, `IPVLAN_MODE_`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum IpvlanMode {
    /// Frames, with ARP and broadcast.
    #[default]
    L2 = 0,
    /// Packets, routed by the link below.
    L3 = 1,
    /// Packets, and they pass netfilter there.
    L3s = 2,
}

/// What ipvlans of one link have to do with each other (linux/if_link.h, `IPVLAN_F_`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum IpvlanBetween {
    /// They reach each other directly.
    #[default]
    Bridge = 0,
    /// Nothing.
    Private = 1,
    /// What goes to another one goes out to the switch, which sends it back.
    Vepa = 2,
}

/// Makes a link.
///
/// # Errors
/// The name is not one that a link can have, or the VLAN's identifier not one that a VLAN can have.
pub fn add<'fd>(link: &NewLink<'fd, '_>) -> Result<Message<'fd>> {
    let NewLink { name, kind, index, address, mtu, master, namespace, up } = *link;
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
    if let Some(namespace) = namespace {
        attributes.push(Ifla::NetNsFd, &namespace.as_raw_fd().to_ne_bytes());
    }
    let (word, parent, data) = kind_data(name, kind)?;
    if let Some(parent) = parent {
        attributes.push_u32(Ifla::Link, parent);
    }
    let mut info = Attributes::default();
    info.push_text(IflaInfo::Kind, word);
    if !data.0.is_empty() {
        info.nest(IflaInfo::Data, &data);
    }
    attributes.nest(Ifla::Linkinfo, &info);
    let state = if up { State::Up } else { State::AsItIs };
    make(format!("add {word} {name}"), index, state, attributes)
}

/// The kernel's word for it, the index of the link below, and the rest.
fn kind_data(name: &str, kind: Kind) -> Result<(&'static str, Option<u32>, Attributes)> {
    let mut data = Attributes::default();
    Ok(match kind {
        Kind::Bridge(options) => ("bridge", None, bridge::data(options)?),
        Kind::Dummy => ("dummy", None, data),
        Kind::Vlan { parent, id, protocol } => {
            if id > MAX_VLAN {
                return Err(Error::invalid(format_args!("vlan {name}: {id} is above {MAX_VLAN}")));
            }
            data.push_u16(IflaVlan::Id, id);
            data.push(IflaVlan::Protocol, &(protocol as u16).to_be_bytes());
            ("vlan", Some(parent), data)
        }
        Kind::Macvlan { parent, mode } => {
            data.push_u32(MACVLAN_MODE, mode as u32);
            ("macvlan", Some(parent), data)
        }
        Kind::Ipvlan { parent, mode, between } => {
            data.push_u16(IPVLAN_MODE, mode as u16);
            data.push_u16(IPVLAN_FLAGS, between as u16);
            ("ipvlan", Some(parent), data)
        }
    })
}

/// What a listed link is; `None` for kinds that have no [`Kind`], and for settings that are not known here.
pub(super) fn read(link: &Link, data: &[u8]) -> Result<Option<Kind>> {
    let parent = link.parent.unwrap_or(0);
    Ok(match link.kind.as_deref() {
        Some("bridge") => Some(Kind::Bridge(bridge::read(data)?)),
        Some("dummy") => Some(Kind::Dummy),
        Some("vlan") => {
            let id = reply::find(data, IflaVlan::Id)?.and_then(|payload| u16_at(payload, 0));
            let protocol = reply::find(data, IflaVlan::Protocol)?.and_then(read_protocol);
            id.zip(protocol).map(|(id, protocol)| Kind::Vlan { parent, id, protocol })
        }
        Some("macvlan") => {
            let mode = reply::find(data, MACVLAN_MODE)?.and_then(|payload| read_macvlan(u32_at(payload, 0)?));
            mode.map(|mode| Kind::Macvlan { parent, mode })
        }
        Some("ipvlan") => {
            let mode = reply::find(data, IPVLAN_MODE)?.and_then(|payload| u16_at(payload, 0));
            let flags = reply::find(data, IPVLAN_FLAGS)?.and_then(|payload| u16_at(payload, 0));
            read_ipvlan(mode, flags).map(|(mode, between)| Kind::Ipvlan { parent, mode, between })
        }
        _ => None,
    })
}

fn read_protocol(payload: &[u8]) -> Option<VlanProtocol> {
    let number = u16::from_be_bytes(*payload.first_chunk()?);
    [VlanProtocol::Q, VlanProtocol::Ad].into_iter().find(|&protocol| protocol as u16 == number)
}

fn read_macvlan(number: u32) -> Option<MacvlanMode> {
    use MacvlanMode::{Bridge, Passthru, Private, Source, Vepa};
    [Private, Vepa, Bridge, Passthru, Source].into_iter().find(|&mode| mode as u32 == number)
}

fn read_ipvlan(mode: Option<u16>, flags: Option<u16>) -> Option<(IpvlanMode, IpvlanBetween)> {
    let modes = [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s];
    let betweens = [IpvlanBetween::Bridge, IpvlanBetween::Private, IpvlanBetween::Vepa];
    let mode = modes.into_iter().find(|&known| Some(known as u16) == mode)?;
    Some((mode, betweens.into_iter().find(|&known| known as u16 == flags.unwrap_or(0))?))
}
