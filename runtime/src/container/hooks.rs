//! Hooks: programs of the configuration, run at fixed points with the container's state on stdin (config.md,
//! "POSIX-platform Hooks").

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use super::namespaces::time_namespace_of;
use super::scope::spawn_into;
use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Kind, Result, Warning, WarningKind};
use crate::oci::Status;
use crate::oci::spec::json::List;
use crate::oci::spec::{Hook, Hooks};
use crate::plan::{self, Host, Intent};
use crate::spawn::Opened;
use crate::spawn::program::{self, Ends, Visit};
use crate::state::Record;
use crate::text::json::{self, Members};
use crate::validate::ValidSpec;

/// How many bytes at the end of a hook's output are kept, and quoted by its error.
const OUTPUT_MAX: usize = 1024;

/// The state that hooks read from stdin, as the specification defines it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a str,
    annotations: &'a Members,
}

/// The working folder of hooks that are not the container's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginsIn {
    /// If it still exists.
    Bundle,
    /// By its path on the host.
    RootFileSystem,
}

/// Where hooks of a kind run, and with which rights.
pub struct Place<'a> {
    /// The member of `hooks` that lists them.
    pub kind: &'static str,
    /// The status that they are told.
    pub status: Status,
    /// The pid that they are told; 0 for none.
    pub pid: i32,
    /// A pidfd of the container with the CLONE_NEW* bits of the namespaces to enter; `None` for the runtime's
    /// own.
    pub enter: Option<(OwnedFd, u32)>,
    /// The container's cgroup, for those that run inside.
    pub cgroup: Option<&'a Cgroup>,
    /// Systemd's unit with that cgroup.
    pub unit: Option<&'a str>,
    /// Their working folder.
    pub begins_in: BeginsIn,
    /// The configuration with the user and rights of hooks that belong to the container.
    pub rights: Option<&'a ValidSpec<'a>>,
}

impl<'a> Place<'a> {
    /// In the runtime's own namespaces.
    pub fn outside(kind: &'static str, status: Status, pid: i32) -> Self {
        let begins_in = BeginsIn::Bundle;
        Place { kind, status, pid, enter: None, cgroup: None, unit: None, begins_in, rights: None }
    }
}

/// Runs hooks, one after the other.
///
/// # Errors
/// A hook could not be run, failed or took too long; the error has what it wrote. Those after it do not run.
pub fn run(hooks: &List<Hook<'_>>, record: &Record, place: &Place<'_>) -> Result<()> {
    run_each(hooks, record, place, &mut Err)
}

/// Runs hooks, one after the other, and passes each error to `failed`, which decides whether to go on.
///
/// # Errors
/// Those that `failed` returns.
pub fn run_each(
    hooks: &List<Hook<'_>>,
    record: &Record,
    place: &Place<'_>,
    failed: &mut dyn FnMut(Error) -> Result<()>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = json::to_string(&HookState {
        oci_version: &record.oci_version,
        id: &record.id,
        status: place.status.as_str(),
        pid: (place.pid != 0).then_some(place.pid),
        bundle: &record.bundle,
        annotations: &record.annotations,
    })?;
    // Hooks that run before the root changes are outside of it, and have no rights from the configuration.
    let chrooted = record.chrooted && place.rights.is_some();
    let hooks_begin_in = match place.begins_in {
        // A root that no path leads to is attached where the bundle is.
        BeginsIn::RootFileSystem if record.rootfs.is_empty() => record.bundle.clone(),
        BeginsIn::RootFileSystem => record.rootfs.clone(),
        BeginsIn::Bundle if Path::new(&record.bundle).is_dir() => record.bundle.clone(),
        // A poststop hook must run even if the bundle is gone by then.
        BeginsIn::Bundle => String::new(),
    };
    let intent = Intent { hooks_begin_in, chrooted, ..Intent::default() };
    for (index, hook) in hooks.iter().enumerate() {
        let root = if chrooted { record.open_chroot() } else { Ok(None) };
        root.and_then(|root| {
            let files = [output_file(record, "stdout")?, output_file(record, "stderr")?];
            run_one(hook, &state, &intent, root, files, place)
        })
        .map_err(|error| error.with_status(1).with_kind(Kind::Hook))
        .context(|| format!("hooks.{}[{index}]: {}", place.kind, &*hook.path))
        .or_else(&mut *failed)?;
    }
    Ok(())
}

/// Runs the poststop hooks. The container is gone whatever they do, so their failures are warnings.
pub(super) fn run_poststop(hooks: &Hooks<'_>, record: &Record, warn: &mut dyn FnMut(Warning)) {
    // One that fails must not keep the next from running.
    let mut failed = |error: Error| {
        warn(Warning::new(WarningKind::Hook, format_args!("{error}")));
        Ok(())
    };
    let place = Place::outside("poststop", Status::Stopped, 0);
    let _ = run_each(&hooks.poststop, record, &place, &mut failed);
}

/// Opens the file for hooks' output that an annotation names (crun's `run.oci.hooks.stdout` and `.stderr`).
fn output_file(record: &Record, name: &str) -> Result<Option<OwnedFd>> {
    let (prefix, mode) = ("run.oci.hooks.", Mode::RUSR | Mode::WUSR);
    let mut annotations = record.annotations.0.iter();
    let Some((key, path)) = annotations.find(|(key, _)| key.strip_prefix(prefix) == Some(name)) else {
        return Ok(None);
    };
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(Path::new(&record.bundle).join(path), flags, mode);
    file.map(Some).context(|| format!("annotations: {key}: open {path}"))
}

fn run_one(
    hook: &Hook<'_>,
    state: &str,
    intent: &Intent,
    root: Option<OwnedFd>,
    files: [Option<OwnedFd>; 2],
    place: &Place<'_>,
) -> Result<()> {
    let (ends, [input, output]) = Ends::open()?;
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).context(|| "duplicate a descriptor");
    let [stdout, stderr] = files;
    let stdout = stdout.map_or_else(|| copy(&output), Ok)?;
    let stderr = stderr.unwrap_or(output);
    let enter = match &place.enter {
        Some((process, flags)) => Some((copy(process)?, *flags)),
        None => None,
    };
    let time = match (&enter, place.rights) {
        (Some((process, _)), Some(spec)) => time_namespace_of(spec, process)?,
        _ => None,
    };
    let flags = enter.as_ref().map_or(0, |(_, flags)| *flags);
    let plan = plan::compile_hook(hook, place.rights, flags, &Host::look(), intent)?;
    let descriptors = [input, stdout, stderr].into_iter().chain(time).chain(root).map(Some).collect();
    let mut opened = Opened::inside(descriptors, enter);
    let process = spawn_into(&plan, &mut opened, place.cgroup, place.unit, "")?;
    // Only the hook may hold the other ends: when it closes one, that end is closed.
    drop(opened);
    let what = format!("{} hook ", place.kind);
    let visit = Visit { input: state, timeout: hook.timeout, kept: OUTPUT_MAX, what: &what };
    program::see_out(process, &plan, ends, &visit).map(drop)
}
