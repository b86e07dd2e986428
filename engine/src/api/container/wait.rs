//! `POST /containers/ID/wait`: the head of the answer is sent at once, because clients start the container only then.

use std::os::fd::AsFd;

use serde_json::json;

use super::named;
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::container::{Condition, await_condition};
use crate::error::{Error, Kind};

/// Waits until it has ended, ends next, or is gone.
pub fn wait(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, _) = named(daemon, exchange)?;
    let condition = match exchange.head.query.text("condition") {
        None | Some("not-running") => Condition::NotRunning,
        Some("next-exit") => Condition::NextExit,
        Some("removed") => Condition::Removed,
        Some(other) => return Err(Fault::invalid(format!("invalid condition: {other:?}"))),
    };
    let connection = exchange.connection();
    let mut stream = None;
    let mut begun = || {
        stream = Some(
            exchange.stream("application/json").map_err(|fault| Error::new(Kind::Closed, fault.message()))?,
        );
        Ok(())
    };
    let ended = await_condition(&daemon.store, &folder, condition, connection.as_fd(), &mut begun)?;
    let Some(mut stream) = stream else { return Err(Fault::new(500, "nobody has begun to wait")) };
    // A client that has gone is told nothing.
    if let Some(status) = ended {
        let document = json!({"StatusCode": status});
        std::io::Write::write_all(&mut stream, format!("{document}\n").as_bytes())?;
    }
    exchange.end(stream)
}
