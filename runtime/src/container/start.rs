//! Starting a created container.

use pillbox_init::report::Report;

use crate::error::{Context, Error, Result};
use crate::spawn::{self, Message};
use crate::spec::Spec;
use crate::spec::json::object;
use crate::state::{Root, StateDirectory, Status};
use crate::container_id::ContainerId;

object! {
    /// The part of state.json that words an error.
    StoredConfig<'a> {
        "config" => config: Option<Spec<'a>>,
    }
}

/// Opens the gate and learns whether the program runs.
///
/// # Errors
/// There is no such container, or it is not a created one; the program could not be executed.
pub fn start(root: &Root, id: &ContainerId) -> Result<()> {
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let record = directory.load()?;
    let Some(gate) = (if record.is_alive()? { directory.connect_gate()? } else { None }) else {
        let status = directory.status(&record)?;
        return Err(match status {
            Status::Stopped => Error::new(format!("cannot start container {id}: it is stopped: process already finished")),
            status => Error::new(format!("cannot start container {id}: it is {}, not created", status.as_str())),
        });
    };
    if record.open_cgroup()?.map_or(Ok(false), |cgroup| cgroup.is_frozen())? {
        return Err(Error::new(format!("cannot start container {id}: it is paused: resume it first")));
    }
    StateDirectory::send_start(&gate).context(|| format!("start container {id}"))?;
    match spawn::receive(&gate)? {
        // Closed by a successful exec, or by init's end before one.
        Message::Closed => {
            directory.remove_gate();
            Ok(())
        }
        Message::Report(report, ..) => Err(describe(&directory, report)),
    }
}

fn describe(directory: &StateDirectory, report: Report) -> Error {
    let arguments = directory.read_document().ok().and_then(|document| {
        let stored: StoredConfig<'_> = crate::spec::json::parse(&document).ok()?;
        Some(stored.config?.process?.args.iter().map(|argument| argument.to_string()).collect::<Vec<_>>())
    });
    spawn::word_late_report(&arguments.unwrap_or_default(), report)
}
