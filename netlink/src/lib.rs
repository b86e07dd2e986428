//! Networks of Linux without processes and without libc: rtnetlink(7) ([`link`], [`address`], [`route`],
//! [`rule`], [`neighbour`], [`namespace`]), several changes in one round trip; nf_tables ([`nft`]), several
//! changes in one transaction; and the connections that the kernel tracks ([`conntrack`]).
//!
//! Functions that change something build a [`Message`]; [`Socket::request`] sends a batch of them with one
//! system call. Functions that ask for something take the socket. The socket may have been opened by another
//! process in another network namespace: it continues to work on that namespace. A refusal has the kernel's
//! own text and the [`Field`] that it is about, if the kernel says so.
//!
//! A bridge, and a container's interface that is born in its network namespace, in one round trip:
//!
//! ```no_run
//! use std::fs::File;
//! use std::os::fd::AsFd;
//!
//! use pillbox_netlink::address::{self, Address};
//! use pillbox_netlink::link::{self, Bridge, BridgeOptions, Peer, Veth};
//! use pillbox_netlink::{LOOPBACK_INDEX, Socket};
//!
//! let namespace = File::open("/run/netns/example").expect("a network namespace");
//! let options = BridgeOptions::default();
//! let bridge = Bridge { name: "br0", index: Some(40), address: Some([2, 0, 0, 0, 0, 1]), mtu: None, options };
//! let peer = Peer { name: "eth0", index: None, address: None, namespace: Some(namespace.as_fd()) };
//! let veth = Veth { index: Some(41), master: Some(40), ..Veth::new("veth0", peer) };
//! let mut socket = Socket::open()?;
//! socket.request(&[
//!     link::set_up(LOOPBACK_INDEX)?,
//!     link::add_bridge(&bridge)?,
//!     address::add(40, Address { ip: "10.88.0.1".parse().expect("an address"), prefix: 16 })?,
//!     link::add_veth(&veth)?,
//!     link::set_hairpin(41)?,
//! ])?;
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```
#![forbid(unsafe_code)]

mod attribute;
pub mod conntrack;
mod error;
mod field;
mod message;
pub mod nft;
mod reply;
pub mod route;
mod socket;

pub use error::{Cause, Error, Field, Refusal, Result};
pub use message::Message;
pub use route::{address, link, namespace, neighbour, rule};
pub use socket::{MAX_BATCH, Socket};

/// The index of the loopback: the kernel gives it to `lo` in every network namespace (include/net/flow.h).
pub const LOOPBACK_INDEX: u32 = 1;
