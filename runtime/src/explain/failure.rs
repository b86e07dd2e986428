//! The errors of operations that failed: step, object, cause.

use pillbox_init::plan::{Operation, SecurityModule, TargetRule};
use pillbox_init::report::Stage;
use rustix::io::Errno;

use super::describe;
use super::name::{below, limit, list, name_of, pairs, rlimit_name, text, tree_name};
use crate::error::{Error, c_library_words, describe_errno};
use crate::plan::{Plan, attribute};

/// The error for an operation that init could not run: step, object, cause, and what to do where that is known.
pub fn describe_failure(
    operation: &Operation<'_>,
    plan: &Plan,
    errno: Errno,
    stage: Stage,
    detail: u32,
    kernel_text: &str,
) -> Error {
    let cause = describe_errno(errno);
    let said = if kernel_text.is_empty() { String::new() } else { format!(" ({kernel_text})") };
    match *operation {
        Operation::FindExecutable { .. } | Operation::Exec { .. } if is_hooks(plan) => {
            Error::formatted(format_args!("it cannot be executed: {cause}"))
        }
        Operation::FindExecutable { name, .. } => describe_exec_failure(&text(name), errno),
        Operation::Exec { arguments, .. } => {
            describe_exec_failure(&arguments.iter().next().map(text).unwrap_or_default(), errno)
        }
        Operation::Mount { kind, target, flags, parameters, rule, .. } => {
            let (kind, target) = (text(kind), text(target));
            let step = match stage {
                Stage::Target if is_link(rule, errno) => LINK.to_string(),
                Stage::Target => "make or open the mount point".to_string(),
                Stage::Option => {
                    let options: Vec<_> = flags.iter().map(text).chain(pairs(parameters)).collect();
                    format!("option {:?}", options.get(detail as usize).map_or("", String::as_str))
                }
                Stage::Source if errno == Errno::NODEV => "the kernel has no such file system".to_string(),
                Stage::Source => "open the file system".to_string(),
                Stage::Verify => "the target lies in procfs, where nothing may be mounted".to_string(),
                Stage::Attach if errno == Errno::NOTDIR => {
                    "a file system is mounted on a folder only".to_string()
                }
                Stage::Attach => "attach".to_string(),
                Stage::Copy if errno == Errno::LOOP => {
                    return Error::formatted(format_args!(
                        "mount {kind} on {target}: tmpcopyup: more than 64 folders in each other"
                    ));
                }
                Stage::Copy => format!("tmpcopyup: copy {kernel_text:?}"),
                Stage::Call | Stage::Create | Stage::Attributes => "make the file system".to_string(),
            };
            let said = if stage == Stage::Copy { "" } else { &said };
            let label = stage == Stage::Option && step.starts_with("option \"context=");
            let hint = if label { ": linux.mountLabel needs a kernel with SELinux" } else { "" };
            Error::formatted(format_args!("mount {kind} on {target}: {step}: {cause}{said}{hint}"))
        }
        Operation::MountWithData { kind, target, .. } => {
            Error::formatted(format_args!("mount {} on {}: {cause}{said}", text(kind), text(target)))
        }
        Operation::BindMount { target, tree, rule, .. } => {
            let (source, target) = (tree_name(tree, plan), text(target));
            let step = match stage {
                Stage::Target if is_link(rule, errno) => LINK,
                Stage::Target => "make or open the mount point",
                Stage::Source if rule == TargetRule::Procfs && errno == Errno::PERM => {
                    "only procfs may be mounted on /proc"
                }
                Stage::Source => "open the source",
                Stage::Attributes => "set mount options",
                Stage::Verify => "the target lies in procfs, where nothing may be mounted",
                Stage::Attach if errno == Errno::NOTDIR => {
                    "a folder is bound on a folder, and anything else on a file only"
                }
                Stage::Call | Stage::Option | Stage::Create | Stage::Attach | Stage::Copy => "attach",
            };
            Error::formatted(format_args!(
                "bind {source} on {target}: {step}: {cause}{}{}",
                pins_hint(stage, errno),
                locked_hint(stage, errno)
            ))
        }
        Operation::Remount { target, .. } => {
            let hint = match (stage, errno) {
                (_, Errno::INVAL) if stage != Stage::Option => {
                    ": nothing is mounted there, or an option does not fit it"
                }
                _ => "",
            };
            Error::formatted(format_args!("remount {}: {cause}{said}{hint}", text(target)))
        }
        Operation::Unmount { folder, name, .. } => {
            let why = match (stage, errno) {
                (Stage::Target, Errno::LOOP) => {
                    ": a symbolic link is on the way: name the place that it leads to"
                }
                (Stage::Verify, _) => ": nothing is mounted there",
                _ => "",
            };
            Error::formatted(format_args!("unmount {}: {cause}{why}", below(folder, name)))
        }
        Operation::CopySymlink { path, target } if stage == Stage::Verify => Error::formatted(format_args!(
            "copy-symlink: {}: something else than a symbolic link to {} is there already",
            text(path),
            text(target)
        )),
        Operation::AttachRoot { tree, .. } => {
            let hint = pins_hint(stage, errno);
            Error::formatted(format_args!(
                "attach the root file system {}: {cause}{hint}",
                tree_name(tree, plan)
            ))
        }
        Operation::MountOverlay { lower, .. } => Error::formatted(format_args!(
            "overlay over {}: {cause}{said}: the kernel needs overlayfs (in user namespaces since Linux 5.11)",
            text(lower)
        )),
        Operation::MaskPath { path } if stage == Stage::Verify => Error::formatted(format_args!(
            "mask {}: the container's /dev/null is not the null device",
            text(path)
        )),
        Operation::MaskPath { path } if matches!(stage, Stage::Source | Stage::Create) => {
            Error::formatted(format_args!(
                "mask {}: open what covers it, for a file the container's /dev/null, for a folder a tmpfs: {cause}",
                text(path)
            ))
        }
        Operation::MakeNode { path, major, minor, .. } if stage == Stage::Verify => Error::formatted(
            format_args!("device {}: something else than {major}:{minor} is there already", text(path)),
        ),
        Operation::MakeNode { path, .. } if errno == Errno::LOOP => {
            Error::formatted(format_args!("device {}: {LINK}", text(path)))
        }
        Operation::OpenConsole { .. } if stage == Stage::Source => Error::formatted(format_args!(
            "process.terminal: open /dev/pts/ptmx in the container: {cause}: mounts needs a devpts on /dev/pts"
        )),
        Operation::SetRlimit { resource, hard, .. } if errno == Errno::PERM => {
            Error::formatted(format_args!(
                "process.rlimits: {}: raising the hard limit to {} needs CAP_SYS_RESOURCE, which pillbox does not have",
                rlimit_name(resource),
                limit(hard)
            ))
        }
        Operation::PivotRoot {} | Operation::Chroot { .. } if stage == Stage::Verify => Error::new(
            "mounts: the destination of one leads to the root of the container, which it would cover: name it as \"/\"",
        ),
        Operation::SetCapabilities { .. } if stage == Stage::Verify => Error::new(
            "process.capabilities: other ones are in force, or securebits of the caller's that need CAP_SETPCAP to be cleared",
        ),
        Operation::RetryCwd { path } if stage == Stage::Verify => {
            Error::formatted(format_args!("process.cwd: {} lies outside of the root file system", text(path)))
        }
        Operation::ReadHome { uid } if matches!(errno, Errno::NAMETOOLONG | Errno::FBIG) => {
            let why = if errno == Errno::FBIG {
                "64 MiB of lines come before"
            } else {
                "it has more than 4095 bytes"
            };
            Error::formatted(format_args!(
                "process.env: the home of uid {uid} in the container's /etc/passwd: {why}: set HOME"
            ))
        }
        Operation::SetCwd { path } | Operation::RetryCwd { path } => {
            Error::formatted(format_args!("process.cwd: chdir to {}: {}", text(path), c_library_words(errno)))
        }
        Operation::WriteSysctl { path, value } => Error::formatted(format_args!(
            "linux.sysctl: write {:?} to /proc/{}: {cause}",
            text(value),
            text(path)
        )),
        Operation::SetUser { uid, gid } => Error::formatted(format_args!(
            "process.user: become {uid}:{gid}: {cause}{}",
            unmapped_hint(errno)
        )),
        Operation::SetGroups { .. } => {
            Error::formatted(format_args!("process.user.additionalGids: {cause}{}", unmapped_hint(errno)))
        }
        Operation::InstallSeccomp { .. } => {
            Error::formatted(format_args!("linux.seccomp: install the filter: {cause}"))
        }
        Operation::JoinNamespace { .. } => Error::formatted(format_args!(
            "linux.namespaces: time: join: {cause}{}",
            if errno == Errno::PERM { ": it must belong to the container's own user namespace" } else { "" }
        )),
        Operation::Unshare { flags } if flags == linux_raw_sys::general::CLONE_NEWTIME => {
            let hint = if errno == Errno::INVAL {
                ": the kernel has no time namespaces (Linux 5.6, CONFIG_TIME_NS)"
            } else {
                ""
            };
            Error::formatted(format_args!("linux.namespaces: time: {cause}{hint}"))
        }
        Operation::WriteTimeOffsets { offsets } => {
            let hint =
                if errno == Errno::RANGE { ": a clock would be negative, or beyond 146 years" } else { "" };
            Error::formatted(format_args!(
                "linux.timeOffsets: write {:?}: {cause}{hint}",
                text(offsets).trim_end()
            ))
        }
        Operation::EnterTimeNamespace {} => {
            Error::formatted(format_args!("linux.namespaces: time: enter the new one: {cause}"))
        }
        Operation::SetScheduler { policy, .. } => {
            let hint = match errno {
                Errno::PERM => ": it needs CAP_SYS_NICE, or RLIMIT_NICE and RLIMIT_RTPRIO that allow it",
                Errno::BUSY => ": there is not enough CPU time left for SCHED_DEADLINE",
                _ => "",
            };
            Error::formatted(format_args!(
                "process.scheduler: {}: {cause}{hint}",
                name_of(policy, &attribute::POLICIES)
            ))
        }
        Operation::SetIoPriority { .. } => {
            let hint =
                if errno == Errno::PERM { ": the class needs CAP_SYS_NICE or CAP_SYS_ADMIN" } else { "" };
            Error::formatted(format_args!("process.ioPriority: {cause}{hint}"))
        }
        Operation::SetPersonality { .. } => Error::formatted(format_args!("linux.personality: {cause}")),
        Operation::SetMemoryPolicy { nodes, .. } => {
            let hint = match errno {
                Errno::NOSYS => ": the kernel knows of no memory nodes (CONFIG_NUMA)",
                Errno::INVAL => ": no such node with memory, or this kernel lacks the mode or flag",
                _ => "",
            };
            let nodes = list(attribute::nodes_of(nodes).iter().map(usize::to_string));
            Error::formatted(format_args!("linux.memoryPolicy: nodes {nodes}: {cause}{hint}"))
        }
        Operation::SetExecLabel { module, label } => {
            describe_label_failure(module, &text(label), errno, stage)
        }
        ref other => Error::formatted(format_args!("init: {}: {cause}", phrase(other, plan))),
    }
}

