//! `mounts[]`: what each option means, and one operation for each mount.

use std::ffi::{CStr, CString};

use pillbox_init::plan::{Operation, TargetRule, Tree};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::mount_idmap::{self, IdmapOption};
use super::namespace::Namespaces;
use super::{Builder, Descriptor, Intent, Layer, c_string, string_bytes, strings};
use crate::error::{Error, Result};
use crate::spec::Mount;
use crate::spec::json::List;
use crate::validate::{NamespaceKind, RootfsPropagation, ValidSpec};

/// fsconfig(2) takes strings up to this length; longer data goes through mount(2).
const PARAMETER_MAX: usize = 255;

/// Files of procfs that lxcfs and others may replace; nothing else is mounted inside /proc.
const REPLACEABLE_IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
];

/// Options that set the one field for access times.
const ACCESS_TIMES: [&str; 3] = ["noatime", "strictatime", "relatime"];

/// What a mount's options come to.
#[derive(Debug, PartialEq)]
struct Options<'a> {
    bind: bool,
    recursive: bool,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    recursive_set: MountAttrFlags,
    recursive_clear: MountAttrFlags,
    propagation: MountPropagationFlags,
    recursive_propagation: bool,
    remount: bool,
    /// tmpcopyup: a tmpfs begins with what it covers.
    copy_up: bool,
    /// crun's: a source that is a symbolic link is made anew instead of bound.
    copy_symlink: bool,
    /// crun's `src-nofollow` and `dest-nofollow`: a symbolic link at the end is meant itself.
    source_nofollow: bool,
    target_nofollow: bool,
    idmap: Option<IdmapOption<'a>>,
    /// Flags of the file system itself (`sync`).
    flags: Vec<&'a str>,
    /// The rest, which only the file system understands.
    data: Vec<&'a str>,
}

