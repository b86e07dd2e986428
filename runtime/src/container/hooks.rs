//! Hooks: programs of the configuration, run at fixed points with the container's state on stdin (config.md,
//! "POSIX-platform Hooks").

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use serde::Serialize;

use crate::cgroup::Cgroup;
use crate::container::{spawn_into, time_namespace_of};
use crate::error::{Context, Error, Result};
use crate::oci::spec::Hook;
use crate::oci::spec::json::{List, Text};
use crate::plan::{self, Host, Intent};
use crate::spawn::{Init, Opened, SpawnError};
use crate::state::{Record, Status};
use crate::sys::process_end::collect;
use crate::text::json::{self, Members};
use crate::validate::ValidSpec;

/// The end of a hook's output that is kept, and quoted by its error.
const OUTPUT_MAX: usize = 1024;

/// What hooks get on stdin: the state as the specification has it.
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
    /// If it is still there.
    Bundle,
    /// As the host calls it.
    RootFileSystem,
}

/// Where and with which rights hooks of a kind run.
pub struct Place<'a> {
    /// The member of `hooks` that lists them.
    pub kind: &'static str,
    /// The status that they are told.
    pub status: Status,
    /// The pid that they are told; 0 for none.
    pub pid: i32,
    /// A pidfd of the container with the CLONE_NEW* bits of the namespaces to enter; `None` for the runtime's own.
    pub enter: Option<(OwnedFd, u32)>,
    /// The container's cgroup, for those that run inside.
    pub cgroup: Option<&'a Cgroup>,
    /// Systemd's unit with that cgroup.
    pub unit: Option<&'a str>,
    /// Where they begin.
    pub begins_in: BeginsIn,
    /// The configuration whose user and rights a hook gets that belongs to the container.
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
/// The first that could not be run, failed or took too long, with what it wrote; those after it do not run.
pub fn run(hooks: &List<Hook<'_>>, record: &Record, place: &Place<'_>) -> Result<()> {
    run_each(hooks, record, place, &mut Err)
}

/// Runs hooks, one after the other; `failed` says of an error whether it is the end.
///
/// # Errors
/// Those of `failed`.
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
    // Those that come before the change of the root are not in it, and have no configuration's rights.
    let chrooted = record.chrooted && place.rights.is_some();
    let hooks_begin_in = match place.begins_in {
        BeginsIn::RootFileSystem => record.rootfs.clone(),
        BeginsIn::Bundle if Path::new(&record.bundle).is_dir() => record.bundle.clone(),
        // A bundle that is gone by then (poststop) must not keep a hook from its work.
        BeginsIn::Bundle => String::new(),
    };
    let intent = Intent { hooks_begin_in, chrooted, ..Intent::default() };
    for (index, hook) in hooks.iter().enumerate() {
        let root = if chrooted { record.open_chroot() } else { Ok(None) };
        root.and_then(|root| {
            let files = [output_file(record, "stdout")?, output_file(record, "stderr")?];
            run_one(hook, &state, &intent, root, files, place, OUTPUT_MAX)
        })
        .map(drop)
        .map_err(|error| error.with_status(1))
        .context(|| format!("hooks.{}[{index}]: {}", place.kind, &*hook.path))
        .or_else(&mut *failed)?;
    }
    Ok(())
}

/// Where an annotation (crun's `run.oci.hooks.stdout` and `.stderr`) wants it: what a hook says there.
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

/// Runs a program as a hook outside of the container, without a state: see [`crate::spawn::program::run`].
pub fn run_program(path: &str, arguments: &[String], environment: &[String]) -> Result<Vec<u8>> {
    const KEPT: usize = 1 << 24;
    let arguments = [path].into_iter().chain(arguments.iter().map(String::as_str));
    let program = Hook {
        path: path.into(),
        args: List(arguments.map(Text::from).collect()),
        env: List(environment.iter().map(|variable| variable.as_str().into()).collect()),
        timeout: None,
    };
    run_one(
        &program,
        "",
        &Intent::default(),
        None,
        [None, None],
        &Place::outside("", Status::Creating, 0),
        KEPT,
    )
}

