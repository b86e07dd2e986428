//! One more process in a container.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;

use super::create::CreateOptions;
use super::out_of_memory::explain_kill;
use super::passed_on::PassedOn;
use super::pid_file::write_pid_file;
use super::processes::not_running;
use super::scope::spawn_into;
use super::signals::ForwardedSignals;
use super::supervise::{settle_terminal, supervise};
use crate::cgroup::{Cgroup, CgroupPath, Hierarchy};
use crate::console;
use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;
use crate::oci::spec::json::{List, Text};
use crate::oci::spec::{Process, Spec};
use crate::plan::{self, Host, Intent};
use crate::spawn::affinity::{Held, HeldHere, restrict_process};
use crate::spawn::{self, Init, Patience, SpawnError};
use crate::state::{Record, Root, stored_config};
use crate::validate::{NamespaceKind, ValidSpec, validate};

/// What is to run.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// The text of a process.json; what is below then does not count.
    pub process: Option<String>,
    /// argv.
    pub arguments: Vec<String>,
    /// Variables besides the container's.
    pub environment: Vec<String>,
    /// Instead of the container's.
    pub cwd: Option<String>,
    /// `UID[:GID]` instead of the container's.
    pub user: Option<(u32, Option<u32>)>,
    /// Groups besides the container's.
    pub additional_gids: Vec<u32>,
    /// Capabilities besides the container's, by name.
    pub capabilities: Vec<String>,
    /// Sets no_new_privs.
    pub no_new_privileges: bool,
    /// Gives it a terminal.
    pub terminal: bool,
    /// AppArmor profile instead of the container's.
    pub apparmor: Option<String>,
    /// SELinux label instead of the container's.
    pub process_label: Option<String>,
    /// A cgroup below the container's.
    pub cgroup: Option<String>,
    /// Goes ahead in a paused container.
    pub ignore_paused: bool,
    /// Does not wait for the end.
    pub detach: bool,
    /// Console socket, pid file, preserved descriptors; the rest does not matter here.
    pub create: CreateOptions,
}

/// Runs a process in a container. The result is its status, or 0 for a detached one that has started.
///
/// # Errors
/// The container is not there or does not run; the process could not be started.
pub fn exec(root: &Root, id: &ContainerId, options: &ExecOptions, warn: &mut dyn FnMut(&str)) -> Result<u8> {
    let PassedOn { count, environment, gaps: _gaps } = options.create.passed_on()?;
    let directory = root.find(id)?;
    let (record, document) = directory.load_whole()?;
    let target = Target::open(&record, "exec in")?;
    let paused = target.is_paused()?;
    if paused && !options.ignore_paused {
        return Err(Error::of(
            Kind::Status,
            format!("cannot exec in container {id}: it is paused: resume it first, or use --ignore-paused"),
        ));
    }
    let spec = with_process(stored_config(&document)?, options)?;
    if spec.process.terminal && options.detach && options.create.console_socket.is_none() {
        return Err(Error::new("a detached process with a terminal needs --console-socket"));
    }
    if !spec.process.terminal && options.create.console_socket.is_some() {
        return Err(Error::new("--console-socket: the process has no terminal: use --tty"));
    }
    let intent = Intent {
        id: id.to_string(),
        bundle: record.bundle.clone(),
        preserve_fds: count,
        environment,
        no_new_keyring: options.create.no_new_keyring,
        chrooted: record.chrooted,
        ..Intent::default()
    };
    let plan = plan::compile_exec(&spec, &Host::look_for(&spec), &intent)?;
    plan.warnings.iter().for_each(|warning| warn(warning));
    let signals = if options.detach { None } else { Some(ForwardedSignals::block()?) };
    let stdio = options.create.open_stdio()?;
    let here = if spec.process.exec_cpu_affinity.is_none() { HeldHere::begin() } else { None };
    // The error that led there is the one to report.
    let explain =
        |error| explain_end(explain_kill(error, record.open_cgroup().ok().flatten().as_ref()), &record);
    let patience = if options.detach { Patience::Endless } else { Patience::UntilSignal };
    let given = Given { stdio, patience };
    let entered = enter(&record, target, &spec, &plan, options.cgroup.as_deref(), given);
    let mut process = entered.map_err(explain)?;
    let group = directory.noted_resctrl();
    let grouped = group.and_then(|group| group.map_or(Ok(()), |group| group.add(process.pid)));
    let started = grouped.and_then(|()| match &options.create.pidfd_socket {
        None => process.bring_up_unrecorded(&plan),
        Some(_) => process.bring_up(&plan),
    });
    let started = started.and_then(|()| {
        settle_terminal(&mut process, &options.create)?;
        if let Some(socket) = &options.create.pidfd_socket {
            console::send_descriptor(socket, &process.process, "pidfd").context(|| "--pidfd-socket")?;
        }
        drop(here);
        process.release()?;
        match &signals {
            Some(signals) => {
                write_pid(options, &process)?;
                supervise(&mut process, &plan, signals, warn, &mut || Ok(()))
            }
            None => {
                process.await_exec(&plan)?;
                // Last: a pid file is how callers learn that the process runs.
                write_pid(options, &process)?;
                Ok(0)
            }
        }
    });
    started.map_err(|error| explain(process.kill_after(error)))
}

