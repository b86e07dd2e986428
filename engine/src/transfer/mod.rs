//! Images between registries and the store.

mod catalog;
mod compress;
mod fetch;
mod observer;
mod pull;
mod push;

pub use catalog::{CatalogEntry, fetch_from_catalog, find_in_catalog};
pub use observer::{Observer, Silent, Step};
pub use pull::{Pulled, pull, pull_all};
pub use push::push;

/// Connections to one registry at once.
const CONNECTIONS: usize = 6;
