//! One more process in a container.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::exec_process::with_process;
use super::namespaces::{namespace_flags, time_namespace_of};
use super::options::{CommandLine, ExecOptions};
use super::out_of_memory::explain_kill;
use super::passed_on::PassedOn;
use super::pid_file::write_pid_file;
use super::process::Process;
use super::processes::not_running;
use super::scope::spawn_into;
use super::terminal::hand_over_console;
use crate::cgroup::{Cgroup, CgroupPath, Hierarchy};
use crate::console;
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::oci::ContainerId;
use crate::plan::{self, Host, Intent, Plan};
use crate::spawn::affinity::{Held, HeldHere, restrict_process};
use crate::spawn::{self, Init, Patience, SpawnError};
use crate::state::{Record, Root, stored_config};
use crate::validate::ValidSpec;

const VERB: &str = "exec in";

/// Runs a process in a container, and returns when its program runs.
///
/// # Errors
/// The container is missing or does not run; the process could not be started.
pub fn exec(
    root: &Root,
    id: &ContainerId,
    options: &ExecOptions,
    warn: &mut dyn FnMut(Warning),
) -> Result<Process> {
    let mut starting = Starting::begin(root, id, options, warn, &mut || Ok(Patience::Endless))?;
    let line = &options.line;
    let started = starting
        .hand_over(line)
        .and_then(|()| starting.release())
        .and_then(|()| starting.init.await_exec(&starting.plan))
        // Last, because the pid file tells callers that the process runs.
        .and_then(|()| starting.write_pid(line));
    match started {
        Ok(()) => Ok(Process::new(starting.init)),
        Err(error) => Err(starting.end(error)),
    }
}

/// A process that was set up in a container, and waits for the answer on which it goes on to its program.
pub(super) struct Starting {
    pub init: Init,
    pub plan: Plan,
    record: Record,
    held: Option<HeldHere>,
}

impl Starting {
    /// Sets a process up. `patience` is called just before the container is entered.
    pub fn begin(
        root: &Root,
        id: &ContainerId,
        options: &ExecOptions,
        warn: &mut dyn FnMut(Warning),
        patience: &mut dyn FnMut() -> Result<Patience>,
    ) -> Result<Starting> {
        let line = &options.line;
        let PassedOn { count, environment, gaps: _gaps } =
            PassedOn::look(options.preserve_fds, line.listen_fds).map_err(invalid)?;
        let directory = root.find(id)?;
        let (record, document) = directory.load_whole()?;
        let target = Target::open(&record, VERB)?;
        let paused = target.is_paused()?;
        if paused && !options.ignore_paused {
            return Err(Error::of(
                Kind::Status,
                format!(
                    "cannot exec in container {id}: it is paused: resume it first, or use --ignore-paused"
                ),
            ));
        }
        let spec = with_process(stored_config(&document)?, options).map_err(invalid)?;
        if spec.process.terminal && line.detach && line.console_socket.is_none() {
            return Err(invalid(Error::new("a detached process with a terminal needs --console-socket")));
        }
        if !spec.process.terminal && line.console_socket.is_some() {
            return Err(invalid(Error::new("--console-socket: the process has no terminal: use --tty")));
        }
        let intent = Intent {
            id: id.to_string(),
            bundle: record.bundle.clone(),
            preserve_fds: count,
            environment,
            chrooted: record.chrooted,
            ..Intent::default()
        };
        let mut plan = plan::compile_exec(&spec, &Host::look_for(&spec), &intent).map_err(invalid)?;
        plan.warnings.drain(..).for_each(&mut *warn);
        let patience = patience()?;
        let stdio = options.streams.open()?;
        let held = if spec.process.exec_cpu_affinity.is_none() { HeldHere::begin() } else { None };
        let given = Given { stdio, patience };
        let entered = enter(&record, target, &spec, &plan, options.cgroup.as_deref(), given);
        let init = entered.map_err(|error| explain(error, &record))?;
        let mut starting = Starting { init, plan, record, held };
        let group = directory.noted_resctrl();
        let pid = starting.init.pid;
        let grouped = group.and_then(|group| group.map_or(Ok(()), |group| group.add(pid)));
        let brought_up = grouped.and_then(|()| match &line.pidfd_socket {
            None => starting.init.bring_up_unrecorded(&starting.plan),
            Some(_) => starting.init.bring_up(&starting.plan),
        });
        match brought_up {
            Ok(()) => Ok(starting),
            Err(error) => Err(starting.end(error)),
        }
    }

