//! What calls and sessions of all clients share.

use super::job::Jobs;
use super::session::Sessions;
use crate::store::Store;

/// Builds of clients that speak BuildKit's protocol. Nothing of it outlives the connections.
#[derive(Debug)]
pub struct Builds {
    /// Where images are kept, and what builds go on from.
    pub store: Store,
    /// The builds.
    pub jobs: Jobs,
    /// The clients' sessions.
    pub sessions: Sessions,
}

impl Builds {
    /// None yet.
    pub fn new(store: Store) -> Builds {
        Builds { store, jobs: Jobs::default(), sessions: Sessions::default() }
    }
}
