//! Numbers by which one network namespace knows others (rtnetlink's `RTM_GETNSID`, linux/net_namespace.h). The kernel gives
//! one to the namespace of a veth's other end, for example, and [`Link::parent_namespace`](crate::link::Link) has it.
//!
//! ```no_run
//! use std::fs::File;
//! use std::os::fd::AsFd;
//!
//! use pillbox_netlink::{Socket, link, namespace};
//!
//! let container = File::open("/proc/4242/ns/net").expect("a network namespace");
//! let mut socket = Socket::open()?;
//! if let Some(id) = namespace::id_of(&mut socket, container.as_fd())? {
//!     let leads_there = |link: &link::Link| link.parent_namespace == Some(id);
//!     let names = link::list(&mut socket)?.into_iter().filter(leads_there).map(|link| link.name);
//!     println!("leading into the container: {:?}", names.collect::<Vec<_>>());
//! }
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

use std::os::fd::{AsRawFd, BorrowedFd};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::Rtm;

use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::field::{Inside, Name, Names};
use crate::message::Message;
use crate::reply::{self, Reply, u32_at};
use crate::socket::Socket;

/// `struct rtgenmsg`, a byte, filled up to where attributes begin.
const RTGENMSG: usize = 4;

/// `NETNSA_NSID`, `NETNSA_FD`.
const ID: u16 = 1;
const DESCRIPTOR: u16 = 3;

/// What the attributes of such a message are called.
const NAMES: Names = &[Name(ID, "id", Inside::Value), Name(DESCRIPTOR, "network namespace", Inside::Value)];

/// The number by which the socket's namespace knows another one, or itself; `None` if it has not had to do
/// with it yet.
///
/// # Errors
/// A socket error, or the kernel refused the request: the descriptor is not a network namespace (EINVAL).
pub fn id_of(socket: &mut Socket, namespace: BorrowedFd<'_>) -> Result<Option<u32>> {
    let what = "look up the id of a network namespace";
    let mut attributes = Attributes::default();
    attributes.push(DESCRIPTOR, &namespace.as_raw_fd().to_ne_bytes());
    let fixed = [0; RTGENMSG];
    let question = Message::new(Rtm::Getnsid, NlmF::empty(), what.to_string(), &fixed, &attributes, NAMES)?;
    let answer = socket.ask(&question, read_id)?.pop();
    answer.ok_or_else(|| Error::unanswered(what.to_string()))
}

/// The number, or that there is none (−1).
pub(crate) fn read_id(reply: &Reply<'_>) -> Result<Option<Option<u32>>> {
    if reply.kind != u16::from(Rtm::Newnsid) {
        return Ok(None);
    }
    let attributes =
        reply.body.get(RTGENMSG..).ok_or_else(|| Error::malformed("an id without attributes"))?;
    Ok(Some(reply::find(attributes, ID)?.and_then(read)))
}

/// A number that is −1 where there is none.
pub(super) fn read(payload: &[u8]) -> Option<u32> {
    u32_at(payload, 0).filter(|id| id.cast_signed() >= 0)
}