    /// Sends the terminal and a pidfd to the sockets of the command line, before the program runs.
    pub fn hand_over(&mut self, line: &CommandLine) -> Result<()> {
        hand_over_console(&mut self.init, line)?;
        match &line.pidfd_socket {
            Some(socket) => {
                console::send_descriptor(socket, &self.init.process, "pidfd").context(|| "--pidfd-socket")
            }
            None => Ok(()),
        }
    }

    /// Lets it go on to its program.
    pub fn release(&mut self) -> Result<()> {
        self.held = None;
        self.init.release()
    }

    pub fn write_pid(&self, line: &CommandLine) -> Result<()> {
        let pid = self.init.pid.as_raw_pid();
        line.pid_file.as_ref().map_or(Ok(()), |path| write_pid_file(path, pid))
    }

    /// Ends it after an error, which is the one to report.
    pub fn end(&mut self, error: Error) -> Error {
        explain(self.init.kill_after(error), &self.record)
    }
}

fn invalid(error: Error) -> Error {
    error.or_kind(Kind::Invalid)
}

fn explain(error: Error, record: &Record) -> Error {
    explain_end(explain_kill(error, record.open_cgroup().ok().flatten().as_ref()), record, VERB)
}

/// The error of a process that could not be started in a container. If the container has ended meanwhile,
/// that is the reason. `verb` says what cannot be done.
pub(super) fn explain_end(error: Error, record: &Record, verb: &str) -> Error {
    let is_ending = || record.is_ending().unwrap_or(false);
    let ends = match error.kind() {
        kind if kind.is_of_step() => is_ending(),
        // If everything in the container is being killed, this process may have been the first.
        Kind::Killed => (0..100).any(|_| {
            let ends = is_ending();
            if !ends {
                std::thread::sleep(Duration::from_millis(10));
            }
            ends
        }),
        _ => false,
    };
    if ends { error.context(not_running(verb, &record.id)).with_kind(Kind::Status) } else { error }
}

/// What the caller gives to a process that enters a container.
#[derive(Default)]
pub(super) struct Given {
    /// See [`Opened::stdio`].
    pub stdio: Vec<(OwnedFd, u32)>,
    /// See [`Opened::patience`].
    pub patience: Patience,
}

/// A running container that is to be entered.
pub(super) struct Target {
    process: OwnedFd,
    /// Its cgroup, if it has one.
    cgroup: Option<Cgroup>,
    /// Says in errors what cannot be done.
    verb: &'static str,
}

impl Target {
    /// Opens the container's first process and its cgroup.
    pub(super) fn open(record: &Record, verb: &'static str) -> Result<Target> {
        let process = record.open_process()?.ok_or_else(|| not_running(verb, &record.id))?;
        let cgroup = match record.open_cgroup()? {
            // The container has moved itself elsewhere, and its first cgroup is gone.
            None if record.cgroup.is_some() => Some(cgroup_of_first(record, verb)?),
            cgroup => cgroup,
        };
        Ok(Target { process, cgroup, verb })
    }

    /// Whether its processes are frozen; a process that enters would be, too.
    pub(super) fn is_paused(&self) -> Result<bool> {
        self.cgroup.as_ref().map_or(Ok(false), Cgroup::is_frozen)
    }
}

