//! BuildKit's protocol, as buildx speaks it: `POST /grpc`, on which clients call, and `POST /session`, on which boxd calls the client
//! for its files, its secrets and its names in registries.
//!
//! ```text
//! executor                                    HTTP/2 (h2) among blocking threads
//! status, frame, message                      gRPC on it, and BuildKit's messages
//! server, session                             calls of a client, calls to a client
//! stat, file_sync, file_send, upload, relay   files and streams between them
//! keeper, agent                               secrets, names and passwords, SSH agents
//! content_store                               caches in folders of the client's
//! job, builds                                 what clients have begun, and look at
//! result, frontend, export                    what is asked for
//! sources, solve, progress, cache             a build, and what builds have kept
//! bridge, control                             what can be called
//! ```

mod agent;
mod bridge;
mod builds;
mod cache;
mod content_store;
mod control;
mod executor;
mod export;
mod file_send;
mod file_sync;
mod frame;
mod frontend;
mod job;
mod keeper;
mod message;
mod progress;
mod relay;
mod result;
mod server;
mod session;
mod solve;
mod sources;
mod stat;
mod status;
mod upload;
mod worker;

pub use builds::Builds;

use session::Offer;

use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};

/// The one protocol that both connections become.
const PROTOCOL: &str = "h2c";

impl Builds {
    /// A connection on which a client calls.
    ///
    /// # Errors
    /// It does not become HTTP/2.
    pub fn grpc(&self, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
        let begun = exchange.upgrade(PROTOCOL)?;
        // Whoever goes in the middle has gone: some only look whether somebody is there.
        let served = server::serve(exchange.connection(), begun, |call| control::handle(self, call));
        served.map(|()| Reply::Sent).map_err(|error| Fault::invalid(format!("HTTP/2: {error}")))
    }

    /// A connection on which a client is called.
    ///
    /// # Errors
    /// It has no name, or that of another one; it does not become HTTP/2.
    pub fn session(&self, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
        let offer = Offer::parse(exchange.head.headers()).map_err(|status| Fault::invalid(status.message))?;
        self.sessions.check(&offer).map_err(|status| Fault::conflict(status.message))?;
        let begun = exchange.upgrade(PROTOCOL)?;
        let served = self.sessions.run(offer, exchange.connection(), begun);
        served.map(|()| Reply::Sent).map_err(|status| Fault::invalid(format!("HTTP/2: {}", status.message)))
    }
}