fn run_one(
    hook: &Hook<'_>,
    state: &str,
    intent: &Intent,
    root: Option<OwnedFd>,
    files: [Option<OwnedFd>; 2],
    place: &Place<'_>,
    kept: usize,
) -> Result<Vec<u8>> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "pipe");
    let (input, state_end) = pipe()?;
    let (output_end, output) = pipe()?;
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
    let mut process =
        spawn_into(&plan, &mut opened, place.cgroup, place.unit, "").map_err(|error| match error {
            SpawnError::Seed => Error::new("refused"),
            SpawnError::Cgroup { error, .. } | SpawnError::Other(error) => error,
        })?;
    // The other ends are the hook's alone: what it closes is then closed.
    drop(opened);
    if let Err(error) = process.bring_up_unrecorded(&plan).and_then(|()| process.release()) {
        return Err(process.kill_after(error));
    }
    let deadline = hook.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.max(0) as u64));
    // What keeps it from its program it says there; it may be made to stand still on the way as well.
    let executed = match await_one_of(&mut [PollFd::new(&process.channel(), PollFlags::IN)], deadline) {
        Ok(true) => process.await_exec(&plan).map(Some),
        other => other.map(|_| None),
    };
    let said = match executed {
        Ok(Some(())) => converse(&process.process, state_end, &output_end, kept, state, deadline),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let error = match said {
        Ok(Some(output)) => return word_end(process, output, place.kind),
        Ok(None) => {
            let seconds = hook.timeout.unwrap_or_default();
            Error::formatted(format_args!("killed: it took longer than its timeout of {seconds} s"))
        }
        Err(error) => error,
    };
    // It leads a session of its own: what it started dies with it.
    let _ = rustix::process::kill_process_group(process.pid, Signal::KILL);
    Err(process.kill_after(error))
}

/// What a hook wrote that has ended well; else how it ended.
fn word_end(process: Init, output: Vec<u8>, kind: &str) -> Result<Vec<u8>> {
    let code = collect(&process.process).context(|| "wait")?;
    let what = if kind.is_empty() { String::new() } else { format!("{kind} hook ") };
    let how = match (code & 0x7f, code >> 8) {
        (0, 0) => return Ok(output),
        (0, code) => format!("{what}failed with exit code {code}"),
        (signal, _) => format!("{what}was killed by signal {signal}"),
    };
    let end = &output[output.len().saturating_sub(OUTPUT_MAX)..];
    let output = String::from_utf8_lossy(end).trim().replace('\n', "; ");
    Err(Error::new(if output.is_empty() { how } else { format!("{how}: {output}") }))
}

/// Writes the state, reads what the hook says, until it has ended; `None` when its time is up first. A daemon that it
/// leaves behind may keep the pipes open: they do not matter then.
fn converse(
    process: &OwnedFd,
    state_end: OwnedFd,
    output: &OwnedFd,
    kept: usize,
    state: &str,
    deadline: Option<Instant>,
) -> Result<Option<Vec<u8>>> {
    for end in [state_end.as_fd(), output.as_fd()] {
        rustix::io::ioctl_fionbio(end, true).context(|| "make a pipe non-blocking")?;
    }
    let mut said = Vec::new();
    let mut rest = state.as_bytes();
    let mut state_end = Some(state_end);
    let mut output_open = true;
    loop {
        let mut polled = vec![PollFd::new(process, PollFlags::IN)];
        if output_open {
            polled.push(PollFd::new(output, PollFlags::IN));
        }
        if let Some(end) = &state_end {
            polled.push(PollFd::new(end, PollFlags::OUT));
        }
        if !await_one_of(&mut polled, deadline)? {
            return Ok(None);
        }
        let ended = !polled[0].revents().is_empty();
        drop(polled);
        if let Some(end) = &state_end {
            match rustix::io::write(end, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN) => {}
                // It does not want to know.
                Err(_) => rest = &[],
            }
            if rest.is_empty() {
                state_end = None;
            }
        }
        output_open = output_open && read_output(output, kept, &mut said);
        if ended {
            return Ok(Some(said));
        }
    }
}

/// Whether one of them is ready before the deadline; not behind it, be they always.
fn await_one_of(polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left
            .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        match poll(polled, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            ready => return ready.map(|count| count > 0).context(|| "wait for it"),
        }
    }
}

/// Keeps the end of what is said; `false` when nobody can say anything more. What a pipe holds, at most: whoever writes for
/// ever is not read for ever.
fn read_output(output: &OwnedFd, kept: usize, said: &mut Vec<u8>) -> bool {
    const READS: usize = 16;
    let mut buffer = [0u8; 4096];
    for _ in 0..READS {
        match rustix::io::read(output, &mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                said.extend_from_slice(&buffer[..length]);
                let excess = said.len().saturating_sub(kept);
                said.drain(..excess);
                if length < buffer.len() {
                    return true;
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
    true
}
