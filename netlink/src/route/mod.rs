//! rtnetlink(7): links, addresses, routes.

pub mod address;
pub mod link;
// rtnetlink's routes, in the room that is named for rtnetlink.
#[allow(clippy::module_inception)]
mod route;

pub use route::{Route, add};
