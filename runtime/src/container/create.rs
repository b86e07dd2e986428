//! Creating a container: state folder, cgroup, init, record. If anything fails, all of it is undone.

use super::bundle::{Bundle, Prepared, Wishes};
use super::hooks::run_poststop;
use super::made::{Created, end_and_undo};
use super::options::{CommandLine, CreateOptions};
use super::out_of_memory::explain_kill;
use super::passed_on::PassedOn;
use super::pid_file::write_pid_file;
use super::process::Process;
use super::step::{self, Making};
use super::terminal::hand_over_console;
use crate::error::{Error, Kind, Result, Warning};
use crate::oci::ContainerId;
use crate::plan::{MadeMount, NOTIFY_VARIABLE};
use crate::spawn::{Init, Opened, Patience, notify};
use crate::state::{Record, Root};

/// Creates a container; `start` runs its program. The result is its first process, a child of this one, with
/// its terminal unless that was sent to a console socket.
///
/// # Errors
/// Any step failed; nothing is left then.
pub fn create(
    root: &Root,
    id: &ContainerId,
    bundle: &Bundle,
    options: &CreateOptions,
    warn: &mut dyn FnMut(Warning),
) -> Result<Process> {
    let mut prepared = prepare(root, bundle, id, options, true)?;
    let line = &options.line;
    if prepared.plan.terminal && line.detach && line.console_socket.is_none() {
        return Err(Error::of(
            Kind::Invalid,
            "process.terminal: a detached container with a terminal needs --console-socket, where the terminal is sent".into(),
        ));
    }
    let mut created = set_up(root, id, bundle, &mut prepared, options, Patience::Endless, warn)?;
    created.plan.warnings.drain(..).for_each(&mut *warn);
    let Created { init, record, .. } = &mut created;
    match hand_over_console(init, line).and_then(|()| finish(init, record, line)) {
        Ok(()) => Ok(Process::new(created.init)),
        Err(error) => {
            let error = explain_kill(error, created.cgroup.as_ref());
            let record = created.record.clone();
            let error = error.besides(created.undo(warn));
            run_poststop(&prepared.spec().hooks, &record, warn);
            Err(error)
        }
    }
}

pub(super) fn prepare<'b>(
    root: &Root,
    bundle: &'b Bundle,
    id: &ContainerId,
    options: &CreateOptions,
    wait_for_start: bool,
) -> Result<Prepared<'b>> {
    let invalid = |error: Error| error.or_kind(Kind::Invalid);
    let PassedOn { count, mut environment, gaps } =
        PassedOn::look(options.preserve_fds, options.line.listen_fds).map_err(invalid)?;
    let folder = root.path().join(id.as_str());
    let mut made = Vec::new();
    if let Some(manager) = options.line.notify.as_deref() {
        // Abstract names belong to the host's network namespace, which the container may not share.
        let inside = if manager.starts_with('/') { manager } else { "/run/notify" };
        environment.push(format!("{}={inside}/notify", NOTIFY_VARIABLE));
        made.push(MadeMount {
            source: folder.join(notify::FOLDER).display().to_string(),
            target: inside.to_string(),
            field: NOTIFY_VARIABLE,
            writable: false,
        });
    }
    let wishes = Wishes {
        wait_for_start,
        preserve_fds: count,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        stand_before: options.stand_before,
        environment,
        driver: options.driver,
        scratch_over: options.scratch_over.clone(),
        made,
        networks: options.networks.clone(),
        state_folder: folder,
        root: options.root.clone(),
        wants_network: options.network.is_there(),
    };
    let mut prepared = Prepared::beginning(bundle, id, wishes).map_err(invalid)?;
    prepared.gaps = gaps;
    if !prepared.plan.terminal && options.line.console_socket.is_some() {
        return Err(Error::of(
            Kind::Invalid,
            "--console-socket: the container has no terminal: set process.terminal in its config.json".into(),
        ));
    }
    Ok(prepared)
}

/// Does all [steps](step), until init is ready.
pub(super) fn set_up(
    root: &Root,
    id: &ContainerId,
    bundle: &Bundle,
    prepared: &mut Prepared<'_>,
    options: &CreateOptions,
    patience: Patience,
    warn: &mut dyn FnMut(Warning),
) -> Result<Created> {
    let network = prepared.network.take();
    let mut making = Making {
        root,
        id,
        bundle,
        options,
        patience,
        prepared,
        replanned: None,
        network,
        opened: Opened::default(),
        directory: None,
        cgroup: None,
        unit: None,
        scope: None,
        group: None,
        nodes: 0,
        gate: None,
        init: None,
        attach: false,
        record: None,
        attached: None,
        warnings: Vec::new(),
    };
    let done = step::compile(making.prepared).try_for_each(|step| {
        let applied = options.observer.watch(|| step.name(), || step.apply(&mut making));
        applied.map_err(|error| error.or_kind(step.kind()))
    });
    // This closes what is open: undoing needs free descriptors.
    let Making { replanned, directory, cgroup, unit, init, record, warnings, .. } = making;
    warnings.into_iter().for_each(&mut *warn);
    let error = match (done, directory, init, record) {
        (Ok(()), Some(directory), Some(init), Some(record)) => {
            let plan = replanned.unwrap_or_else(|| std::mem::take(&mut prepared.plan));
            return Ok(Created { init, directory, cgroup, plan, record });
        }
        (Ok(()), ..) => return Err(Error::new("no init")),
        // Nothing has been made.
        (Err(error), None, ..) => return Err(error),
        (Err(error), Some(directory), init, record) => {
            let error = explain_kill(error, cgroup.as_ref());
            let error = error.besides(end_and_undo(directory, init, cgroup, unit, warn));
            // Hooks may have run, and poststop hooks undo what they did.
            if let Some(record) = record {
                run_poststop(&prepared.spec().hooks, &record, warn);
            }
            error
        }
    };
    Err(error)
}

/// The last steps: writes the pid file, then lets init go on. After that the container does not need the
/// runtime.
pub(super) fn finish(init: &mut Init, record: &Record, line: &CommandLine) -> Result<()> {
    if let Some(path) = &line.pid_file {
        write_pid_file(path, record.pid)?;
    }
    init.release()
}