/// The error of a process that could not be started: a container that has ended meanwhile says all about it.
fn explain_end(error: Error, record: &Record) -> Error {
    let is_ending = || record.is_ending().unwrap_or(false);
    let ends = match error.kind() {
        Kind::Host => is_ending(),
        // What kills all that is in the container may have come to this process first.
        Kind::Killed => (0..100).any(|_| {
            let ends = is_ending();
            if !ends {
                std::thread::sleep(Duration::from_millis(10));
            }
            ends
        }),
        _ => false,
    };
    if ends { error.context(not_running("exec in", &record.id)).with_kind(Kind::Status) } else { error }
}

fn write_pid(options: &ExecOptions, process: &Init) -> Result<()> {
    let pid = process.pid.as_raw_pid();
    options.create.pid_file.as_ref().map_or(Ok(()), |path| write_pid_file(path, pid))
}

/// What a process that comes into a container is given of the caller's.
#[derive(Default)]
pub(super) struct Given {
    /// See [`Opened::stdio`].
    pub stdio: Vec<(OwnedFd, u32)>,
    /// See [`Opened::patience`].
    pub patience: Patience,
}

/// What is entered: a container that lives.
pub(super) struct Target {
    process: OwnedFd,
    /// Its cgroup, if it has one.
    cgroup: Option<Cgroup>,
    /// What is to be done, for errors.
    verb: &'static str,
}

impl Target {
    /// Asks for each once.
    pub(super) fn open(record: &Record, verb: &'static str) -> Result<Target> {
        let process = record.open_process()?.ok_or_else(|| not_running(verb, &record.id))?;
        let cgroup = match record.open_cgroup()? {
            // It has moved itself elsewhere, and its first cgroup is gone.
            None if record.cgroup.is_some() => Some(cgroup_of_first(record, verb)?),
            cgroup => cgroup,
        };
        Ok(Target { process, cgroup, verb })
    }

    /// Whether all that is in it stands still, and what enters would too.
    pub(super) fn is_paused(&self) -> Result<bool> {
        self.cgroup.as_ref().map_or(Ok(false), Cgroup::is_frozen)
    }
}

/// The container's configuration with the wanted process in the place of its own.
fn with_process<'a>(mut spec: Spec<'a>, options: &'a ExecOptions) -> Result<ValidSpec<'a>> {
    let own = spec.process.take().unwrap_or_default();
    let process = match &options.process {
        Some(document) => {
            let mut process: Process<'a> = crate::oci::spec::json::parse(document.as_bytes())
                .map_err(|error| Error::formatted(format_args!("--process: {error}")))?;
            // What callers leave out is the container's.
            if process.capabilities.is_none() {
                process.capabilities = own.capabilities;
            }
            if process.rlimits.is_empty() {
                process.rlimits = own.rlimits;
            }
            process
        }
        None => from_options(own, options)?,
    };
    spec.process = Some(process);
    validate(spec).context(|| "exec")
}

