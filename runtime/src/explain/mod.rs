//! A plan in words: the lines of `explain`, and the errors of operations that failed.

mod document;
mod failure;
pub mod features;
mod name;

use std::ffi::CStr;
use std::fmt::Write as _;

use pillbox_init::plan::{Operation, TargetRule, Tree, Turn};

use self::name::{
    attribute_names, below, capability_names, in_parentheses, limit, list, name_of, namespace_names, pairs,
    propagation_names, quoted, rlimit_name, seccomp_flags, some_propagation, text, tree_name, word,
};
use crate::oci::signal;
use crate::plan::{Descriptor, Plan, attribute};

pub use document::OperationDocument;
pub use failure::describe_failure;
pub use name::one_line;

/// One line for an operation: its name, then what it is about.
pub fn describe(operation: &Operation<'_>, plan: &Plan) -> String {
    format!("{:<22} {}", operation.name(), details(operation, plan)).trim_end().to_string()
}

fn details(operation: &Operation<'_>, plan: &Plan) -> String {
    match *operation {
        Operation::DieWithRuntime { enabled } => if enabled { "from now on" } else { "no longer" }.into(),
        Operation::Await { turn } => match turn {
            Turn::Mappings => "until the runtime has written the id maps",
            Turn::RuntimeHooks => "until the runtime's hooks have run",
            Turn::Record => "until the runtime has recorded the container",
            Turn::Listener => "until the runtime has taken the seccomp listener",
            Turn::Network => "until the runtime has made the network namespace",
            Turn::Pidfd => "until the runtime has init's pidfd",
        }
        .into(),
        Operation::UseEveryProcessor {} => "of the cgroup".into(),
        Operation::EndOnSignals { signals } => {
            let names = (1..=64).filter(|number| signals >> (number - 1) & 1 != 0).map(signal::name);
            names.collect::<Vec<_>>().join(" ")
        }
        Operation::NewKeyring { name } => text(name),
        Operation::Unshare { flags } => namespace_names(flags),
        Operation::SetPropagation { propagation } => format!("/ {}", propagation_names(propagation)),
        Operation::AttachRoot { tree, at, propagation } => {
            let place = if plan.from_seed { " of the seed" } else { "" };
            format!("{} at {}{place} (r{})", tree_name(tree, plan), text(at), propagation_names(propagation))
        }
        Operation::AttachScratchRoot { at } => format!("an empty tmpfs, below {} for the time", text(at)),
        Operation::MountOverlay { lower, user_xattr } => {
            format!(
                "over {}, changes in memory{}, else read-only",
                text(lower),
                if user_xattr { " (userxattr)" } else { "" }
            )
        }
        Operation::Mount {
            kind,
            source,
            target,
            rule,
            flags,
            parameters,
            attributes,
            propagation,
            take_mode,
            copy_up,
            otherwise,
        } => {
            let mut options = attribute_names(attributes);
            options.extend(flags.iter().map(text));
            options.extend(pairs(parameters));
            options.extend(some_propagation(propagation));
            let mut line = new_mount(kind, source, target, &options);
            line.push_str(rule_words(rule));
            if take_mode {
                line.push_str(", with the mode of what it covers");
            }
            if copy_up {
                line.push_str(", seeded with what it covers");
            }
            if let Some(tree) = otherwise {
                let _ = write!(line, "; where that is refused, {} is bound", tree_name(tree, plan));
            }
            line
        }
        Operation::MountWithData { kind, source, target, data, attributes, propagation } => {
            let mut options = attribute_names(attributes);
            options.push(text(data));
            options.extend(some_propagation(propagation));
            new_mount(kind, source, target, &options)
        }
        Operation::BindMount {
            tree,
            target,
            rule,
            set,
            clear,
            drop,
            recursive_set,
            recursive_clear,
            propagation,
            recursive_propagation,
        } => {
            let mut options = attribute_names(set);
            options.extend(attribute_names(clear).into_iter().map(|name| format!("not {name}")));
            options.extend((!drop.is_empty()).then(|| "nothing else of the source's".to_string()));
            options.extend(attribute_names(recursive_set).into_iter().map(|name| format!("r{name}")));
            options.extend(attribute_names(recursive_clear).into_iter().map(|name| format!("not r{name}")));
            let prefix = if recursive_propagation { "r" } else { "" };
            options.extend(some_propagation(propagation).map(|name| format!("{prefix}{name}")));
            let rule = rule_words(rule);
            format!("{} on {}{}{rule}", tree_name(tree, plan), text(target), in_parentheses(&options))
        }
        Operation::SetMountAttributes { target, set, propagation, recursive } => {
            let mut options = attribute_names(set);
            options.extend(some_propagation(propagation));
            format!(
                "{}{}{}",
                text(target),
                in_parentheses(&options),
                if recursive { " recursively" } else { "" }
            )
        }
        Operation::Remount { target, set, clear: _, reconfigure, flags, parameters, propagation } => {
            let mut options = attribute_names(set);
            if reconfigure {
                options.extend(flags.iter().map(text).filter(|flag| flag != "ro"));
                options.extend(pairs(parameters));
            }
            options.extend(some_propagation(propagation));
            let what = if reconfigure { "the file system at " } else { "" };
            format!("{what}{}{}", text(target), in_parentheses(&options))
        }
        Operation::Unmount { folder, name, rehearse } => {
            below(folder, name) + if rehearse { ", tried first" } else { "" }
        }
        Operation::CopySymlink { path, target } => format!("{} -> {}", text(path), text(target)),
        Operation::MakeNode { path, kind, major, minor, mode, uid, gid } => {
            let kind = word(pillbox_init::wire::Wire::value(&kind));
            format!("{} {kind} {major}:{minor} mode {:04o} owner {uid}:{gid}", text(path), mode.bits())
        }
        Operation::MakeSymlink { path, target, replace } => {
            format!("{} -> {}{}", text(path), text(target), if replace { ", whatever was there" } else { "" })
        }
        Operation::MakeDirectory { path, mode } => {
            format!("{} mode {:04o}, if missing", text(path), mode.bits())
        }
        Operation::Chroot { cover } => {
            if cover { "after the root has been moved over the old one" } else { "" }.into()
        }
        Operation::OpenConsole { rows, columns, uid, mount } => {
            let mut line = format!("owner {uid}");
            if rows != 0 && columns != 0 {
                let _ = write!(line, ", {rows} rows, {columns} columns");
            }
            line + if mount { ", also at /dev/console" } else { "" }
        }
        Operation::SetHostname { name } | Operation::SetDomainname { name } => text(name),
        Operation::WriteSysctl { path, value } => format!("/proc/{} = {}", text(path), text(value)),
        Operation::MakePathReadonly { path } | Operation::MaskPath { path } => text(path),
        Operation::OwnStdio { uid, gid } => format!("owner {uid}:{gid}"),
        Operation::SetUmask { mask } => format!("{:04o}", mask.bits()),
        Operation::SetRlimit { resource, soft, hard } => {
            format!("{} soft {} hard {}", rlimit_name(resource), limit(soft), limit(hard))
        }
        Operation::InstallSeccomp { flags, program } => {
            format!("{} instructions{}", program.len() / 8, in_parentheses(&seccomp_flags(flags)))
        }
        Operation::DropBounding { keep } => format!("all but {}", capability_names(keep)),
        Operation::TakeTrees { trees } => {
            list(trees.iter().map(|index| tree_name(Tree::Descriptor(index), plan)))
        }
        Operation::SetGroups { groups, if_allowed } => {
            let groups = list(groups.iter().map(|gid| gid.to_string()));
            if if_allowed { format!("{groups}, if the user namespace has setgroups allowed") } else { groups }
        }
        Operation::SetUser { uid, gid } => format!("uid {uid} gid {gid}"),
        Operation::SetCapabilities { effective, permitted, inheritable, ambient } => format!(
            "effective {}; permitted {}; inheritable {}; ambient {}",
            capability_names(effective),
            capability_names(permitted),
            capability_names(inheritable),
            capability_names(ambient)
        ),
        Operation::SetCwd { path } => text(path),
        Operation::RetryCwd { path } => {
            format!("{}, if it was refused; it must lie inside the root", text(path))
        }
        Operation::ReadHome { uid } => format!("HOME: uid {uid}'s in the container's /etc/passwd, else /"),
        Operation::FindExecutable { name, search: _ } if name.to_bytes().contains(&b'/') => text(name),
        Operation::FindExecutable { name, search } => format!("{} in {}", text(name), text(search)),
        Operation::AwaitStart { .. } => "from pillbox start".into(),
        Operation::ReplaceStdio { .. } => "by pipes of the runtime's".into(),
        Operation::KeepDescriptors { count: 0, listener: _ } => "stdio only".into(),
        Operation::KeepDescriptors { count, listener: _ } => {
            format!("stdio and 3 to {}", count.saturating_add(2))
        }
        Operation::TakeWord {} => "which says that init took it".into(),
        Operation::EnterRootCover {} => "what was mounted over the root is the root from here on".into(),
        Operation::Exec { arguments, environment } => {
            let environment = list(environment.iter().map(quoted));
            format!("{}; environment: {environment}", list(arguments.iter().map(quoted)))
        }
        Operation::JoinNamespace { namespace, flag } => match plan.descriptors.get(namespace as usize) {
            Some(Descriptor::Namespace(kind, path)) => format!("{} {path}", kind.name()),
            _ => namespace_names(flag),
        },
        Operation::WriteTimeOffsets { offsets } => text(offsets).trim_end().replace('\n', ", "),
        Operation::SetScheduler { policy, flags, nice, priority, runtime, deadline, period } => {
            let mut line =
                format!("{} nice {nice} priority {priority}", name_of(policy, &attribute::POLICIES));
            if deadline != 0 {
                let _ = write!(line, " runtime {runtime} ns of {deadline} ns, every {period} ns");
            }
            if flags != 0 { line + &format!(" flags {flags:#x}") } else { line }
        }
        Operation::SetIoPriority { class, level } => {
            format!("{} level {level}", word(pillbox_init::wire::Wire::value(&class)))
        }
        Operation::SetPersonality { domain } => name_of(domain, &attribute::DOMAINS),
        Operation::SetMemoryPolicy { mode, nodes } => {
            let flags =
                attribute::MEMORY_FLAGS.iter().filter(|(_, bit)| mode & bit != 0).map(|(name, _)| *name);
            let names: Vec<_> = flags.collect();
            let mode = mode & !attribute::MEMORY_FLAGS.iter().fold(0, |bits, (_, bit)| bits | bit);
            let nodes = list(attribute::nodes_of(nodes).iter().map(usize::to_string));
            format!("{} nodes {nodes} {}", name_of(mode, &attribute::MEMORY_MODES), names.join(" "))
        }
        Operation::SetExecLabel { module, label } => {
            format!("{} {}", word(pillbox_init::wire::Wire::value(&module)), text(label))
        }
        Operation::SendFileSystem { kind, .. } => text(kind),
        Operation::SetUndumpable {}
        | Operation::SetDumpable {}
        | Operation::TakeBackOnFailure {}
        | Operation::EnterTimeNamespace {}
        | Operation::NewSession {}
        | Operation::SendNetlinkSocket {}
        | Operation::JoinNetwork {}
        | Operation::PivotRoot {}
        | Operation::SetNoNewPrivileges {}
        | Operation::ReportHooks {}
        | Operation::EnterRoot {}
        | Operation::EnterChroot { .. }
        | Operation::Ready {} => String::new(),
    }
}

/// The kind of file system, and what it is made from where that says more.
fn new_mount(kind: &CStr, source: &CStr, target: &CStr, options: &[String]) -> String {
    let source =
        if source == kind || source.is_empty() { String::new() } else { format!(" {}", text(source)) };
    format!("{}{source} on {}{}", text(kind), text(target), in_parentheses(options))
}

fn rule_words(rule: TargetRule) -> &'static str {
    match rule {
        TargetRule::Ordinary => "",
        TargetRule::NoSymlinks => ", through no symbolic link",
        TargetRule::InsideProc => ", a file of procfs",
        TargetRule::NoFollow => ", even on a symbolic link",
        TargetRule::Procfs => ", through no symbolic link, and only a procfs",
    }
}