fn describe_label_failure(module: SecurityModule, label: &str, errno: Errno, stage: Stage) -> Error {
    let cause = describe_errno(errno);
    let (field, module) = match module {
        SecurityModule::AppArmor => ("process.apparmorProfile", "AppArmor"),
        SecurityModule::SeLinux => ("process.selinuxLabel", "SELinux"),
    };
    let what = match (stage, errno) {
        (Stage::Verify, _) => {
            format!("it did not take effect ({cause}): something covers the container's /proc")
        }
        (Stage::Target, Errno::NOENT) => format!("{module} is not enabled in this kernel: leave it out"),
        (Stage::Call, Errno::INVAL) => {
            format!("{module} is not enabled in this kernel, or takes no such label: leave it out ({cause})")
        }
        (Stage::Call, Errno::NOENT) => "no such profile is loaded".to_string(),
        (Stage::Call, Errno::NAMETOOLONG) => "longer than the 4096 bytes that the kernel takes".to_string(),
        _ => cause.to_string(),
    };
    Error::formatted(format_args!("{field}: {label:?}: {what}"))
}

const LINK: &str = "a symbolic link is on the way to the mount point, or it is one";

fn is_link(rule: TargetRule, errno: Errno) -> bool {
    matches!(rule, TargetRule::NoSymlinks | TargetRule::Procfs) && errno == Errno::LOOP
}

