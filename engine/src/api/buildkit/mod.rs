//! BuildKit's protocol, as buildx speaks it: `POST /grpc`, on which clients call, and `POST /session`, on which boxd calls the client
//! for its files, its secrets and its names in registries.
//!
//! ```text
//! executor                 HTTP/2 (h2) among blocking threads
//! status, frame, message   gRPC on it, and BuildKit's messages
//! server, session          calls of a client, calls to a client
//! job                      what clients have begun, and look at
//! frontend, export         attributes of a request; pure
//! file_sync, file_send, keeper, agent, upload   what a session is asked for
//! solve, cache             a build, and what builds have kept
//! control, bridge          what can be called
//! ```

mod agent;
mod bridge;
mod cache;
mod control;
mod executor;
mod export;
mod file_send;
mod file_sync;
mod frame;
mod frontend;
mod images;
mod job;
mod keeper;
mod message;
mod progress;
mod server;
mod session;
mod solve;
mod status;
mod upload;
mod worker;

use std::collections::BTreeSet;

pub use job::Jobs;
pub use session::Sessions;

use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};

/// The one protocol that both connections become.
const PROTOCOL: &str = "h2c";

/// A connection on which a client calls.
pub fn grpc(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let begun = exchange.upgrade(PROTOCOL)?;
    // Whoever goes in the middle has gone: some only look whether somebody is there.
    let served = server::serve(exchange.connection(), begun, |call| control::handle(daemon, call));
    served.map(|()| Reply::Sent).map_err(|error| Fault::invalid(format!("HTTP/2: {error}")))
}

/// A connection on which a client is called.
pub fn session(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let id = exchange.head.header("x-docker-expose-session-uuid").unwrap_or_default().to_string();
    if id.is_empty() {
        return Err(Fault::invalid("header X-Docker-Expose-Session-Uuid is missing"));
    }
    if daemon.sessions.has(&id) {
        return Err(Fault::conflict(format!("session {id} already exists")));
    }
    let methods = exchange.head.headers("x-docker-expose-session-grpc-method");
    let methods: BTreeSet<String> = methods.map(str::to_ascii_lowercase).collect();
    let begun = exchange.upgrade(PROTOCOL)?;
    daemon
        .sessions
        .run(&id, methods, exchange.connection(), begun)
        .map_err(|status| Fault::new(500, status.message))?;
    Ok(Reply::Sent)
}
