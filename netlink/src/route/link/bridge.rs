//! Bridges. Source: linux/if_link.h, `IFLA_BR_`; ip-link(8).

use std::time::Duration;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Ifla, IflaInfo, Rtm};

use super::change::{State, make, message};
use super::{MacAddress, Which};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::message::{Message, check_name};
use crate::reply::{self, u16_at, u32_at};

const FORWARD_DELAY: u16 = 1;
const AGEING_TIME: u16 = 4;
const STP_STATE: u16 = 5;
const PRIORITY: u16 = 6;
const VLAN_FILTERING: u16 = 7;
const GROUP_FORWARD_MASK: u16 = 9;
const MULTICAST_SNOOPING: u16 = 23;
const CALL_IPTABLES: u16 = 36;
const CALL_IP6TABLES: u16 = 37;
const CALL_ARPTABLES: u16 = 38;
const DEFAULT_VLAN: u16 = 39;

/// The kernel counts these times in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

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
    /// What is not as the kernel has it by default.
    pub options: BridgeOptions,
}

/// The settings of a bridge. To be set: what is `None` stays as it is. As read: what this kernel does not
/// know is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BridgeOptions {
    /// How long a port listens and learns before it forwards, with the spanning tree on; 2 to 30 seconds.
    pub forward_delay: Option<Duration>,
    /// How long a hardware address is remembered.
    pub ageing_time: Option<Duration>,
    /// Takes part in the spanning tree.
    pub spanning_tree: Option<bool>,
    /// Priority in the spanning tree.
    pub priority: Option<u16>,
    /// Ports belong to VLANs.
    pub vlan_filtering: Option<bool>,
    /// The VLAN of frames without a tag, for ports that come; 0: none.
    pub default_vlan: Option<u16>,
    /// Which link-local groups (01:80:C2:00:00:0X) are forwarded, a bit for each.
    pub group_forward_mask: Option<u16>,
    /// Multicast goes only where it was asked for.
    pub multicast_snooping: Option<bool>,
    /// Bridged IPv4 packets pass iptables and nf_tables (bridge-nf-call-iptables, for this bridge).
    pub call_iptables: Option<bool>,
    /// The same for IPv6.
    pub call_ip6tables: Option<bool>,
    /// The same for ARP.
    pub call_arptables: Option<bool>,
}

impl BridgeOptions {
    fn switches(&mut self) -> [(u16, &mut Option<bool>); 5] {
        [
            (VLAN_FILTERING, &mut self.vlan_filtering),
            (MULTICAST_SNOOPING, &mut self.multicast_snooping),
            (CALL_IPTABLES, &mut self.call_iptables),
            (CALL_IP6TABLES, &mut self.call_ip6tables),
            (CALL_ARPTABLES, &mut self.call_arptables),
        ]
    }

    fn times(&mut self) -> [(u16, &mut Option<Duration>); 2] {
        [(FORWARD_DELAY, &mut self.forward_delay), (AGEING_TIME, &mut self.ageing_time)]
    }

    fn numbers(&mut self) -> [(u16, &mut Option<u16>); 3] {
        [
            (PRIORITY, &mut self.priority),
            (GROUP_FORWARD_MASK, &mut self.group_forward_mask),
            (DEFAULT_VLAN, &mut self.default_vlan),
        ]
    }
}

/// Makes a bridge and sets it up.
///
/// # Errors
/// The name is not one that a link can have, or a time is too long.
pub fn add_bridge(bridge: &Bridge<'_>) -> Result<Message<'static>> {
    let Bridge { name, index, address, mtu, options } = *bridge;
    let mut attributes = Attributes::default();
    attributes.push_text(Ifla::Ifname, check_name(name)?);
    if let Some(address) = address {
        attributes.push(Ifla::Address, &address);
    }
    if let Some(mtu) = mtu {
        attributes.push_u32(Ifla::Mtu, mtu);
    }
    attributes.nest(Ifla::Linkinfo, &info(options)?);
    make(format!("add bridge {name}"), index, State::Up, attributes)
}

/// Changes the settings of a bridge.
///
/// # Errors
/// The name is not one that a link can have, or a time is too long.
pub fn set_bridge<'a>(bridge: impl Into<Which<'a>>, options: &BridgeOptions) -> Result<Message<'static>> {
    let bridge = bridge.into();
    let mut attributes = Attributes::default();
    attributes.nest(Ifla::Linkinfo, &info(*options)?);
    let what = format!("set the bridge settings of link {bridge}");
    message(Rtm::Newlink, NlmF::empty(), what, bridge, State::AsItIs, attributes)
}

pub(super) fn data(mut options: BridgeOptions) -> Result<Attributes> {
    let mut data = Attributes::default();
    for (kind, time) in options.times() {
        if let Some(time) = *time {
            let ticks = u32::try_from(time.as_millis() / TICK.as_millis()).map_err(|_| {
                Error::invalid(format_args!("bridge: {} s is too long a time", time.as_secs()))
            })?;
            data.push_u32(kind, ticks);
        }
    }
    if let Some(on) = options.spanning_tree {
        data.push_u32(STP_STATE, on.into());
    }
    for (kind, number) in options.numbers() {
        if let Some(number) = *number {
            data.push_u16(kind, number);
        }
    }
    for (kind, switch) in options.switches() {
        if let Some(on) = *switch {
            data.push_u8(kind, on.into());
        }
    }
    Ok(data)
}

fn info(options: BridgeOptions) -> Result<Attributes> {
    let data = data(options)?;
    let mut info = Attributes::default();
    info.push_text(IflaInfo::Kind, "bridge");
    if !data.0.is_empty() {
        info.nest(IflaInfo::Data, &data);
    }
    Ok(info)
}

pub(super) fn read(data: &[u8]) -> Result<BridgeOptions> {
    let mut options = BridgeOptions::default();
    for attribute in reply::Attributes(data) {
        let (kind, payload) = attribute?;
        if kind == STP_STATE {
            options.spanning_tree = u32_at(payload, 0).map(|state| state != 0);
        } else if let Some((_, time)) = options.times().into_iter().find(|(known, _)| *known == kind) {
            *time = u32_at(payload, 0).map(|ticks| TICK * ticks);
        } else if let Some((_, number)) = options.numbers().into_iter().find(|(known, _)| *known == kind) {
            *number = u16_at(payload, 0);
        } else if let Some((_, switch)) = options.switches().into_iter().find(|(known, _)| *known == kind) {
            *switch = payload.first().map(|&byte| byte != 0);
        }
    }
    Ok(options)
}
