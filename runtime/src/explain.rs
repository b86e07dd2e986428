//! A plan in words: the lines of `explain`, and the errors of operations that failed.

use std::ffi::CStr;
use std::fmt::Write as _;

use pillbox_init::plan::{Operation, SecurityModule, TargetRule, Tree, Turn};
use pillbox_init::report::Stage;
use pillbox_init::wire::{Capabilities, Strings, Value};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::error::{Error, describe_errno};
use crate::plan::{Descriptor, Plan, attribute};
use crate::{capability, rlimit};

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
            Turn::Fork => "until the runtime knows the process that goes on",
            Turn::Network => "until the runtime has made the network namespace",
        }
        .into(),
        Operation::NewKeyring { name } => text(name),
        Operation::Unshare { flags } => namespace_names(flags),
        Operation::SetPropagation { propagation } => format!("/ {}", propagation_names(propagation)),
        Operation::AttachRoot { tree, at, propagation } => {
            let place = if plan.from_seed { " of the seed" } else { "" };
            format!("{} at {}{place} (r{})", tree_name(tree, plan), text(at), propagation_names(propagation))
        }
        Operation::AttachScratchRoot { at } => format!("an empty tmpfs, below {} for the time", text(at)),
        Operation::MountOverlay { lower, user_xattr } => {
            format!("over {}, changes in memory{}", text(lower), if user_xattr { " (userxattr)" } else { "" })
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
            recursive_set,
            recursive_clear,
            propagation,
            recursive_propagation,
        } => {
            let mut options = attribute_names(set);
            options.extend(attribute_names(clear).into_iter().map(|name| format!("not {name}")));
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
        Operation::SetGroups { groups } => list(groups.iter().map(|gid| gid.to_string())),
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
        Operation::SetUndumpable {}
        | Operation::EnterTimeNamespace {}
        | Operation::NewSession {}
        | Operation::SendNetlinkSocket {}
        | Operation::JoinNetwork {}
        | Operation::SetLoopbackUp {}
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

fn name_of(number: u32, known: &[(&str, u32)]) -> String {
    known
        .iter()
        .find(|(_, known)| *known == number)
        .map_or_else(|| number.to_string(), |(name, _)| (*name).to_string())
}

fn word(value: Value<'_>) -> String {
    if let Value::Word(word) = value { word.to_string() } else { String::new() }
}

fn text(text: &CStr) -> String {
    one_line(&text.to_string_lossy())
}

/// A text in which nothing can end the line or speak to a terminal.
pub fn one_line(text: &str) -> String {
    let escape = |character: char| {
        let escaped = if character.is_control() { Some(character.escape_default()) } else { None };
        let plain = if escaped.is_some() { None } else { Some(character) };
        escaped.into_iter().flatten().chain(plain)
    };
    text.chars().flat_map(escape).collect()
}

fn quoted(text: &CStr) -> String {
    format!("{:?}", text.to_string_lossy())
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_string() } else { items.join(" ") }
}

fn in_parentheses(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" ({})", options.join(", ")) }
}

fn pairs(parameters: Strings<'_>) -> Vec<String> {
    let all: Vec<_> = parameters.iter().map(text).collect();
    all.chunks(2).map(|pair| pair.join("=")).collect()
}

fn limit(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_string() } else { value.to_string() }
}

fn rlimit_name(resource: u32) -> String {
    rlimit::name(resource).map_or_else(|| resource.to_string(), str::to_string)
}

fn capability_names(set: Capabilities) -> String {
    let names: Vec<_> = capability::names(set.0).collect();
    if names.is_empty() { "none".to_string() } else { names.join(" ") }
}

fn tree_name(tree: Tree<'_>, plan: &Plan) -> String {
    let Some((path, recursive)) = tree_path(tree, plan) else { return "a descriptor".to_string() };
    let below = if recursive { " with submounts" } else { "" };
    let mapped = if tree_idmap(tree, plan) { ", id-mapped," } else { "" };
    format!("{}{below}{mapped}", text(path))
}

/// Where a tree comes from, and whether mounts below come along.
fn tree_path<'t>(tree: Tree<'t>, plan: &'t Plan) -> Option<(&'t CStr, bool)> {
    match tree {
        Tree::Path { path, recursive, nofollow: _ } => Some((path, recursive)),
        Tree::Descriptor(index) => match plan.descriptors.get(index as usize) {
            Some(Descriptor::Tree { path, recursive, .. }) => Some((path, *recursive)),
            _ => None,
        },
    }
}

