//! A plan in words: the lines of `explain`, and the errors of operations that failed. Nothing here decides
//! anything.
//!
//! May use `plan` and every room below it.

mod document;
mod failure;
pub mod features;
mod file;
mod mount;
mod name;
mod process;

use pillbox_init::plan::{Operation, Tree, Turn};
use pillbox_init::wire::Wire;

use self::name::{
    below, capability_names, list, name_of, namespace_names, propagation_names, text, tree_name, word,
};
use crate::plan::{Plan, attribute};

pub use document::OperationDocument;
pub use failure::describe_failure;
pub use name::one_line;

/// One line for an operation: its name, then its details.
pub fn describe(operation: &Operation<'_>, plan: &Plan) -> String {
    format!("{:<22} {}", operation.name(), details(operation, plan)).trim_end().to_string()
}

fn details(operation: &Operation<'_>, plan: &Plan) -> String {
    match operation {
        Operation::DieWithRuntime(step) => if step.enabled { "from now on" } else { "no longer" }.into(),
        Operation::Await(step) => awaited(step.turn).into(),
        Operation::UseEveryProcessor(_) => "of the cgroup".into(),
        Operation::EndOnSignals(step) => process::signals(step),
        Operation::NewKeyring(step) => text(step.name),
        Operation::Unshare(step) => namespace_names(step.flags),
        Operation::SetPropagation(step) => format!("/ {}", propagation_names(step.propagation)),
        Operation::AttachRoot(step) => mount::attach_root(step, plan),
        Operation::AttachScratchRoot(step) => format!("an empty tmpfs, below {} for the time", text(step.at)),
        Operation::MountOverlay(step) => mount::overlay(step),
        Operation::Mount(step) => mount::mount(step, plan),
        Operation::MountWithData(step) => mount::mount_with_data(step),
        Operation::BindMount(step) => mount::bind(step, plan),
        Operation::SetMountAttributes(step) => mount::set_attributes(step),
        Operation::Remount(step) => mount::remount(step),
        Operation::Unmount(step) => {
            below(step.folder, step.name) + if step.rehearse { ", tried first" } else { "" }
        }
        Operation::CopySymlink(step) => format!("{} -> {}", text(step.path), text(step.target)),
        Operation::MakeNode(step) => file::node(step),
        Operation::MakeSymlink(step) => file::symlink(step),
        Operation::MakeDirectory(step) => {
            format!("{} mode {:04o}, if missing", text(step.path), step.mode.bits())
        }
        Operation::Chroot(step) => {
            if step.cover { "after the root has been moved over the old one" } else { "" }.into()
        }
        Operation::OpenConsole(step) => file::console(step),
        Operation::SetHostname(step) => text(step.name),
        Operation::SetDomainname(step) => text(step.name),
        Operation::WriteSysctl(step) => format!("/proc/{} = {}", text(step.path), text(step.value)),
        Operation::MakePathReadonly(step) => text(step.path),
        Operation::MaskPath(step) => text(step.path),
        Operation::OwnStdio(step) => format!("owner {}:{}", step.uid, step.gid),
        Operation::SetUmask(step) => format!("{:04o}", step.mask.bits()),
        Operation::SetRlimit(step) => process::rlimit(step),
        Operation::InstallSeccomp(step) => process::seccomp(step),
        Operation::DropBounding(step) => format!("all but {}", capability_names(step.keep)),
        Operation::TakeTrees(step) => {
            list(step.trees.iter().map(|index| tree_name(Tree::Descriptor(index), plan)))
        }
        Operation::SetGroups(step) => process::groups(step),
        Operation::SetUser(step) => format!("uid {} gid {}", step.uid, step.gid),
        Operation::SetCapabilities(step) => process::capabilities(step),
        Operation::SetCwd(step) => text(step.path),
        Operation::RetryCwd(step) => {
            format!("{}, if it was refused; it must lie inside the root", text(step.path))
        }
        Operation::ReadHome(step) => {
            format!("HOME: uid {}'s in the container's /etc/passwd, else /", step.uid)
        }
        Operation::FindExecutable(step) => process::executable(step),
        Operation::AwaitStart(_) => "from pillbox start".into(),
        Operation::ReplaceStdio(_) => "by pipes of the runtime's".into(),
        Operation::KeepDescriptors(step) => process::descriptors(step),
        Operation::TakeWord(_) => "which says that init took it".into(),
        Operation::EnterRootCover(_) => "what was mounted over the root is the root from here on".into(),
        Operation::StandBeforeProgram(_) => "passes signals on to the program, and collects orphans".into(),
        Operation::Exec(step) => process::exec(step),
        Operation::JoinNamespace(step) => process::joined_namespace(step, plan),
        Operation::WriteTimeOffsets(step) => text(step.offsets).trim_end().replace('\n', ", "),
        Operation::SetScheduler(step) => process::scheduler(step),
        Operation::SetIoPriority(step) => format!("{} level {}", word(step.class.value()), step.level),
        Operation::SetPersonality(step) => name_of(step.domain, &attribute::DOMAINS),
        Operation::SetMemoryPolicy(step) => process::memory_policy(step),
        Operation::SetExecLabel(step) => format!("{} {}", word(step.module.value()), text(step.label)),
        Operation::SendFileSystem(step) => text(step.kind),
        Operation::SetUndumpable(_)
        | Operation::SetDumpable(_)
        | Operation::UnmountOnFailure(_)
        | Operation::EnterTimeNamespace(_)
        | Operation::NewSession(_)
        | Operation::SendNetlinkSocket(_)
        | Operation::JoinNetwork(_)
        | Operation::PivotRoot(_)
        | Operation::SetNoNewPrivileges(_)
        | Operation::ReportHooks(_)
        | Operation::EnterRoot(_)
        | Operation::EnterChroot(_)
        | Operation::Ready(_) => String::new(),
    }
}

fn awaited(turn: Turn) -> &'static str {
    match turn {
        Turn::Mappings => "until the runtime has written the id maps",
        Turn::RuntimeHooks => "until the runtime's hooks have run",
        Turn::Record => "until the runtime has recorded the container",
        Turn::Listener => "until the runtime has taken the seccomp listener",
        Turn::Network => "until the runtime has made the network namespace",
        Turn::Pidfd => "until the runtime has init's pidfd",
    }
}
