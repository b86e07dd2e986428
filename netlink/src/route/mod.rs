//! rtnetlink(7): links, addresses, routes, rules, neighbours, and the numbers of network namespaces.
//!
//! Functions that change something build a [`Message`](crate::Message); [`Socket::request`](crate::Socket::request)
//! sends a batch of them with one system call. Functions that ask for something take the socket. What stands right here
//! is about routes.
//!
//! ```no_run
//! use pillbox_netlink::route::{self, Metrics, Route};
//! use pillbox_netlink::{Socket, link};
//!
//! let mut socket = Socket::open()?;
//! let metrics = Metrics { mtu: Some(1400), ..Metrics::default() };
//! let gateway = "192.0.2.1".parse().expect("an address");
//! let index = Some(link::index_of(&mut socket, "eth0")?);
//! let route = Route { index, onlink: true, metrics, ..Route::default_via(gateway) };
//! socket.request(&[route::add(&route)?])?;
//! assert!(route::list(&mut socket)?.iter().any(|route| route.gateway == Some(gateway)));
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

pub mod address;
mod hop;
pub mod link;
pub mod namespace;
pub mod neighbour;
// rtnetlink's routes, in the room that is named for rtnetlink.
#[allow(clippy::module_inception)]
pub(crate) mod route;
pub mod rule;

pub use hop::NextHop;
pub use route::{LOCAL_TABLE, MAIN_TABLE, Metrics, Route, RouteKind, add, delete, list, replace};

#[cfg(test)]
mod tests;
