//! The errors of operations that failed: step, object, cause.

mod mount;
mod process;

use pillbox_init::plan::Operation;
use pillbox_init::plan::operation::{RetryCwd, SetCwd};
use pillbox_init::report::Stage;
use rustix::io::Errno;

use super::describe;
use super::name::{limit, rlimit_name, text};
use crate::error::{Error, Kind, c_library_words, describe_errno};
use crate::plan::Plan;

/// How an operation failed.
struct Failed<'f> {
    plan: &'f Plan,
    errno: Errno,
    /// What the errno means.
    cause: String,
    stage: Stage,
    /// With [`Stage::Option`], the index of the option.
    detail: u32,
    /// What the kernel said about a mount.
    kernel_text: &'f str,
    /// `kernel_text` in parentheses, if there is any.
    said: String,
}

const LINK: &str = "a symbolic link is on the way to the mount point, or it is one";

/// The error for an operation that init could not run: step, object, cause, and the remedy if it is known.
pub fn describe_failure(
    operation: &Operation<'_>,
    plan: &Plan,
    errno: Errno,
    stage: Stage,
    detail: u32,
    kernel_text: &str,
) -> Error {
    let error = word(operation, plan, errno, stage, detail, kernel_text);
    let kind = match operation {
        Operation::FindExecutable(_) | Operation::Exec(_) if is_hooks(plan) => Kind::Hook,
        Operation::FindExecutable(_) => process::kind(errno, Kind::ProgramMissing),
        Operation::Exec(_) => process::kind(errno, Kind::InterpreterMissing),
        Operation::Mount(_) | Operation::MountWithData(_) if errno == Errno::NODEV => Kind::Unsupported,
        operation if is_mount(operation) => return error.caused_by(errno).or_kind(Kind::Mount),
        _ => Kind::Host,
    };
    error.or_kind(kind).caused_by(errno)
}

fn is_mount(operation: &Operation<'_>) -> bool {
    matches!(
        operation,
        Operation::Mount(_)
            | Operation::MountWithData(_)
            | Operation::BindMount(_)
            | Operation::Remount(_)
            | Operation::Unmount(_)
            | Operation::AttachRoot(_)
            | Operation::MountOverlay(_)
    )
}

fn word(
    operation: &Operation<'_>,
    plan: &Plan,
    errno: Errno,
    stage: Stage,
    detail: u32,
    kernel_text: &str,
) -> Error {
    let said = if kernel_text.is_empty() { String::new() } else { format!(" ({kernel_text})") };
    let failed = Failed { plan, errno, cause: describe_errno(errno), stage, detail, kernel_text, said };
    let cause = &failed.cause;
    match operation {
        Operation::FindExecutable(_) | Operation::Exec(_) if is_hooks(plan) => {
            Error::formatted(format_args!("it cannot be executed: {cause}"))
        }
        Operation::FindExecutable(step) => process::executable(&text(step.name), errno),
        Operation::Exec(step) => {
            process::executable(&step.arguments.iter().next().map(text).unwrap_or_default(), errno)
        }
        Operation::Mount(step) => failed.mount(step),
        Operation::MountWithData(step) => failed.mount_with_data(step),
        Operation::BindMount(step) => failed.bind(step),
        Operation::Remount(step) => failed.remount(step),
        Operation::Unmount(step) => failed.unmount(step),
        Operation::AttachRoot(step) => failed.attach_root(step),
        Operation::MountOverlay(step) => failed.overlay(step),
        Operation::MaskPath(step) if stage == Stage::Verify => Error::formatted(format_args!(
            "mask {}: the container's /dev/null is not the null device",
            text(step.path)
        )),
        Operation::MaskPath(step) if matches!(stage, Stage::Source | Stage::Create) => {
            Error::formatted(format_args!(
                "mask {}: open what covers it, for a file the container's /dev/null, for a folder a tmpfs: {cause}",
                text(step.path)
            ))
        }
        Operation::PivotRoot(_) | Operation::Chroot(_) if stage == Stage::Verify => Error::new(
            "mounts: the destination of one leads to the root of the container, which it would cover: name it as \"/\"",
        ),
        Operation::CopySymlink(step) if stage == Stage::Verify => Error::formatted(format_args!(
            "copy-symlink: {}: something other than a symbolic link to {} is there already",
            text(step.path),
            text(step.target)
        )),
        Operation::MakeNode(step) if stage == Stage::Verify => Error::formatted(format_args!(
            "device {}: something other than {}:{} is there already",
            text(step.path),
            step.major,
            step.minor
        )),
        Operation::MakeNode(step) if errno == Errno::LOOP => {
            Error::formatted(format_args!("device {}: {LINK}", text(step.path)))
        }
        Operation::OpenConsole(_) if stage == Stage::Source => Error::formatted(format_args!(
            "process.terminal: open /dev/pts/ptmx in the container: {cause}: mounts needs a devpts on /dev/pts"
        )),
        Operation::RetryCwd(step) if stage == Stage::Verify => Error::formatted(format_args!(
            "process.cwd: {} lies outside of the root file system",
            text(step.path)
        )),
        Operation::SetCwd(SetCwd { path }) | Operation::RetryCwd(RetryCwd { path }) => {
            Error::formatted(format_args!("process.cwd: chdir to {}: {}", text(path), c_library_words(errno)))
        }
        Operation::ReadHome(step) if matches!(errno, Errno::NAMETOOLONG | Errno::FBIG) => failed.home(step),
        Operation::WriteSysctl(step) => Error::formatted(format_args!(
            "linux.sysctl: write {:?} to /proc/{}: {cause}",
            text(step.value),
            text(step.path)
        )),
        Operation::SetRlimit(step) if errno == Errno::PERM => Error::formatted(format_args!(
            "process.rlimits: {}: raising the hard limit to {} needs CAP_SYS_RESOURCE, which pillbox does not have",
            rlimit_name(step.resource),
            limit(step.hard)
        )),
        Operation::SetCapabilities(_) if stage == Stage::Verify => Error::new(
            "process.capabilities: other ones are in force, or securebits of the caller's that need CAP_SETPCAP to be cleared",
        ),
        Operation::SetUser(step) => failed.user(step),
        Operation::SetGroups(_) => failed.groups(),
        Operation::InstallSeccomp(_) => {
            Error::formatted(format_args!("linux.seccomp: install the filter: {cause}"))
        }
        Operation::JoinNamespace(_) => failed.join_time_namespace(),
        Operation::Unshare(step) if step.flags == linux_raw_sys::general::CLONE_NEWTIME => {
            failed.make_time_namespace()
        }
        Operation::WriteTimeOffsets(step) => failed.time_offsets(step),
        Operation::EnterTimeNamespace(_) => {
            Error::formatted(format_args!("linux.namespaces: time: enter the new one: {cause}"))
        }
        Operation::SetScheduler(step) => failed.scheduler(step),
        Operation::SetIoPriority(_) => failed.io_priority(),
        Operation::SetPersonality(_) => Error::formatted(format_args!("linux.personality: {cause}")),
        Operation::SetMemoryPolicy(step) => failed.memory_policy(step),
        Operation::SetExecLabel(step) => failed.exec_label(step),
        other => Error::formatted(format_args!("init: {}: {cause}", phrase(other, plan))),
    }
}

/// The operation and its object, for errors without words of their own.
fn phrase(operation: &Operation<'_>, plan: &Plan) -> String {
    describe(operation, plan).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the plan executes a hook: then the failure is not the container's program's.
fn is_hooks(plan: &Plan) -> bool {
    plan.operations().any(|operation| matches!(operation, Operation::ReplaceStdio(_)))
}
