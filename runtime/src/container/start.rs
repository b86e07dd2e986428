//! Starting a created container.

use std::os::fd::{AsFd, OwnedFd};

use pillbox_init::plan::Turn;
use pillbox_init::report::Report;
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::Signal;

use super::bundle::stored_spec;
use super::hooks::run_poststop;
use super::namespaces::namespace_flags;
use super::out_of_memory::explain_kill;
use super::readiness::Readiness;
use super::undo::{OnRefusal, destroy};
use crate::cgroup::Cgroup;
use crate::container::hooks::{self, Place};
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::oci::ContainerId;
use crate::oci::Status;
use crate::plan::Agent;
use crate::spawn::seccomp_agent::{self, Handed};
use crate::spawn::{self, Init, Message};
use crate::state::{Record, Root, StateDirectory, send_signal, stored_config};
use crate::sys::process_end::{PATIENCE_MS, collect_strays, wait_until_gone};
use crate::validate::ValidSpec;

/// How long an init that has closed its gate may take to end, in milliseconds.
const ENDING_MS: i64 = 1000;

/// Opens the gate and learns whether the program runs.
///
/// # Errors
/// There is no such container, or it is not a created one; the program could not be executed; a hook failed
/// (the container is gone then).
pub fn start(root: &Root, id: &ContainerId, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    start_heard(root, id, None, warn).map(drop)
}

/// As [`start`], for a service manager that waits until the container is ready: `manager` is its
/// `NOTIFY_SOCKET`.
///
/// # Errors
/// As for [`start`].
pub fn start_heard(
    root: &Root,
    id: &ContainerId,
    manager: Option<&str>,
    warn: &mut dyn FnMut(Warning),
) -> Result<Option<Readiness>> {
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let record = directory.load()?;
    // Checked before the gate, because a frozen init accepts no connection.
    if record.open_cgroup()?.map_or(Ok(false), |cgroup| cgroup.is_frozen())? {
        return Err(Error::of(
            Kind::Status,
            format!("cannot start container {id}: it is paused: resume it first"),
        ));
    }
    // If the connection is accepted, init is alive: no other process has the gate.
    let Some(gate) = directory.connect_gate()? else {
        let status = directory.status(&record)?;
        return Err(match status {
            Status::Stopped => finished(id),
            status => Error::of(
                Kind::Status,
                format!("cannot start container {id}: it is {}, not created", status.as_str()),
            ),
        });
    };
    if !record.startable {
        return Err(Error::of(
            Kind::Invalid,
            format!("cannot start container {id}: its config.json has no process"),
        ));
    }
    let readiness = manager.map_or(Ok(None), |manager| Readiness::listen(&directory, &record, manager))?;
    if !record.hooks {
        return open_gate(&directory, &record, &gate).map(|()| readiness);
    }
    let document = directory.read_document()?;
    let spec = stored_spec(&document)?;
    let started = run_start_container(&spec, &record)
        .and_then(|()| open_gate(&directory, &record, &gate))
        .and_then(|()| run_poststart(&spec, &directory, &record));
    let Err(error) = started else { return Ok(readiness) };
    drop(gate);
    // No program may run after a `start` that fails, even if another command is busy with the container; and
    // processes that a hook has left may keep init from ending. `destroy` reports what is left after that.
    let _ = record.open_cgroup().map(|cgroup| cgroup.map(|cgroup| cgroup.kill()));
    let _ = record.open_process().map(|process| process.map(|process| send_signal(&process, Signal::KILL)));
    collect_strays();
    let destroyed = match directory.lock_patiently() {
        // Another command has deleted it meanwhile, and run its hooks.
        Err(missing) if missing.kind() == Kind::NotFound => return Err(error),
        locked => locked.and_then(|()| destroy(&directory, &record, OnRefusal::GoOn, warn)),
    };
    run_poststop(&spec.hooks, &record, warn);
    Err(error.besides(destroyed))
}

fn finished(id: &ContainerId) -> Error {
    Error::of(Kind::Status, format!("cannot start container {id}: it is stopped: process already finished"))
}

/// Runs the poststart hooks, without the lock: they may run commands for this container.
fn run_poststart(spec: &ValidSpec<'_>, directory: &StateDirectory, record: &Record) -> Result<()> {
    if spec.hooks.poststart.is_empty() {
        return Ok(());
    }
    directory.unlock()?;
    let place = Place::outside("poststart", Status::Running, record.pid);
    hooks::run(&spec.hooks.poststart, record, &place)
}

