//! Starting a created container.

use std::os::fd::{AsFd, OwnedFd};

use pillbox_init::plan::Turn;
use pillbox_init::report::Report;
use rustix::net::SendFlags;

use crate::container_id::ContainerId;
use crate::error::{Context, Error, Result};
use crate::seccomp_agent::{Agent, Handed};
use crate::spawn::{self, Message};
use crate::spec::Spec;
use crate::spec::json::{object, parse};
use crate::state::{Record, Root, StateDirectory, Status};

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
    StateDirectory::send_start(&gate).context(|| format!("start container {id}"))?;
    let said = match spawn::receive(&gate)? {
        Message::Report(Report::SeccompListener { descriptor }, ..) => {
            hand_over_listener(&directory, &record, &gate, descriptor)?;
            spawn::receive(&gate)?
        }
        said => said,
    };
    match said {
        // Closed by a successful exec, or by init's end before one.
        Message::Closed => {
            directory.remove_gate();
            Ok(())
        }
        Message::Report(report, ..) => Err(describe(&directory, report)),
    }
}

/// Init waits at the other end of the gate; it ends if this fails and the gate closes.
fn hand_over_listener(directory: &StateDirectory, record: &Record, gate: &OwnedFd, descriptor: u32) -> Result<()> {
    let document = directory.read_document()?;
    let stored: StoredConfig<'_> =
        parse(&document).map_err(|error| Error::new(format!("container {}: state.json: {error}", record.id)))?;
    let agent = stored.config.as_ref().and_then(|spec| {
        let profile = spec.linux.as_ref()?.seccomp.as_ref()?;
        Agent::of(profile, &spec.oci_version, &spec.annotations, &record.id, &record.bundle)
    });
    let agent = agent.ok_or_else(|| Error::new("linux.seccomp.listenerPath: missing"))?;
    let process = record.open_process()?.ok_or_else(|| Error::new("init is gone"))?;
    match agent.hand_over(process.as_fd(), record.pid, gate.as_fd(), descriptor, Status::Created)? {
        Handed::Over => {
            let go_on = [Turn::Listener as u8];
            rustix::net::send(gate, &go_on, SendFlags::NOSIGNAL).map(drop).context(|| "answer init")
        }
        // Init says why next.
        Handed::NotInstalled => Ok(()),
    }
}

fn describe(directory: &StateDirectory, report: Report) -> Error {
    let arguments = directory.read_document().ok().and_then(|document| {
        let stored: StoredConfig<'_> = parse(&document).ok()?;
        Some(stored.config?.process?.args.iter().map(|argument| argument.to_string()).collect::<Vec<_>>())
    });
    spawn::word_late_report(&arguments.unwrap_or_default(), report)
}