fn tree_idmap(tree: Tree<'_>, plan: &Plan) -> bool {
    let Tree::Descriptor(index) = tree else { return false };
    matches!(plan.descriptors.get(index as usize), Some(Descriptor::Tree { idmap: Some(_), .. }))
}

fn attribute_names(attributes: MountAttrFlags) -> Vec<String> {
    const NAMES: [(MountAttrFlags, &str); 8] = [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, "ro"),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, "nosuid"),
        (MountAttrFlags::MOUNT_ATTR_NODEV, "nodev"),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, "noexec"),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, "noatime"),
        (MountAttrFlags::MOUNT_ATTR_STRICTATIME, "strictatime"),
        (MountAttrFlags::MOUNT_ATTR_NODIRATIME, "nodiratime"),
        (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
    ];
    NAMES.iter().filter(|(flag, _)| attributes.contains(*flag)).map(|(_, name)| (*name).to_string()).collect()
}

fn some_propagation(propagation: MountPropagationFlags) -> Option<String> {
    (!propagation.is_empty()).then(|| propagation_names(propagation))
}

fn propagation_names(propagation: MountPropagationFlags) -> String {
    const NAMES: [(MountPropagationFlags, &str); 4] = [
        (MountPropagationFlags::PRIVATE, "private"),
        (MountPropagationFlags::SHARED, "shared"),
        (MountPropagationFlags::DOWNSTREAM, "slave"),
        (MountPropagationFlags::UNBINDABLE, "unbindable"),
    ];
    let name =
        NAMES.iter().find(|(flag, _)| propagation.contains(*flag)).map_or("as it is", |(_, name)| *name);
    if propagation.contains(MountPropagationFlags::REC) { format!("r{name}") } else { name.to_string() }
}

fn namespace_names(flags: u32) -> String {
    use crate::validate::NamespaceKind as Kind;
    let all =
        [Kind::Mount, Kind::Network, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Cgroup, Kind::User, Kind::Time];
    let names: Vec<_> =
        all.iter().filter(|kind| flags & kind.clone_flag() != 0).map(|kind| kind.name()).collect();
    names.join(" ")
}

fn seccomp_flags(flags: u32) -> Vec<String> {
    const NAMES: [(u32, &str); 5] =
        [(1, "tsync"), (2, "log"), (4, "spec allow"), (8, "new listener"), (32, "wait killable")];
    NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_string()).collect()
}

/// An operation for `explain --format json`: its name, then its fields as they stand in the plan, with names for
/// the kernel's numbers and paths for descriptors.
pub struct OperationDocument<'p> {
    /// The operation.
    pub operation: Operation<'p>,
    /// The plan that it belongs to.
    pub plan: &'p Plan,
}

impl Serialize for OperationDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Vec::new();
        self.operation.visit_fields(&mut |name, value| fields.push((name, value)));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("operation", self.operation.name())?;
        for (name, value) in fields {
            match (self.operation, name) {
                (Operation::Unshare { flags }, "flags") => {
                    map.serialize_entry(
                        "namespaces",
                        &namespace_names(flags).split(' ').collect::<Vec<_>>(),
                    )?;
                }
                (Operation::InstallSeccomp { flags, .. }, "flags") => {
                    map.serialize_entry(name, &seccomp_flags(flags))?;
                }
                (Operation::SetRlimit { resource, .. }, "resource") => {
                    map.serialize_entry(name, &rlimit_name(resource))?;
                }
                (Operation::SetRlimit { .. }, "soft" | "hard") if matches!(value, Value::Number(number) if number == i128::from(u64::MAX)) =>
                {
                    map.serialize_entry(name, "unlimited")?;
                }
                (Operation::Mount { parameters, .. }, "parameters") => {
                    map.serialize_entry(name, &pairs(parameters))?;
                }
                (Operation::Mount { otherwise: None, .. }, "otherwise") => {
                    map.serialize_entry(name, &None::<()>)?;
                }
                _ => map.serialize_entry(name, &ValueDocument(value, self.plan))?,
            }
        }
        map.end()
    }
}