fn open_gate(directory: &StateDirectory, record: &Record, gate: &OwnedFd) -> Result<()> {
    match StateDirectory::send_start(gate) {
        // Init was killed after it had accepted the connection.
        Err(Errno::PIPE | Errno::CONNRESET) => return Err(finished(directory.id())),
        sent => sent.context(|| format!("start container {}", directory.id()))?,
    }
    let mut left_word = false;
    let said = match hear(gate, record, &mut left_word)? {
        Message::Report(Report::SeccompListener { descriptor }, ..) => {
            hand_over_listener(directory, record, gate, descriptor)?;
            hear(gate, record, &mut left_word)?
        }
        said => said,
    };
    match said {
        // Closed by a successful exec.
        Message::Closed => {
            directory.remove_gate();
            Ok(())
        }
        Message::Reset => match record.open_process()? {
            // It has read the byte of a `start` that was killed, and never this one.
            Some(process) if !wait_until_gone(&process, ENDING_MS)? => {
                directory.remove_gate();
                Ok(())
            }
            _ => {
                let text = format!("container {}: init ended before it executed the program", directory.id());
                Err(explain_kill(Error::of(Kind::Killed, text), record.open_cgroup()?.as_ref()))
            }
        },
        Message::Report(report, ..) => Err(describe(directory, report)),
    }
}

/// Waits for init's message. If it cannot be received, init is killed: the program may run, which it must not
/// after a `start` that fails.
fn hear(gate: &OwnedFd, record: &Record, left_word: &mut bool) -> Result<Message> {
    let heard = spawn::receive(gate, left_word);
    if heard.is_err()
        && let Some(process) = record.open_process()?
    {
        send_signal(&process, Signal::KILL)?;
        wait_until_gone(&process, PATIENCE_MS)?;
    }
    heard
}

/// Sends the listener to the agent while init waits at the other end of the gate. If this fails, the gate is
/// closed, and init ends.
fn hand_over_listener(
    directory: &StateDirectory,
    record: &Record,
    gate: &OwnedFd,
    descriptor: u32,
) -> Result<()> {
    let document = directory.read_document()?;
    let spec = stored_spec(&document)?;
    let agent = Agent::of(&spec, &record.id, &record.bundle, Status::Created)
        .ok_or_else(|| Error::new("linux.seccomp.listenerPath: missing"))?;
    let process = record.open_process()?.ok_or_else(|| Error::new("init is gone"))?;
    match seccomp_agent::hand_over(&agent, process.as_fd(), record.pid, gate.as_fd(), descriptor)? {
        Handed::Over => {
            let go_on = [Turn::Listener as u8];
            rustix::net::send(gate, &go_on, SendFlags::NOSIGNAL).map(drop).context(|| "answer init")
        }
        // Init's next message says why.
        Handed::NotInstalled => Ok(()),
    }
}

fn run_start_container(spec: &ValidSpec<'_>, record: &Record) -> Result<()> {
    if spec.hooks.start_container.is_empty() {
        return Ok(());
    }
    let process =
        record.open_process()?.ok_or_else(|| Error::of(Kind::Status, "process already finished".into()))?;
    let cgroup = record.open_cgroup()?;
    inside(spec, process, record, cgroup.as_ref())
}

/// The startContainer hooks of a container whose init waits.
pub(super) fn start_hooks(
    spec: &ValidSpec<'_>,
    init: &Init,
    record: &Record,
    cgroup: Option<&Cgroup>,
) -> Result<()> {
    if spec.hooks.start_container.is_empty() {
        Ok(())
    } else {
        inside(spec, init.duplicate()?, record, cgroup)
    }
}

/// Runs hooks as programs of the container: with its rights, in its namespaces, and with the pid that they
/// see there.
fn inside(spec: &ValidSpec<'_>, process: OwnedFd, record: &Record, cgroup: Option<&Cgroup>) -> Result<()> {
    let place = Place {
        enter: Some((process, namespace_flags(spec))),
        cgroup,
        unit: record.systemd_unit.as_deref(),
        rights: Some(spec),
        ..Place::outside("startContainer", Status::Created, record.pid_inside()?)
    };
    hooks::run(&spec.hooks.start_container, record, &place)
}

fn describe(directory: &StateDirectory, report: Report) -> Error {
    let arguments = directory.read_document().ok().and_then(|document| {
        let config = stored_config(&document).ok()?;
        Some(config.process?.args.iter().map(|argument| argument.to_string()).collect::<Vec<_>>())
    });
    spawn::word_late_report(&arguments.unwrap_or_default(), report)
}
