//! Creating a container: state directory, cgroup, init, record; and all of it away again if anything fails.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::SystemTime;

use pillbox_init::plan::Turn;
use rustix::io::Errno;

use super::bundle::{Bundle, Prepared, Wishes};
use super::delete::run_poststop;
use super::exec::namespace_flags;
use super::made::{Created, Made};
use super::out_of_memory::explain_kill;
use super::passed_on::PassedOn;
use super::pid_file::write_pid_file;
use super::scope::{self, Scope};
use super::stdio::Stdio;
use crate::cgroup::systemd::Unit;
use crate::cgroup::{Cgroup, DeviceControl, Driver, delegate_of, limit_nothing};
use crate::console;
use crate::container::hooks::{self, BeginsIn, Place};
use crate::error::{Context, Error, Kind, Result};
use crate::host::seed;
use crate::oci::ContainerId;
use crate::oci::Status;
use crate::plan::{Layer, NOTIFY_VARIABLE};
use crate::spawn::{self, Init, Opened, SpawnError};
use crate::spawn::{device_node, notify};
use crate::state::resctrl;
use crate::state::{ProcessId, Record, Root, StateDirectory, boot_id};
use crate::text::json::Members;
use crate::text::time;
use crate::validate::ValidSpec;

/// How a container is wanted.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// Where the program reads from.
    pub stdin: Stdio,
    /// Where it writes to.
    pub stdout: Stdio,
    /// Where it complains to.
    pub stderr: Stdio,
    /// Where the master of the container's terminal is sent.
    pub console_socket: Option<PathBuf>,
    /// Gets init's pid, last of all.
    pub pid_file: Option<PathBuf>,
    /// Gets a pidfd for init, by SCM_RIGHTS.
    pub pidfd_socket: Option<PathBuf>,
    /// Descriptors from 3 on that the program inherits.
    pub preserve_fds: u32,
    /// Descriptors after stdio that came by socket activation; they come first.
    pub listen_fds: u32,
    /// chroot instead of pivot_root.
    pub no_pivot: bool,
    /// The program keeps the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who makes the cgroup.
    pub driver: Driver,
    /// The service manager's socket (`NOTIFY_SOCKET`): the container gets one of its own, in a folder at that path.
    pub notify: Option<String>,
    /// The container sees these parts of the host; the bundle's root file system is not used.
    pub scratch_over: Vec<Layer>,
}

