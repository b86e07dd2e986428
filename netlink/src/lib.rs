//! rtnetlink(7): links, addresses and routes, with several changes in one round trip.
//!
//! Functions that change something build a [`Message`]; [`Socket::request`] sends a batch of them with one
//! system call. Functions that ask for something take the socket. The socket may have been opened by another
//! process in another network namespace: it continues to work on that namespace.
//!
//! ```no_run
//! use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
//!
//! let mut socket = Socket::open()?;
//! socket.request(&[link::set_up(LOOPBACK_INDEX)?])?;
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod message;
mod reply;
pub mod route;
mod socket;

pub use error::{Error, Refusal, Result};
pub use message::Message;
pub use route::{address, link};
pub use socket::{MAX_BATCH, Socket};

/// The index of the loopback: the kernel gives it to `lo` in every network namespace (include/net/flow.h).
pub const LOOPBACK_INDEX: u32 = 1;