/// The mount attribute that an option names, and whether it sets it.
fn attribute(option: &str) -> Option<(MountAttrFlags, bool)> {
    type Attribute = MountAttrFlags;
    Some(match option {
        "ro" => (Attribute::MOUNT_ATTR_RDONLY, true),
        "rw" => (Attribute::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (Attribute::MOUNT_ATTR_NOSUID, true),
        "suid" => (Attribute::MOUNT_ATTR_NOSUID, false),
        "nodev" => (Attribute::MOUNT_ATTR_NODEV, true),
        "dev" => (Attribute::MOUNT_ATTR_NODEV, false),
        "noexec" => (Attribute::MOUNT_ATTR_NOEXEC, true),
        "exec" => (Attribute::MOUNT_ATTR_NOEXEC, false),
        "noatime" => (Attribute::MOUNT_ATTR_NOATIME, true),
        "atime" => (Attribute::MOUNT_ATTR_NOATIME, false),
        "strictatime" => (Attribute::MOUNT_ATTR_STRICTATIME, true),
        "nostrictatime" => (Attribute::MOUNT_ATTR_STRICTATIME, false),
        // Relative access times are the kernel's default, an attribute without a bit.
        "relatime" => (Attribute::MOUNT_ATTR_RELATIME, true),
        "norelatime" => (Attribute::MOUNT_ATTR_RELATIME, false),
        "nodiratime" => (Attribute::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (Attribute::MOUNT_ATTR_NODIRATIME, false),
        "nosymfollow" => (Attribute::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (Attribute::MOUNT_ATTR_NOSYMFOLLOW, false),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<(MountPropagationFlags, bool)> {
    let (word, recursive) = match option {
        "rprivate" | "rshared" | "rslave" | "runbindable" => (&option[1..], true),
        word => (word, false),
    };
    Some((
        match word {
            "private" => MountPropagationFlags::PRIVATE,
            "shared" => MountPropagationFlags::SHARED,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => return None,
        },
        recursive,
    ))
}

fn parse_options<'a>(field: &str, mount: &'a Mount<'_>) -> Result<Options<'a>> {
    let none = MountAttrFlags::empty();
    let mut options = Options {
        bind: mount.kind.as_deref() == Some("bind"),
        recursive: false,
        set: none,
        clear: none,
        recursive_set: none,
        recursive_clear: none,
        propagation: MountPropagationFlags::empty(),
        recursive_propagation: false,
        remount: false,
        copy_up: false,
        copy_symlink: false,
        source_nofollow: false,
        target_nofollow: false,
        idmap: None,
        flags: Vec::new(),
        data: Vec::new(),
    };
    for option in &mount.options {
        if let Some((attribute, set)) = attribute(option) {
            // The access-time modes are one field: the last one named counts, and replaces a bind source's.
            if ACCESS_TIMES.contains(&&**option) {
                options.set.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
                options.clear.set(MountAttrFlags::MOUNT_ATTR__ATIME, set);
            }
            options.set.set(attribute, set);
        } else if let Some((propagation, recursive)) = propagation(option) {
            options.propagation = propagation;
            options.recursive_propagation |= recursive;
        } else if let Some((attribute, set)) = option.strip_prefix('r').and_then(attribute) {
            options.recursive_set.set(attribute, set);
            options.recursive_clear.set(attribute, !set);
        } else if let Some(idmap) = IdmapOption::parse(option) {
            options.idmap = Some(idmap);
        } else {
            match &**option {
                "" | "defaults" | "async" | "nomand" | "silent" | "loud" | "noiversion" | "nolazytime" => {}
                "bind" => options.bind = true,
                "rbind" => (options.bind, options.recursive) = (true, true),
                "sync" | "dirsync" | "mand" | "lazytime" | "iversion" => options.flags.push(option),
                "remount" => options.remount = true,
                "tmpcopyup" => options.copy_up = true,
                "copy-symlink" => options.copy_symlink = true,
                "src-nofollow" => options.source_nofollow = true,
                "dest-nofollow" => options.target_nofollow = true,
                data => options.data.push(data),
            }
        }
    }
    if options.copy_up && (options.bind || options.remount || mount.kind.as_deref() != Some("tmpfs")) {
        return Err(Error::formatted(format_args!(
            "{field}.options: \"tmpcopyup\" is for a mount of type \"tmpfs\" only"
        )));
    }
    if !options.bind {
        // A new file system has nothing below: there recursive options are plain ones.
        options.set.remove(options.recursive_clear);
        options.set.insert(options.recursive_set);
        (options.recursive_set, options.recursive_clear) = (none, none);
    }
    Ok(options)
}

/// Whether an option is known here, for one kind of mount or another; any other is the file system's.
pub fn knows_option(option: &str) -> bool {
    ["bind", "tmpfs"].into_iter().any(|kind| {
        let options = List(vec![option.into()]);
        let mount = Mount { kind: Some(kind.into()), options, ..Mount::default() };
        parse_options("", &mount).is_ok_and(|options| options.data.is_empty())
    })
}

/// Appends an operation for each mount; the result are the targets that become read-only only at the end,
/// because something is still to be made below them.
pub fn compile(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    namespaces: &Namespaces,
    own_user_namespace: bool,
    intent: &Intent,
) -> Result<Vec<CString>> {
    let mut read_only_later = Vec::new();
    let mut label = spec.mount_label.as_deref().filter(|label| !label.is_empty());
    if builder.host.lacks_selinux
        && let Some(label) = label.take()
    {
        let consequence = "SELinux: the files of the container's mounts have no label";
        super::attribute::without_module(builder, "linux.mountLabel", label, consequence);
    }
    let label = label.map(|label| format!("context=\"{label}\""));
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        let mut options = parse_options(&field, mount)?;
        let destination = normalize(&mount.destination);
        let target = c_string(&field, &destination)?;
        if options.remount {
            compile_remount(builder, &field, mount, &target, &options)?;
            continue;
        }
        let rule = target_rule(&field, &destination, mount, &options)?;
        let idmap =
            mount_idmap::compile(builder, spec, namespaces, &field, mount, options.idmap, options.bind)?;
        let link =
            intent.source_links.iter().find(|(of, _)| *of == index && options.copy_symlink && options.bind);
        if let Some((_, link)) = link {
            let link = c_string(&field, link)?;
            builder.push(Operation::CopySymlink { path: &target, target: &link });
            continue;
        }
        let later = spec.mounts[index + 1..].iter().map(|later| normalize(&later.destination));
        if !options.bind
            && options.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
            && (destination == "/dev" || later.into_iter().any(|later| is_below(&later, &destination)))
        {
            options.set.remove(MountAttrFlags::MOUNT_ATTR_RDONLY);
            read_only_later.push(target.clone());
        }
        if options.bind {
            compile_bind(builder, spec, &field, mount, &target, rule, &options)?;
            if let Some(Descriptor::Tree { idmap: of_source, .. }) = builder.descriptors.last_mut() {
                *of_source = idmap;
            }
        } else {
            let own_view = namespaces.makes(NamespaceKind::Cgroup) || namespaces.joins(NamespaceKind::Cgroup);
            let cgroup = if own_view { &intent.cgroup } else { &intent.cgroup_mount }.as_deref();
            let of_cgroup = matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
            // A new mount from the host's cgroup namespace would turn off what the host's is mounted with (nsdelegate).
            if let (true, false, false, Some(path)) = (of_cgroup, own_view, own_user_namespace, cgroup) {
                let mount = Mount { source: Some(path.into()), ..mount.clone() };
                compile_bind(builder, spec, &field, &mount, &target, rule, &options)?;
                continue;
            }
            if let (Some(label), false) =
                (&label, options.data.iter().any(|data| data.starts_with("context=")))
            {
                options.data.extend(label_for(mount, label));
            }
            compile_new(builder, &field, mount, &target, rule, &options, own_user_namespace, cgroup)?;
        }
        if destination == "/" {
            builder.push(Operation::EnterRootCover {});
        }
    }
    Ok(read_only_later)
}

/// Labels have commas, and so quotes around them in mount(2)'s string; fsconfig(2) wants them bare.
fn unquoted<'o>((key, value): (&'o str, &'o str)) -> (&'o str, &'o str) {
    if !key.ends_with("context") {
        return (key, value);
    }
    (key, value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// The option that labels a new file system, where the kernel takes one: those that label by themselves do not.
fn label_for<'l>(mount: &Mount<'_>, label: &'l str) -> Option<&'l str> {
    let kind = mount.kind.as_deref().unwrap_or_default();
    (!matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2" | "mqueue")).then_some(label)
}

/// File systems that are made from nothing, or from the kernel.
const OF_THE_KERNEL: [&str; 9] =
    ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind"];

/// Whether a new file system is made from something that has a path on the host: a block device, overlay layers.
pub fn needs_host_paths(spec: &ValidSpec<'_>) -> bool {
    spec.mounts.iter().any(|mount| {
        let bind = mount.options.iter().any(|option| matches!(&**option, "bind" | "rbind"));
        !bind && !OF_THE_KERNEL.contains(&mount.kind.as_deref().unwrap_or_default())
    })
}

/// An absolute path without doubled or trailing slashes; a relative one is taken from the root.
fn normalize(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 1);
    for component in path.split('/').filter(|component| !component.is_empty() && *component != ".") {
        normal.push('/');
        normal.push_str(component);
    }
    if normal.is_empty() { "/".to_string() } else { normal }
}

fn is_below(path: &str, folder: &str) -> bool {
    folder == "/" || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Nothing may cover procfs or parts of it: what init and the program write there must arrive.
fn target_rule(
    field: &str,
    destination: &str,
    mount: &Mount<'_>,
    options: &Options<'_>,
) -> Result<TargetRule> {
    let kind = mount.kind.as_deref().unwrap_or_default();
    if destination == "/" && options.copy_up {
        return Err(Error::formatted(format_args!(
            "{field}.options: \"tmpcopyup\" is not for \"/\": the whole root would be copied"
        )));
    }
    if REPLACEABLE_IN_PROC.contains(&destination) && options.bind {
        return Ok(TargetRule::InsideProc);
    }
    if is_below(destination, "/proc") || (destination == "/proc" && kind != "proc" && !options.bind) {
        return Err(Error::formatted(format_args!(
            "{field}.destination: {destination:?} lies in /proc: only procfs itself may be mounted there, and single files such as /proc/cpuinfo"
        )));
    }
    if destination == "/proc" && options.bind {
        return Ok(TargetRule::Procfs);
    }
    let kernel_file_system = destination == "/sys" || (!options.bind && matches!(kind, "proc" | "sysfs"));
    Ok(match (kernel_file_system, options.target_nofollow && options.bind) {
        (true, _) => TargetRule::NoSymlinks,
        (_, true) => TargetRule::NoFollow,
        _ => TargetRule::Ordinary,
    })
}

/// `remount` changes what is mounted at the destination: with `bind` this mount, else its file system too.
fn compile_remount(
    builder: &mut Builder<'_>,
    field: &str,
    mount: &Mount<'_>,
    target: &CStr,
    options: &Options<'_>,
) -> Result<()> {
    let all = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NODIRATIME
        | MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW;
    if !(mount.uid_mappings.is_empty() && options.idmap.is_none()) {
        return Err(Error::formatted(format_args!(
            "{field}.options: \"remount\": a mount that is there already cannot be id-mapped"
        )));
    }
    if let (true, Some(data)) = (options.bind, options.data.first()) {
        return Err(Error::formatted(format_args!("{field}.options: {data:?} is no option of a bind mount")));
    }
    let (parameters, flags): (Vec<&str>, Vec<&str>) =
        options.data.iter().partition(|data| data.contains('='));
    // As with mount(2), the file system becomes writable unless "ro" is said again.
    let read_only = if options.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) { "ro" } else { "rw" };
    let flags = string_bytes([read_only].into_iter().chain(options.flags.iter().copied()).chain(flags));
    let parameters =
        string_bytes(parameters.iter().filter_map(|pair| pair.split_once('=')).flat_map(<[&str; 2]>::from));
    builder.push(Operation::Remount {
        target,
        set: options.set,
        // All attributes are stated anew, but access times only where they are named: mount(2), MS_REMOUNT.
        clear: (all - options.set) | options.clear,
        reconfigure: !options.bind,
        flags: strings(&flags)?,
        parameters: strings(&parameters)?,
        propagation: options.propagation,
    });
    Ok(())
}

fn compile_bind(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    field: &str,
    mount: &Mount<'_>,
    target: &CStr,
    rule: TargetRule,
    options: &Options<'_>,
) -> Result<()> {
    for data in &options.data {
        // The kernel never looks at the data of a bind mount; callers send it all the same.
        builder.warnings.push(format!("{field}.options: {data:?} means nothing for a bind mount"));
    }
    let source = mount.source.as_deref().unwrap_or_default();
    if source.is_empty() {
        return Err(Error::formatted(format_args!("{field}.source: a bind mount needs one")));
    }
    let source = c_string(field, source)?;
    let procfs = target == c"/proc";
    let mut tree = builder.tree(&source, options.recursive, &format!("{field}.source"), procfs, false);
    if let Tree::Path { nofollow, .. } = &mut tree {
        *nofollow = options.source_nofollow;
    } else if let Some(Descriptor::Tree { nofollow, .. }) = builder.descriptors.last_mut() {
        *nofollow = options.source_nofollow;
    }
    let (first, recursive, second) = compile_propagation(spec, options);
    builder.push(Operation::BindMount {
        tree,
        target,
        rule,
        set: options.set,
        clear: options.clear,
        recursive_set: options.recursive_set,
        recursive_clear: options.recursive_clear,
        propagation: first,
        recursive_propagation: recursive,
    });
    if let Some(propagation) = second {
        builder.push(Operation::SetMountAttributes {
            target,
            set: MountAttrFlags::empty(),
            propagation,
            recursive: options.recursive_propagation,
        });
    }
    Ok(())
}

/// What a bind mount becomes before it is attached, whether with the mounts below, and what it becomes then.
fn compile_propagation(
    spec: &ValidSpec<'_>,
    options: &Options<'_>,
) -> (MountPropagationFlags, bool, Option<MountPropagationFlags>) {
    type Propagation = MountPropagationFlags;
    let asked = options.propagation;
    let recursive = options.recursive_propagation;
    // A peer of the host's mount would carry the container's mounts out: only who asks for a shared root gets one.
    match spec.rootfs_propagation {
        RootfsPropagation::Shared => (asked, recursive, None),
        RootfsPropagation::Slave if asked.is_empty() => (Propagation::DOWNSTREAM, true, None),
        _ if asked.is_empty() => (Propagation::PRIVATE, true, None),
        // rprivate: nothing of the host's mounts is ever heard, so that there is nothing to be a slave of.
        RootfsPropagation::Private if spec.rootfs_propagation_recursive => {
            (Propagation::PRIVATE, true, Some(asked))
        }
        _ if (recursive || !options.recursive) && asked != Propagation::SHARED => (asked, recursive, None),
        // What is said of the top alone leaves the mounts below as they are, which is peers of the host's.
        _ => (Propagation::DOWNSTREAM, true, Some(asked)),
    }
}

/// One part of the host's file system for a throwaway container.
pub fn compile_layer(builder: &mut Builder<'_>, layer: &Layer, own_user_namespace: bool) -> Result<()> {
    match layer {
        Layer::Overlay(path) => {
            let lower = c_string("try", path)?;
            builder.push(Operation::MountOverlay { lower: &lower, user_xattr: own_user_namespace });
        }
        Layer::ReadOnly(path) => {
            let path = c_string("try", path)?;
            let tree = builder.tree(&path, true, "try", false, false);
            let none = MountAttrFlags::empty();
            builder.push(Operation::BindMount {
                tree,
                target: &path,
                rule: TargetRule::Ordinary,
                set: none,
                clear: none,
                recursive_set: MountAttrFlags::MOUNT_ATTR_RDONLY,
                recursive_clear: none,
                propagation: MountPropagationFlags::PRIVATE,
                recursive_propagation: true,
            });
        }
        Layer::Link(path, target) => {
            let (path, target) = (c_string("try", path)?, c_string("try", target)?);
            builder.push(Operation::MakeSymlink { path: &path, target: &target, replace: false });
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn compile_new(
    builder: &mut Builder<'_>,
    field: &str,
    mount: &Mount<'_>,
    target: &CStr,
    rule: TargetRule,
    options: &Options<'_>,
    own_user_namespace: bool,
    cgroup: Option<&str>,
) -> Result<()> {
    let kind = match mount.kind.as_deref().unwrap_or_default() {
        "" => {
            return Err(Error::formatted(format_args!(
                "{field}.type: missing: name a file system, or add the option \"bind\""
            )));
        }
        "cgroup" => "cgroup2",
        kind => kind,
    };
    // Others are made for the network namespace of whoever makes them: sysfs, and what mounts over a network.
    if !matches!(kind, "proc" | "tmpfs" | "devpts" | "mqueue" | "cgroup2") {
        builder.join_network();
    }
    let kind_text = c_string(field, kind)?;
    let source = c_string(field, mount.source.as_deref().unwrap_or(kind))?;
    // A terminal group or a label is the file system's business, and so is everything that is no mount option.
    if options.data.iter().any(|data| data.len() > PARAMETER_MAX) && !options.copy_up {
        let data: Vec<_> = options.flags.iter().chain(&options.data).copied().collect();
        let data = c_string(field, &data.join(","))?;
        builder.push(Operation::MountWithData {
            kind: &kind_text,
            source: &source,
            target,
            data: &data,
            attributes: options.set,
            propagation: options.propagation,
        });
        return Ok(());
    }
    let (parameters, flags): (Vec<&str>, Vec<&str>) =
        options.data.iter().partition(|data| data.contains('='));
    // A disk that is only to be read must not be opened for writing: its journal would be replayed.
    let read_only = options.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) && !OF_THE_KERNEL.contains(&kind);
    let flags = read_only.then_some("ro").into_iter().chain(options.flags.iter().copied()).chain(flags);
    let flags = string_bytes(flags);
    let parameters = parameters.iter().filter_map(|pair| pair.split_once('=')).map(unquoted);
    let parameters = string_bytes(parameters.flat_map(<[&str; 2]>::from));
    let substitute = match kind {
        // What a user namespace may not mount is bound: with a cgroup namespace the container's own part.
        "cgroup2" => Some(c_string(field, cgroup.unwrap_or("/sys/fs/cgroup"))?),
        "sysfs" if own_user_namespace => Some(c"/sys".to_owned()),
        _ => None,
    };
    let otherwise = substitute.as_deref().map(|path| {
        builder.tree(path, kind == "sysfs" || cgroup.is_none(), &format!("{field}.source"), false, true)
    });
    // A substitute of the host's that stayed a peer would carry the container's mounts out.
    let private = otherwise.is_some() && options.propagation.is_empty();
    builder.push(Operation::Mount {
        kind: &kind_text,
        source: &source,
        target,
        rule,
        flags: strings(&flags)?,
        parameters: strings(&parameters)?,
        attributes: options.set,
        propagation: if private { MountPropagationFlags::PRIVATE } else { options.propagation },
        take_mode: kind == "tmpfs" && !options.data.iter().any(|data| data.starts_with("mode=")),
        copy_up: options.copy_up,
        otherwise: otherwise as Option<Tree<'_>>,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[&'static str]) -> Options<'static> {
        let mount = Box::leak(Box::new(Mount {
            options: List(list.iter().map(|o| (*o).into()).collect()),
            ..Mount::default()
        }));
        parse_options("mounts[0]", mount).unwrap()
    }

    #[test]
    fn the_last_of_opposite_options_counts() {
        assert_eq!(options(&["ro", "rw"]).set, MountAttrFlags::empty());
        assert_eq!(options(&["rw", "ro"]).set, MountAttrFlags::MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn recursive_options_are_told_from_propagation() {
        let parsed = options(&["rbind", "rslave", "rro", "relatime"]);
        assert!(parsed.bind && parsed.recursive && parsed.recursive_propagation);
        assert_eq!(parsed.propagation, MountPropagationFlags::DOWNSTREAM);
        assert_eq!(parsed.recursive_set, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert_eq!(parsed.set, MountAttrFlags::empty());
        assert_eq!(parsed.clear, MountAttrFlags::MOUNT_ATTR__ATIME);
    }

    #[test]
    fn access_times_exclude_each_other() {
        assert_eq!(options(&["noatime", "strictatime"]).set, MountAttrFlags::MOUNT_ATTR_STRICTATIME);
        assert_eq!(options(&["strictatime", "relatime"]).set, MountAttrFlags::empty());
    }

    #[test]
    fn what_no_table_knows_is_the_file_systems() {
        assert_eq!(options(&["size=64k", "newinstance", "nosuid"]).data, ["size=64k", "newinstance"]);
    }

    #[test]
    fn recursive_options_of_a_new_file_system_are_plain() {
        let parsed = options(&["nodev", "rro", "rdev"]);
        assert_eq!(parsed.set, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert!((parsed.recursive_set | parsed.recursive_clear).is_empty());
    }

    #[test]
    fn tmpcopyup_is_refused_where_nothing_can_be_copied() {
        for (kind, list) in [
            ("tmpfs", &["bind", "tmpcopyup"][..]),
            ("tmpfs", &["remount", "tmpcopyup"]),
            ("proc", &["tmpcopyup"]),
        ] {
            let options = List(list.iter().map(|option| (*option).into()).collect());
            let mount = Mount { kind: Some(kind.into()), options, ..Mount::default() };
            assert!(parse_options("mounts[0]", &mount).is_err(), "{kind} {list:?}");
        }
    }

    #[test]
    fn a_bind_is_a_peer_of_the_hosts_mount_only_with_a_shared_root() {
        let words =
            ["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];
        for root in [
            RootfsPropagation::Default,
            RootfsPropagation::Private,
            RootfsPropagation::Slave,
            RootfsPropagation::Unbindable,
        ] {
            for word in words {
                let spec = ValidSpec { rootfs_propagation: root, ..ValidSpec::default() };
                let (first, recursive, _) = compile_propagation(&spec, &options(&["rbind", word]));
                // What is no peer any more cannot become one of the same again.
                assert!(
                    recursive && !first.is_empty() && first != MountPropagationFlags::SHARED,
                    "{root:?} {word}"
                );
            }
        }
    }

    #[test]
    fn labels_are_bare_for_fsconfig() {
        assert_eq!(unquoted(("context", "\"u:r:t:s0:c1,c2\"")), ("context", "u:r:t:s0:c1,c2"));
        assert_eq!(unquoted(("rootcontext", "u:r:t:s0")), ("rootcontext", "u:r:t:s0"));
        assert_eq!(unquoted(("size", "\"1\"")), ("size", "\"1\""));
    }

    #[test]
    fn paths_are_normal() {
        assert_eq!(normalize("//dev///pts/"), "/dev/pts");
        assert_eq!(normalize("tmp"), "/tmp");
        assert_eq!(normalize("/"), "/");
        assert!(is_below("/dev/pts", "/dev") && !is_below("/device", "/dev") && !is_below("/dev", "/dev"));
    }
}