struct ValueDocument<'p>(Value<'p>, &'p Plan);

impl Serialize for ValueDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => match u64::try_from(number) {
                Ok(number) => serializer.serialize_u64(number),
                Err(_) => serializer.serialize_i64(number as i64),
            },
            Value::Octal(mode) => serializer.serialize_str(&format!("{mode:04o}")),
            Value::Bits(bits) => serialize_list(serializer, capability::names(bits)),
            Value::Flag(flag) => serializer.serialize_bool(flag),
            Value::Text(string) => serializer.serialize_str(&string.to_string_lossy()),
            Value::Texts(strings) => serialize_list(serializer, strings.iter().map(CStr::to_string_lossy)),
            Value::Numbers(numbers) => serialize_list(serializer, numbers.iter()),
            // A filter: one number for each instruction, as they stand in memory.
            Value::Bytes(bytes) => serialize_list(
                serializer,
                bytes.as_chunks::<8>().0.iter().map(|instruction| u64::from_ne_bytes(*instruction)),
            ),
            Value::Attributes(attributes) => {
                serialize_list(serializer, attribute_names(attributes).into_iter())
            }
            Value::Propagation(propagation) => match some_propagation(propagation) {
                Some(name) => serializer.serialize_str(&name),
                None => serializer.serialize_none(),
            },
            Value::Tree(tree) => {
                let mut map = serializer.serialize_map(None)?;
                if let Some((path, recursive)) = tree_path(tree, self.1) {
                    map.serialize_entry("path", &path.to_string_lossy())?;
                    map.serialize_entry("recursive", &recursive)?;
                }
                map.serialize_entry("idMapped", &tree_idmap(tree, self.1))?;
                let opened_by = if matches!(tree, Tree::Descriptor(_)) { "runtime" } else { "init" };
                map.serialize_entry("openedBy", opened_by)?;
                map.end()
            }
            Value::Word(word) => serializer.serialize_str(word),
        }
    }
}

fn serialize_list<S: Serializer, T: Serialize>(
    serializer: S,
    items: impl Iterator<Item = T>,
) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(None)?;
    for item in items {
        sequence.serialize_element(&item)?;
    }
    sequence.end()
}

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
                Stage::Call | Stage::Option | Stage::Create | Stage::Attach | Stage::Copy => "attach",
            };
            Error::formatted(format_args!("bind {source} on {target}: {step}: {cause}"))
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
        Operation::CopySymlink { path, target } if stage == Stage::Verify => Error::formatted(format_args!(
            "copy-symlink: {}: something else than a symbolic link to {} is there already",
            text(path),
            text(target)
        )),
        Operation::AttachRoot { tree, .. } => {
            Error::formatted(format_args!("attach the root file system {}: {cause}", tree_name(tree, plan)))
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
        Operation::SetCwd { path } | Operation::RetryCwd { path } => {
            Error::formatted(format_args!("process.cwd: chdir to {}: {cause}", text(path)))
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
        _ => cause.to_string(),
    };
    Error::formatted(format_args!("{field}: {label:?}: {what}"))
}

const LINK: &str = "a symbolic link is on the way to the mount point, or it is one";

fn is_link(rule: TargetRule, errno: Errno) -> bool {
    matches!(rule, TargetRule::NoSymlinks | TargetRule::Procfs) && errno == Errno::LOOP
}

fn unmapped_hint(errno: Errno) -> &'static str {
    if errno == Errno::INVAL { ": the id is not mapped in the user namespace" } else { "" }
}

/// The operation and its object, for errors that need no words of their own.
fn phrase(operation: &Operation<'_>, plan: &Plan) -> String {
    describe(operation, plan).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Callers match these strings, and take the status for a shell's: 127 not found, 126 found but not executable.
pub fn describe_exec_failure(name: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOENT if !name.contains('/') => {
            Error::formatted(format_args!("exec: {name:?}: executable file not found in $PATH"))
                .with_status(127)
        }
        Errno::NOENT | Errno::NOTDIR => Error::formatted(format_args!(
            "exec: {name:?}: {}: it, or the interpreter that it names, is missing",
            describe_errno(errno)
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
        _ => Error::formatted(format_args!("exec: {name:?}: {}", describe_errno(errno))).with_status(126),
    }
}
