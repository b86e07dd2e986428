//! The details of operations on the process and its program.

use std::fmt::Write as _;

use pillbox_init::plan::operation::{
    EndOnSignals, Exec, FindExecutable, InstallSeccomp, JoinNamespace, KeepDescriptors, SetCapabilities,
    SetGroups, SetMemoryPolicy, SetRlimit, SetScheduler,
};

use super::name::{
    capability_names, in_parentheses, limit, list, name_of, namespace_names, quoted, rlimit_name,
    seccomp_flags, text,
};
use crate::oci::signal;
use crate::plan::{Descriptor, Plan, attribute};

pub(super) fn signals(step: &EndOnSignals) -> String {
    let names = (1..=64).filter(|number| step.signals >> (number - 1) & 1 != 0).map(signal::name);
    names.collect::<Vec<_>>().join(" ")
}

pub(super) fn rlimit(step: &SetRlimit) -> String {
    format!("{} soft {} hard {}", rlimit_name(step.resource), limit(step.soft), limit(step.hard))
}

pub(super) fn seccomp(step: &InstallSeccomp<'_>) -> String {
    let instructions = step.program.len() / 8;
    format!("{instructions} instructions{}", in_parentheses(&seccomp_flags(step.flags)))
}

pub(super) fn groups(step: &SetGroups<'_>) -> String {
    let groups = list(step.groups.iter().map(|gid| gid.to_string()));
    if step.if_allowed { format!("{groups}, if the user namespace has setgroups allowed") } else { groups }
}

pub(super) fn capabilities(step: &SetCapabilities) -> String {
    let SetCapabilities { effective, permitted, inheritable, ambient } = *step;
    format!(
        "effective {}; permitted {}; inheritable {}; ambient {}",
        capability_names(effective),
        capability_names(permitted),
        capability_names(inheritable),
        capability_names(ambient)
    )
}

pub(super) fn executable(step: &FindExecutable<'_>) -> String {
    let FindExecutable { name, search } = *step;
    if name.to_bytes().contains(&b'/') { text(name) } else { format!("{} in {}", text(name), text(search)) }
}

pub(super) fn descriptors(step: &KeepDescriptors) -> String {
    match step.count {
        0 => "stdio only".into(),
        count => format!("stdio and 3 to {}", count.saturating_add(2)),
    }
}

pub(super) fn exec(step: &Exec<'_>) -> String {
    let environment = list(step.environment.iter().map(quoted));
    format!("{}; environment: {environment}", list(step.arguments.iter().map(quoted)))
}

pub(super) fn joined_namespace(step: &JoinNamespace, plan: &Plan) -> String {
    match plan.descriptors.get(step.namespace as usize) {
        Some(Descriptor::Namespace(kind, path)) => format!("{} {path}", kind.name()),
        _ => namespace_names(step.flag),
    }
}

pub(super) fn scheduler(step: &SetScheduler) -> String {
    let SetScheduler { policy, flags, nice, priority, runtime, deadline, period } = *step;
    let mut line = format!("{} nice {nice} priority {priority}", name_of(policy, &attribute::POLICIES));
    if deadline != 0 {
        let _ = write!(line, " runtime {runtime} ns of {deadline} ns, every {period} ns");
    }
    if flags != 0 { line + &format!(" flags {flags:#x}") } else { line }
}

pub(super) fn memory_policy(step: &SetMemoryPolicy<'_>) -> String {
    let SetMemoryPolicy { mode, nodes } = *step;
    let flags = attribute::MEMORY_FLAGS.iter().filter(|(_, bit)| mode & bit != 0).map(|(name, _)| *name);
    let names: Vec<_> = flags.collect();
    let mode = mode & !attribute::MEMORY_FLAGS.iter().fold(0, |bits, (_, bit)| bits | bit);
    let nodes = list(attribute::nodes_of(nodes).iter().map(usize::to_string));
    format!("{} nodes {nodes} {}", name_of(mode, &attribute::MEMORY_MODES), names.join(" "))
}