fn from_options<'a>(mut process: Process<'a>, options: &'a ExecOptions) -> Result<Process<'a>> {
    let texts = |words: &'a [String]| words.iter().map(|word| Text::from(word.as_str()));
    if options.arguments.is_empty() {
        return Err(Error::new("exec: a command is missing: pillbox exec ID COMMAND, or --process FILE"));
    }
    process.args = List(texts(&options.arguments).collect());
    process.env.0.extend(texts(&options.environment));
    process.terminal = options.terminal;
    process.console_size = None;
    process.no_new_privileges |= options.no_new_privileges;
    if let Some(cwd) = &options.cwd {
        process.cwd = cwd.as_str().into();
    }
    if let Some((uid, gid)) = options.user {
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
        // HOME is another user's now.
        process.env.0.retain(|variable| !variable.starts_with("HOME="));
    }
    process.user.additional_gids.0.extend(&options.additional_gids);
    if let Some(profile) = &options.apparmor {
        process.apparmor_profile = Some(profile.as_str().into());
    }
    if let Some(label) = &options.process_label {
        process.selinux_label = Some(label.as_str().into());
    }
    if !options.capabilities.is_empty() {
        let sets = process.capabilities.get_or_insert_default();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.0.extend(texts(&options.capabilities));
        }
        // Those that are inheritable as well a user keeps through execve, as with runc.
        if !sets.inheritable.is_empty() {
            sets.ambient.0.extend(texts(&options.capabilities));
        }
    }
    Ok(process)
}

/// Clones into the container's cgroup, or the one `below` it, and into all of its namespaces.
pub(super) fn enter(
    record: &Record,
    target: Target,
    spec: &ValidSpec<'_>,
    plan: &plan::Plan,
    below: Option<&str>,
    given: Given,
) -> Result<Init> {
    let Target { process: target, cgroup, verb } = target;
    let Given { stdio, patience } = given;
    let flags = namespace_flags(spec);
    let time = time_namespace_of(spec, &target)?;
    // In the order in which the plan names them.
    let given = time.into_iter().chain(record.open_chroot()?);
    let mut opened = spawn::open(plan, None)?.and_given(plan, given, (target, flags));
    (opened.stdio, opened.patience) = (stdio, patience);
    let cgroup = below.map_or(Ok(cgroup), |below| open_cgroup(record, below).map(Some))?;
    let affinity = spec.process.exec_cpu_affinity.as_ref();
    let held = affinity.and_then(|affinity| affinity.initial.as_deref()).map(Held::to).transpose()?;
    let unit = record.systemd_unit.as_deref();
    let is_below = below.is_some();
    let below = below.map_or(String::new(), |below| format!("/{below}"));
    let spawned = match spawn_into(plan, &mut opened, cgroup.as_ref(), unit, &below) {
        // The container has made cgroups of its own there, and its processes live in these.
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

/// Where the container's first process is now.
///
/// # Errors
/// It has ended, or is in no cgroup that the runtime can see.
fn cgroup_of_first(record: &Record, verb: &'static str) -> Result<Cgroup> {
    let step = || format!("cgroup of process {}, the container's first", record.pid);
    let hierarchy = Hierarchy::find()?.ok_or_else(|| not_running(verb, &record.id))?;
    let path = hierarchy.cgroup_of(&record.pid.to_string()).context(step);
    // While it lives the number is its own.
    if !record.is_alive()? {
        return Err(not_running(verb, &record.id));
    }
    let path = CgroupPath::parse(&path?).context(step)?;
    Cgroup::open(&hierarchy, &path)?
        .ok_or_else(|| Error::formatted(format_args!("{}: {path} is gone", step())))
}

/// CLONE_NEW* bits of the namespaces that a process enters before it becomes init: those that the container has of
/// its own, but for the time namespace.
pub(super) fn namespace_flags(spec: &ValidSpec<'_>) -> u32 {
    let early = spec.namespaces.iter().filter(|namespace| namespace.kind != NamespaceKind::Time);
    early.fold(0, |flags, namespace| flags | namespace.kind.clone_flag())
}

/// The pidfd again, for a plan that enters the container's time namespace.
pub(crate) fn time_namespace_of(spec: &ValidSpec<'_>, process: &OwnedFd) -> Result<Option<OwnedFd>> {
    spec.namespace(NamespaceKind::Time)
        .map(|_| rustix::io::fcntl_dupfd_cloexec(process, 3).context(|| "duplicate a pidfd"))
        .transpose()
}

fn open_cgroup(record: &Record, below: &str) -> Result<Cgroup> {
    if below.contains(':') {
        return Err(Error::formatted(format_args!(
            "--cgroup {below}: a controller has no hierarchy of its own in cgroup v2: name the cgroup alone"
        )));
    }
    let (Some(path), Some(hierarchy)) = (&record.cgroup, Hierarchy::find()?) else {
        return Err(Error::new("--cgroup: the container has no cgroup"));
    };
    let path = CgroupPath::parse(&format!("{path}/{below}")).context(|| "--cgroup")?;
    Cgroup::open(&hierarchy, &path)?
        .ok_or_else(|| Error::formatted(format_args!("--cgroup {below}: there is no such cgroup")))
}