/// Clones into the container's cgroup, or the one `below` it, and into all of its namespaces.
pub(super) fn enter(
    record: &Record,
    target: Target,
    spec: &ValidSpec<'_>,
    plan: &Plan,
    below: Option<&str>,
    given: Given,
) -> Result<Init> {
    let Target { process: target, cgroup, verb } = target;
    let Given { stdio, patience } = given;
    let flags = namespace_flags(spec);
    let time = time_namespace_of(spec, &target)?;
    // In the plan's order.
    let given = time.into_iter().chain(record.open_chroot()?);
    let mut opened = spawn::open(plan, None)?.and_given(plan, given, (target, flags));
    (opened.stdio, opened.patience) = (stdio, patience);
    let first = record.init();
    opened.container_ends = Some(Arc::new(move || first.is_ending().unwrap_or(false)));
    let cgroup = below.map_or(Ok(cgroup), |below| open_cgroup(record, below).map(Some))?;
    let affinity = spec.process.exec_cpu_affinity.as_ref();
    let held = affinity.and_then(|affinity| affinity.initial.as_deref()).map(Held::to).transpose()?;
    let unit = record.systemd_unit.as_deref();
    let is_below = below.is_some();
    let below = below.map_or(String::new(), |below| format!("/{below}"));
    let spawned = match spawn_into(plan, &mut opened, cgroup.as_ref(), unit, &below) {
        // The container has made cgroups of its own there, and its processes are in those.
        Err(SpawnError::Cgroup { errno: Errno::BUSY | Errno::NODEV, .. }) if !is_below => {
            let cgroup = cgroup_of_first(record, verb)?;
            spawn_into(plan, &mut opened, Some(&cgroup), None, "")
        }
        spawned => spawned,
    };
    drop(held);
    match spawned {
        Ok(mut process) => {
            let list = affinity.and_then(|affinity| affinity.r#final.as_deref());
            list.map_or(Ok(()), |list| restrict_process(process.pid, list))
                .map_err(|error| process.kill_after(error))?;
            Ok(process)
        }
        Err(SpawnError::Cgroup { error, .. } | SpawnError::Other(error)) => Err(error),
        Err(SpawnError::Seed) => Err(not_running(verb, &record.id)),
    }
}

/// The cgroup in which the container's first process is now.
///
/// # Errors
/// The process has ended, or is in no cgroup that the runtime can see.
fn cgroup_of_first(record: &Record, verb: &'static str) -> Result<Cgroup> {
    let step = || format!("cgroup of process {}, the container's first", record.pid);
    let hierarchy = Hierarchy::find()?.ok_or_else(|| not_running(verb, &record.id))?;
    let path = hierarchy.cgroup_of(&record.pid.to_string()).context(step);
    // As long as it lives, the pid is its own.
    if !record.is_alive()? {
        return Err(not_running(verb, &record.id));
    }
    let path = CgroupPath::parse(&path?).context(step)?;
    Cgroup::open(&hierarchy, &path)?
        .ok_or_else(|| Error::formatted(format_args!("{}: {path} is gone", step())))
}

fn open_cgroup(record: &Record, below: &str) -> Result<Cgroup> {
    if below.contains(':') {
        return Err(Error::formatted(format_args!(
            "--cgroup {below}: a controller has no hierarchy of its own in cgroup v2: name the cgroup alone"
        ))
        .or_kind(Kind::Invalid));
    }
    let (Some(path), Some(hierarchy)) = (&record.cgroup, Hierarchy::find()?) else {
        return Err(Error::new("--cgroup: the container has no cgroup").or_kind(Kind::Cgroup));
    };
    let path = CgroupPath::parse(&format!("{path}/{below}")).context(|| "--cgroup")?;
    Cgroup::open(&hierarchy, &path)?.ok_or_else(|| {
        Error::formatted(format_args!("--cgroup {below}: there is no such cgroup")).or_kind(Kind::Cgroup)
    })
}