/// Creates a container; `start` runs its program. The result is a pidfd of its first process, a child of this one.
///
/// # Errors
/// What went wrong; nothing is left then.
pub fn create(
    root: &Root,
    id: &ContainerId,
    bundle: &Bundle,
    options: &CreateOptions,
    warn: &mut dyn FnMut(&str),
) -> Result<OwnedFd> {
    let mut prepared = prepare(root, bundle, id, options, true)?;
    if prepared.plan.terminal && options.console_socket.is_none() {
        return Err(Error::of(
            Kind::Invalid,
            "process.terminal: a detached container with a terminal needs --console-socket, where the terminal is sent".into(),
        ));
    }
    let mut created = set_up(root, id, bundle, &mut prepared, options, warn)?;
    created.plan.warnings.iter().for_each(|warning| warn(warning));
    let Created { init, record, .. } = &mut created;
    match hand_over_console(init, options).and_then(|()| finish(init, record, options)) {
        Ok(()) => Ok(created.init.process),
        Err(error) => {
            let record = created.record.clone();
            let error = error.besides(created.take_back());
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
    let invalid = |error: Error| error.with_kind(Kind::Invalid);
    let PassedOn { count, mut environment, gaps } = options.passed_on().map_err(invalid)?;
    let notify = options.notify.as_deref().map(|manager| {
        // The container has no names of the host's network namespace.
        let inside = if manager.starts_with('/') { manager } else { "/run/notify" };
        environment.push(format!("{}={inside}/notify", NOTIFY_VARIABLE));
        let folder = root.path().join(id.as_str()).join(notify::FOLDER);
        [folder.display().to_string(), inside.to_string()]
    });
    let wishes = Wishes {
        wait_for_start,
        preserve_fds: count,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        environment,
        driver: options.driver,
        scratch_over: options.scratch_over.clone(),
        notify,
    };
    let mut prepared = Prepared::beginning(bundle, id, wishes).map_err(invalid)?;
    prepared.gaps = gaps;
    if !prepared.plan.terminal && options.console_socket.is_some() {
        return Err(Error::of(
            Kind::Invalid,
            "--console-socket: the container has no terminal: set process.terminal in its config.json".into(),
        ));
    }
    Ok(prepared)
}

/// Makes state directory, cgroup and init, and brings init to where it is ready.
pub(super) fn set_up(
    root: &Root,
    id: &ContainerId,
    bundle: &Bundle,
    prepared: &mut Prepared<'_>,
    options: &CreateOptions,
    warn: &mut dyn FnMut(&str),
) -> Result<Created> {
    // A source that is missing shows here, before anything has been made.
    let mut opened = spawn::open(&prepared.plan, prepared.network.take())
        .map_err(|error| error.context(&bundle.config_name).with_kind(Kind::Invalid))?;
    opened.stdio = options.open_stdio()?;
    let mut made = Made { directory: root.reserve(id)?, unit: None, cgroup: None, init: None, record: None };
    match make(id, bundle, prepared, options, opened, &mut made) {
        Ok((init, record)) => {
            let Made { directory, cgroup, .. } = made;
            Ok(Created { init, directory, cgroup, plan: std::mem::take(&mut prepared.plan), record })
        }
        Err(error) => {
            let record = made.record.take();
            let error = error.besides(made.take_back());
            // Hooks may have run: what they did is to be undone.
            if let Some(record) = record {
                run_poststop(&prepared.spec().hooks, &record, warn);
            }
            Err(error)
        }
    }
}

/// Makes all that [`set_up`] does below the state folder, and says in `made` what there is. What is open goes when it
/// returns: taking back needs descriptors as well.
fn make(
    id: &ContainerId,
    bundle: &Bundle,
    prepared: &mut Prepared<'_>,
    options: &CreateOptions,
    mut opened: Opened,
    made: &mut Made,
) -> Result<(Init, Record)> {
    let directory = &made.directory;
    if let (Some(path), Some(root)) = (&prepared.plan.mounts_at, opened.root(&prepared.plan)) {
        directory.note_mount(path, root)?;
    }
    let mut scope = None;
    if let Some(unit) = &prepared.unit {
        let (of_unit, cgroup) = make_unit(prepared, unit, directory)?;
        (scope, made.cgroup, made.unit) = (Some(of_unit), Some(cgroup), Some(unit.name.clone()));
    } else {
        made.cgroup = make_cgroup(prepared, directory)?;
    }
    if options.notify.is_some() {
        notify::make_folder(directory.folder())?;
    }
    let devices = opened.open_made(&prepared.plan, directory.folder())?;
    let resctrl = match &prepared.spec().intel_rdt {
        Some(intel_rdt) => Some(resctrl::prepare(intel_rdt, id, directory)?),
        None => None,
    };
    let gate = if prepared.plan.waits_for_start() { Some(StateDirectory::make_gate()?) } else { None };
    let cgroup = made.cgroup.as_ref();
    let (init, attach) = spawn_init(prepared, &mut opened, gate.as_ref(), cgroup, scope.is_some())?;
    let init = made.init.insert(init);
    // From here on this goes beside init, which mounts meanwhile and waits for the runtime before the program runs.
    if let Some(gate) = &gate {
        directory.open_gate(gate)?;
    }
    if let Some(cgroup) = cgroup {
        cgroup.attach_devices(prepared.devices.as_ref(), device_control(prepared))?;
    }
    if let (Some(scope), Some(cgroup)) = (&mut scope, cgroup) {
        if attach {
            scope.attach(init)?;
        }
        scope.release(cgroup, &prepared.limits()?)?;
    }
    if let Some(group) = &resctrl {
        group.add(init.pid)?;
    }
    let record = record_of(id, bundle, prepared, init, cgroup, made.unit.as_ref())?;
    directory.store(&record, &bundle.config)?;
    let record = made.record.insert(record);
    init.bring_up(&prepared.plan, &opened, &mut |init| create_hooks(prepared.spec(), init, record, cgroup))
        .map_err(|error| explain_kill(error, cgroup))?;
    if devices > 0 {
        device_node::forget(directory.folder());
    }
    directory.publish()?;
    if let Some(socket) = &options.pidfd_socket {
        console::send_descriptor(socket, &init.process, "pidfd").context(|| "--pidfd-socket")?;
    }
    made.init.take().zip(made.record.take()).ok_or_else(|| Error::new("no init"))
}

/// Clones init, by way of the seed where that works.
///
/// Returns: it, and whether it has to be moved into its cgroup, which a unit's may need.
fn spawn_init(
    prepared: &mut Prepared<'_>,
    opened: &mut Opened,
    gate: Option<&OwnedFd>,
    cgroup: Option<&Cgroup>,
    of_unit: bool,
) -> Result<(Init, bool)> {
    let mut attach = false;
    loop {
        let seed = if prepared.plan.from_seed { seed::open() } else { None };
        if prepared.plan.from_seed && seed.is_none() {
            prepared.without_seed()?;
        }
        match spawn::spawn(&prepared.plan, opened, seed.as_ref(), gate, cgroup.filter(|_| !attach)) {
            Ok(init) => return Ok((init, attach)),
            Err(SpawnError::Seed) if prepared.plan.from_seed => prepared.without_seed()?,
            Err(SpawnError::Seed) => return Err(Error::new("clone into a mount namespace: refused")),
            Err(SpawnError::Cgroup { errno: Errno::ACCESS, .. })
                if !attach && of_unit && prepared.plan.mappings.is_some() =>
            {
                attach = true;
            }
            Err(SpawnError::Cgroup { error, .. } | SpawnError::Other(error)) => {
                return Err(explain_kill(error, cgroup));
            }
        }
    }
}

fn record_of(
    id: &ContainerId,
    bundle: &Bundle,
    prepared: &mut Prepared<'_>,
    init: &Init,
    cgroup: Option<&Cgroup>,
    unit: Option<&String>,
) -> Result<Record> {
    let ProcessId { pid, pidfd_inode, start_time } = ProcessId::of(init.pid, &init.process)?;
    Ok(Record {
        oci_version: prepared.oci_version.clone(),
        id: id.to_string(),
        pid,
        pidfd_inode,
        start_time,
        boot_id: boot_id()?,
        bundle: bundle.path.display().to_string(),
        rootfs: prepared.rootfs.clone(),
        created: time::rfc3339(SystemTime::now()),
        owner: rustix::process::geteuid().as_raw().to_string(),
        cgroup: cgroup.map(|cgroup| cgroup.path().as_str().to_string()),
        cgroup_inode: cgroup.map_or(Ok(0), Cgroup::inode)?,
        systemd_unit: unit.cloned(),
        annotations: Members(std::mem::take(&mut prepared.annotations)),
        chrooted: prepared.is_chrooted(),
        startable: !prepared.spec().process.args.is_empty(),
        hooks: has_later_hooks(prepared.spec()),
    })
}

/// The cgroup with its limits, before anything runs in it.
fn make_cgroup(prepared: &Prepared<'_>, directory: &StateDirectory) -> Result<Option<Cgroup>> {
    let Some((hierarchy, path)) = &prepared.cgroup else {
        return directory.note_no_cgroup().map(|()| None);
    };
    let limits = prepared.limits()?;
    directory.note_cgroup(path, false)?;
    let cgroup = match Cgroup::create(hierarchy, path, &limits) {
        Ok(cgroup) => cgroup,
        // A login session owns no part of the hierarchy; without limits a container needs none. One that is asked for by
        // its path is an error, as for runc and crun.
        Err(_)
            if !prepared.is_privileged()
                && limit_nothing(&limits)
                && prepared.spec().cgroups_path.as_deref().is_none_or(str::is_empty) =>
        {
            return directory.note_no_cgroup().map(|()| None);
        }
        Err(error) => return Err(error),
    };
    if cgroup.was_there() {
        directory.take_cgroup_over(path)?;
    }
    let delegate = delegate_of(prepared.spec()).filter(|_| prepared.is_privileged());
    match cgroup.apply(&limits).and_then(|()| delegate.map_or(Ok(()), |uid| cgroup.delegate(uid))) {
        Ok(()) => Ok(Some(cgroup)),
        Err(error) => Err(error.besides(cgroup.remove())),
    }
}

/// The same by way of systemd. The holder of a scope is in it already.
fn make_unit(prepared: &Prepared<'_>, unit: &Unit, directory: &StateDirectory) -> Result<(Scope, Cgroup)> {
    let (hierarchy, path) = prepared.cgroup.as_ref().ok_or_else(|| Error::new("no cgroup"))?;
    let limits = prepared.limits()?;
    directory.note_cgroup(path, true)?;
    let (scope, cgroup) = Scope::create(prepared, unit, hierarchy, path, &limits)?;
    match cgroup.apply(&scope.make_room(&limits)) {
        Ok(()) => Ok((scope, cgroup)),
        Err(error) => {
            drop(scope);
            Err(error.besides(scope::end(Some(&cgroup), Some(&unit.name))))
        }
    }
}

fn device_control(prepared: &Prepared<'_>) -> DeviceControl {
    if prepared.is_privileged() { DeviceControl::Required } else { DeviceControl::WhereAllowed }
}

/// Sends the terminal to whoever asked for it, without waiting for an answer.
pub(super) fn hand_over_console(init: &mut Init, options: &CreateOptions) -> Result<()> {
    match (&options.console_socket, init.console.take()) {
        (Some(socket), Some(master)) => {
            console::send_descriptor(socket, &master, "/dev/ptmx").context(|| "--console-socket")
        }
        (_, console) => {
            init.console = console;
            Ok(())
        }
    }
}

/// The last steps: the pid file, and init may go on. After that the container stands without the runtime.
pub(super) fn finish(init: &Init, record: &Record, options: &CreateOptions) -> Result<()> {
    if let Some(path) = &options.pid_file {
        write_pid_file(path, record.pid)?;
    }
    init.answer(Turn::Record)
}

/// The hooks of `create`: those of the runtime's namespaces, then those that look from inside.
fn create_hooks(spec: &ValidSpec<'_>, init: &Init, record: &Record, cgroup: Option<&Cgroup>) -> Result<()> {
    let outside = |kind| Place::outside(kind, Status::Creating, record.pid);
    // The oldest kind is told what it was told before the others came, as crun does it.
    hooks::run(&spec.hooks.prestart, record, &Place { status: Status::Created, ..outside("prestart") })?;
    hooks::run(&spec.hooks.create_runtime, record, &outside("createRuntime"))?;
    if spec.hooks.create_container.is_empty() {
        return Ok(());
    }
    let enter = Some((init.duplicate()?, namespace_flags(spec)));
    let unit = record.systemd_unit.as_deref();
    let inside = Place::outside("createContainer", Status::Creating, record.pid_inside()?);
    // The specification does not say where; hooks that are written for runc rely on it.
    let place = Place { enter, cgroup, unit, begins_in: BeginsIn::RootFileSystem, ..inside };
    hooks::run(&spec.hooks.create_container, record, &place)
}

fn has_later_hooks(spec: &ValidSpec<'_>) -> bool {
    let hooks = &spec.hooks;
    !(hooks.start_container.is_empty() && hooks.poststart.is_empty() && hooks.poststop.is_empty())
}
