//! Docker's API: boxd, a front end of the engine for everything that already knows Docker. It owns no state. Whoever kills it ends
//! requests, and no container; the next one finds everything there.
//!
//! `server` has the connections, `head` and `body` read requests, `exchange` answers them, `route` finds the handler.

mod body;
mod build;
mod buildkit;
mod container;
mod counters;
mod daemon;
mod disk;
mod document;
mod event;
mod exchange;
mod exec;
mod fault;
mod head;
mod hijack;
mod image;
mod known;
mod listener;
mod log;
mod metrics;
mod network;
mod presence;
mod program;
mod query;
mod route;
mod server;
mod swarm;
mod system;
mod terminals;
mod tls;
mod volume;
mod web_socket;

pub use program::{as_command, is_called, run, stays};
