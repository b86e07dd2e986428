//! What can be changed about a link that is there. Sources: rtnetlink(7), linux/if_link.h.

use std::os::fd::{AsRawFd, BorrowedFd};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Iff, Ifla, RtAddrFamily, Rtm};
use neli::rtnl::{Ifinfomsg, IfinfomsgBuilder};

use super::names::LINK;
use super::{MacAddress, Which};
use crate::attribute::{Attributes, unencodable};
use crate::error::Result;
use crate::message::{Message, check_name};

/// What becomes of `IFF_UP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Down,
    AsItIs,
    /// `IFF_PROMISC` instead.
    Promiscuous(bool),
}

/// Sets a link up.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_up<'a>(which: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let which = which.into();
    set(format!("set link {which} up"), which, State::Up, Attributes::default())
}

/// Sets a link down; its routes and its IPv6 addresses are gone then.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_down<'a>(which: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let which = which.into();
    set(format!("set link {which} down"), which, State::Down, Attributes::default())
}

/// Lets a link take frames for other hardware addresses as well (promiscuous mode), or no longer.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_promiscuous<'a>(which: impl Into<Which<'a>>, on: bool) -> Result<Message<'static>> {
    let which = which.into();
    let word = if on { "on" } else { "off" };
    let what = format!("set promiscuous mode of link {which} {word}");
    set(what, which, State::Promiscuous(on), Attributes::default())
}

/// Sets the largest packet, in bytes.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_mtu<'a>(which: impl Into<Which<'a>>, mtu: u32) -> Result<Message<'static>> {
    let which = which.into();
    let mut attributes = Attributes::default();
    attributes.push_u32(Ifla::Mtu, mtu);
    set(format!("set the MTU of link {which} to {mtu}"), which, State::AsItIs, attributes)
}

/// Sets the hardware address.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_address<'a>(which: impl Into<Which<'a>>, address: MacAddress) -> Result<Message<'static>> {
    let which = which.into();
    let mut attributes = Attributes::default();
    attributes.push(Ifla::Address, &address);
    set(format!("set the hardware address of link {which}"), which, State::AsItIs, attributes)
}

/// Gives a link another name. It is told by its index, because in such a message the name is the new one.
/// Kernels before 6.2 refuse it for a link that is up (EBUSY).
///
/// # Errors
/// The name is not one that a link can have.
pub fn rename(index: u32, name: &str) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push_text(Ifla::Ifname, check_name(name)?);
    set(format!("rename link {index} to {name}"), Which::Index(index), State::AsItIs, attributes)
}

/// Makes a link a port of a bridge (or of another link that has ports); `master` is its index.
///
/// # Errors
/// The name is not one that a link can have.
pub fn set_master<'a>(which: impl Into<Which<'a>>, master: u32) -> Result<Message<'static>> {
    let which = which.into();
    let mut attributes = Attributes::default();
    attributes.push_u32(Ifla::Master, master);
    set(format!("make link {which} a port of link {master}"), which, State::AsItIs, attributes)
}

/// Takes a link out of the bridge that it is a port of.
///
/// # Errors
/// The name is not one that a link can have.
pub fn clear_master<'a>(which: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let which = which.into();
    let mut attributes = Attributes::default();
    attributes.push_u32(Ifla::Master, 0);
    set(format!("take link {which} out of its bridge"), which, State::AsItIs, attributes)
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
    attributes.push(Ifla::NetNsFd, &namespace.as_raw_fd().to_ne_bytes());
    if let Some(name) = name {
        attributes.push_text(Ifla::Ifname, check_name(name)?);
    }
    let what = match name {
        Some(name) => format!("move link {index} to another network namespace as {name}"),
        None => format!("move link {index} to another network namespace"),
    };
    set(what, Which::Index(index), State::Up, attributes)
}

/// Deletes a link; the other end of a veth is deleted with it.
///
/// # Errors
/// The name is not one that a link can have.
pub fn delete<'a>(which: impl Into<Which<'a>>) -> Result<Message<'static>> {
    let which = which.into();
    let what = format!("delete link {which}");
    message(Rtm::Dellink, NlmF::empty(), what, which, State::AsItIs, Attributes::default())
}

/// Changes a link that is there.
fn set<'fd>(what: String, which: Which<'_>, state: State, attributes: Attributes) -> Result<Message<'fd>> {
    message(Rtm::Setlink, NlmF::empty(), what, which, state, attributes)
}

/// Makes a link.
pub(super) fn make<'fd>(
    what: String,
    index: Option<u32>,
    state: State,
    attributes: Attributes,
) -> Result<Message<'fd>> {
    let which = Which::Index(index.unwrap_or(0));
    message(Rtm::Newlink, NlmF::CREATE | NlmF::EXCL, what, which, state, attributes)
}

pub(super) fn message<'fd>(
    kind: Rtm,
    flags: NlmF,
    what: String,
    which: Which<'_>,
    state: State,
    mut attributes: Attributes,
) -> Result<Message<'fd>> {
    let index = match which {
        Which::Index(index) => index,
        Which::Name(name) => {
            attributes.push_text(Ifla::Ifname, check_name(name)?);
            0
        }
    };
    Message::new(kind, flags, what, &link_message(index, state)?, &attributes, LINK)
}

pub(super) fn link_message(index: u32, state: State) -> Result<Ifinfomsg> {
    let message =
        IfinfomsgBuilder::default().ifi_family(RtAddrFamily::Unspecified).ifi_index(index.cast_signed());
    let message = match state {
        State::Up => message.up(),
        State::Down => message.down(),
        State::AsItIs => message,
        State::Promiscuous(on) => {
            message.ifi_flags(if on { Iff::PROMISC } else { Iff::empty() }).ifi_change(Iff::PROMISC)
        }
    };
    message.build().map_err(|_| unencodable("link message"))
}