/// The kernel mounts no namespace's file where its namespace could come to hold itself.
fn pins_hint(stage: Stage, errno: Errno) -> &'static str {
    match (stage, errno) {
        (Stage::Attach, Errno::LOOP) => {
            ": a mount namespace is mounted in it, and the tree cannot be had without: bind a folder that does not hold it"
        }
        _ => "",
    }
}

fn locked_hint(stage: Stage, errno: Errno) -> &'static str {
    match (stage, errno) {
        (Stage::Attributes, Errno::PERM) => {
            ": what another user namespace has mounted ro, nosuid, nodev or noexec stays so: leave out its opposite"
        }
        _ => "",
    }
}

fn unmapped_hint(errno: Errno) -> &'static str {
    if errno == Errno::INVAL { ": the id is not mapped in the user namespace" } else { "" }
}

/// The operation and its object, for errors that need no words of their own.
fn phrase(operation: &Operation<'_>, plan: &Plan) -> String {
    describe(operation, plan).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether it is a hook that would be executed, which is no fault of the container's program.
fn is_hooks(plan: &Plan) -> bool {
    plan.operations().any(|operation| matches!(operation, Operation::ReplaceStdio { .. }))
}

/// Callers match these strings, and take the status for a shell's: 127 not found, 126 found but not executable.
fn describe_exec_failure(name: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOENT if !name.contains('/') => {
            Error::formatted(format_args!("exec: {name:?}: executable file not found in $PATH"))
                .with_status(127)
        }
        Errno::NOENT | Errno::NOTDIR => Error::formatted(format_args!(
            "exec: {name:?}: {}: it, or the interpreter that it names, is missing",
            c_library_words(errno)
        ))
        .with_status(127),
        Errno::ACCESS | Errno::PERM => {
            Error::formatted(format_args!("exec: {name:?}: permission denied")).with_status(126)
        }
        Errno::ISDIR => Error::formatted(format_args!("exec: {name:?}: is a directory")).with_status(126),
        Errno::NOEXEC => Error::formatted(format_args!(
            "exec: {name:?}: exec format error: not a program for this machine"
        ))
        .with_status(126),
        Errno::TOOBIG => Error::formatted(format_args!(
            "exec: {name:?}: process.args or process.env: too long: the kernel takes 128 KiB a string, and of all together a \
             quarter of RLIMIT_STACK, 6 MiB at most"
        ))
        .with_status(126),
        _ => Error::formatted(format_args!("exec: {name:?}: {}", c_library_words(errno))).with_status(126),
    }
}
