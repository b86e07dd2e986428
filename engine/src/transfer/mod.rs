//! Images between registries and the store.

mod compress;
mod fetch;
mod observer;
mod pull;
mod push;

pub use observer::{Observer, Silent, Step};
pub use pull::{Pulled, pull};
pub use push::push;

/// Connections to one registry at once.
const CONNECTIONS: usize = 6;
