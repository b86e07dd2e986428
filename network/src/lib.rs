//! Networks of containers, over netlink alone: no `ip`, `nft` or `iptables` process, no daemon.
//!
//! What one container is to be connected to is a list of [`Request`]s, from netconf.json ([`netconf`]), from the
//! configuration of a CNI plugin, or from a program. [`attach::reserve`] decides everything about it, under the
//! lock of the [`store`], and records it as an [`Attachment`]; [`attach::connect`] makes what the attachment says, and
//! [`detach`] undoes it, whichever process was killed, and when. Between the two, [`link`](mod@link) and [`filter`] compile attachments
//! to messages over netlink, and ask nobody anything.
#![deny(unsafe_code)]

mod allot;
pub mod attach;
pub mod attachment;
mod bridge;
mod bring_up;
pub mod cidr;
pub mod cni;
pub mod connection;
pub mod detach;
pub mod dns;
mod error;
pub mod filter;
mod firewalld;
mod foreign;
pub mod host;
pub mod inspect;
pub mod ip;
mod kernel;
pub mod link;
pub mod namespace;
pub mod netconf;
pub mod network;
mod passage;
pub mod plugin;
pub mod port;
mod request;
pub mod responder;
pub mod rootless;
pub mod store;
mod subnet;
#[allow(unsafe_code)]
mod sys;
mod tracked;

pub use attachment::{Attachment, Holder, Interface, Published, Route, attachment_key};
pub use bring_up::take_down;
pub use cidr::Cidr;
pub use error::{Error, Kind, Result};
pub use ip::Ip;
pub use network::{Network, NetworkKind, Range};
pub use port::{Port, Protocol};
pub use request::{NetworkRequest, Pool, Request, Wanted};
pub use store::{Locked, Store};
pub use subnet::free_subnets;
