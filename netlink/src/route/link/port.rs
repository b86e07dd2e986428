//! The ports of a bridge: what each lets through. Source: linux/if_link.h, `IFLA_BRPORT_`; bridge(8).

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Ifla, IflaInfo, Rtm};

use super::Which;
use super::change::{State, message};
use crate::attribute::Attributes;
use crate::error::Result;
use crate::message::Message;
use crate::reply::{self, u16_at, u32_at};

const PRIORITY: u16 = 2;
const COST: u16 = 3;
const MODE: u16 = 4;
const GUARD: u16 = 5;
const PROTECT: u16 = 6;
const FAST_LEAVE: u16 = 7;
const LEARNING: u16 = 8;
const UNICAST_FLOOD: u16 = 9;
const PROXY_ARP: u16 = 10;
const MULTICAST_FLOOD: u16 = 27;
const BROADCAST_FLOOD: u16 = 30;
const NEIGHBOUR_SUPPRESSION: u16 = 32;
const ISOLATED: u16 = 33;
const LOCKED: u16 = 39;

/// The settings of a bridge's port. To be set: what is `None` stays as it is. As read: what this kernel does
/// not know is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Port {
    /// Frames may go back to where they came from: what a container needs to reach its own published port.
    pub hairpin: Option<bool>,
    /// Exchanges nothing with other isolated ports.
    pub isolated: Option<bool>,
    /// Takes frames only from hardware addresses that the bridge knows behind it ([`neighbour::put_behind`]).
    /// Before Linux 5.16 it is ignored.
    ///
    /// [`neighbour::put_behind`]: crate::neighbour::put_behind
    pub locked: Option<bool>,
    /// Hardware addresses are learned from what it receives.
    pub learning: Option<bool>,
    /// Gets frames to hardware addresses that the bridge does not know.
    pub unicast_flood: Option<bool>,
    /// Gets multicast frames that nobody has asked for.
    pub multicast_flood: Option<bool>,
    /// Gets broadcast frames.
    pub broadcast_flood: Option<bool>,
    /// Does not take part in the spanning tree: a bridge protocol frame shuts it (BPDU guard).
    pub guard: Option<bool>,
    /// Never becomes the way to the root of the spanning tree.
    pub root_block: Option<bool>,
    /// A multicast group is left at once.
    pub fast_leave: Option<bool>,
    /// The bridge answers ARP requests for what lies behind it.
    pub proxy_arp: Option<bool>,
    /// The bridge answers ARP and neighbour discovery for what it knows, instead of flooding them.
    pub neighbour_suppression: Option<bool>,
    /// Priority in the spanning tree, 0 to 63.
    pub priority: Option<u16>,
    /// Cost in the spanning tree, 1 to 65,535.
    pub cost: Option<u32>,
}

impl Port {
    fn switches(&mut self) -> [(u16, &mut Option<bool>); 12] {
        [
            (MODE, &mut self.hairpin),
            (GUARD, &mut self.guard),
            (PROTECT, &mut self.root_block),
            (FAST_LEAVE, &mut self.fast_leave),
            (LEARNING, &mut self.learning),
            (UNICAST_FLOOD, &mut self.unicast_flood),
            (PROXY_ARP, &mut self.proxy_arp),
            (MULTICAST_FLOOD, &mut self.multicast_flood),
            (BROADCAST_FLOOD, &mut self.broadcast_flood),
            (NEIGHBOUR_SUPPRESSION, &mut self.neighbour_suppression),
            (ISOLATED, &mut self.isolated),
            (LOCKED, &mut self.locked),
        ]
    }
}

/// Lets a bridge's port send packets back where they came from (hairpin mode), which a container needs to
/// reach its own published port.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_hairpin<'a>(port: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let port = port.into();
    let settings = Port { hairpin: Some(true), ..Port::default() };
    set(format!("set hairpin mode of link {port}"), port, settings)
}

/// Changes the settings of a bridge's port.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_port<'a>(port: impl Into<Which<'a>>, settings: &Port) -> Result<Message<'static>> {
    let port = port.into();
    set(format!("set the port settings of link {port}"), port, *settings)
}

fn set(what: String, port: Which<'_>, mut settings: Port) -> Result<Message<'static>> {
    let mut data = Attributes::default();
    if let Some(priority) = settings.priority {
        data.push_u16(PRIORITY, priority);
    }
    if let Some(cost) = settings.cost {
        data.push_u32(COST, cost);
    }
    for (kind, switch) in settings.switches() {
        if let Some(on) = *switch {
            data.push_u8(kind, on.into());
        }
    }
    let mut info = Attributes::default();
    info.nest(IflaInfo::SlaveData, &data);
    let mut attributes = Attributes::default();
    attributes.nest(Ifla::Linkinfo, &info);
    message(Rtm::Newlink, NlmF::empty(), what, port, State::AsItIs, attributes)
}

pub(super) fn read(data: &[u8]) -> Result<Port> {
    let mut port = Port::default();
    for attribute in reply::Attributes(data) {
        let (kind, payload) = attribute?;
        match kind {
            PRIORITY => port.priority = u16_at(payload, 0),
            COST => port.cost = u32_at(payload, 0),
            _ => {
                if let Some((_, switch)) = port.switches().into_iter().find(|(known, _)| *known == kind) {
                    *switch = payload.first().map(|&byte| byte != 0);
                }
            }
        }
    }
    Ok(port)
}
