//! What box has none of: swarms, plugins, checkpoints.

use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};

/// Nodes, services, tasks, secrets, configurations.
pub fn refuse(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Err(Fault::new(
        503,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ))
}

/// Where Docker's words would lead in a circle.
pub fn no_swarms_here(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Err(Fault::new(501, "box has no swarms: its containers are on this machine alone"))
}

/// Of a machine that is part of none.
pub fn not_part(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Err(Fault::new(503, "This node is not part of a swarm"))
}

/// Plugins of the daemon's: none.
pub fn no_plugins(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Ok(Reply::Json(200, serde_json::json!([])))
}

/// One of them.
pub fn no_plugin(_: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    Err(Fault::missing(format!("plugin {:?} not found", exchange.parameter(0))))
}

/// Where one would be fetched or made.
pub fn no_plugins_here(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Err(Fault::new(501, "box has no plugins: volumes, networks and logs are its own"))
}

/// What a program had in memory is not kept.
pub fn no_checkpoints(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Err(Fault::new(501, "box has no checkpoints"))
}
