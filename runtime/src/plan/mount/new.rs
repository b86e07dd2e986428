//! New file systems.

use std::ffi::CStr;

use pillbox_init::plan::operation::{self, DieWithRuntime, MountWithData, SendFileSystem};
use pillbox_init::plan::{Operation, TargetRule, Tree};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::option::Options;
use crate::error::{Error, Result};
use crate::oci::spec::Mount;
use crate::oci::spec::json::Text;
use crate::plan::text::{c_string, string_bytes, strings};
use crate::plan::{Builder, Descriptor, HostTree, Namespaces, Need};
use crate::validate::NamespaceKind;

/// fsconfig(2) takes strings up to this length; longer data goes through mount(2).
pub const PARAMETER_MAX: usize = 255;

/// A label may have commas, and so needs quotes in the string for mount(2); fsconfig(2) takes it without
/// quotes.
fn unquoted<'o>((key, value): (&'o str, &'o str)) -> (&'o str, &'o str) {
    if !key.ends_with("context") {
        return (key, value);
    }
    (key, value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// The option that labels a new file system, unless the file system labels its files itself and takes no such
/// option.
pub(super) fn label_for<'l>(mount: &Mount<'_>, label: &'l str) -> Option<&'l str> {
    let kind = mount.kind.as_deref().unwrap_or_default();
    (!matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2" | "mqueue")).then_some(label)
}

/// File systems that need no source on the host.
const OF_THE_KERNEL: [&str; 9] =
    ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind"];

/// Whether a new file system is made from something that has a path on the host: a block device, overlay
/// layers.
pub fn needs_host_paths(mount: &Mount<'_>) -> bool {
    !is_bind(mount) && !OF_THE_KERNEL.contains(&mount.kind.as_deref().unwrap_or_default())
}

/// Whether a mount is a bind mount.
pub fn is_bind(mount: &Mount<'_>) -> bool {
    let bind = |option: &Text<'_>| matches!(&**option, "bind" | "rbind");
    mount.kind.as_deref() == Some("bind") || mount.options.iter().any(bind)
}

/// The joined namespace that a file system shows, if there is one: making the file system needs rights over
/// it.
fn owner_of<'n>(kind: &str, namespaces: &'n Namespaces) -> Option<&'n (NamespaceKind, String)> {
    let owner = match kind {
        "proc" => NamespaceKind::Pid,
        "mqueue" => NamespaceKind::Ipc,
        _ => return None,
    };
    namespaces.joined.iter().find(|(kind, _)| *kind == owner)
}

#[allow(clippy::too_many_arguments)]
pub(super) fn compile_new(
    builder: &mut Builder<'_>,
    field: &str,
    mount: &Mount<'_>,
    target: &CStr,
    rule: TargetRule,
    options: &Options<'_>,
    namespaces: &Namespaces,
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
    // Other file systems belong to the network namespace in which they are made: sysfs, and network file
    // systems.
    if !matches!(kind, "proc" | "tmpfs" | "devpts" | "mqueue" | "cgroup2") {
        builder.join_network();
    }
    let kind_text = c_string(field, kind)?;
    let source = c_string(field, mount.source.as_deref().unwrap_or(kind))?;
    // Everything that is no mount option is left to the file system: a terminal group, a label.
    if options.data.iter().any(|data| data.len() > PARAMETER_MAX) && !options.copy_up {
        let data: Vec<_> = options.flags.iter().chain(&options.data).copied().collect();
        let data = c_string(field, &data.join(","))?;
        builder.push(MountWithData {
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
    // A read-only disk must not be opened for writing: its journal would be replayed.
    let read_only = options.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) && !OF_THE_KERNEL.contains(&kind);
    let flags = read_only.then_some("ro").into_iter().chain(options.flags.iter().copied()).chain(flags);
    let flags = string_bytes(flags);
    let parameters = parameters.iter().filter_map(|pair| pair.split_once('=')).map(unquoted);
    let parameters = string_bytes(parameters.flat_map(<[&str; 2]>::from));
    let substitute = match kind {
        // If a user namespace may not mount it, it is bound: with a cgroup namespace, the container's own
        // part.
        "cgroup2" if builder.in_user_namespace() => {
            Some(c_string(field, cgroup.unwrap_or("/sys/fs/cgroup"))?)
        }
        "sysfs" if builder.in_user_namespace() => Some(c"/sys".to_owned()),
        _ => None,
    };
    let mut otherwise = substitute.as_deref().map(|path| {
        builder.tree(HostTree {
            path,
            field: &format!("{field}.source"),
            recursive: kind == "sysfs" || cgroup.is_none(),
            need: Need::Optional,
        })
    });
    if let (Some(namespace), true) =
        (owner_of(kind, namespaces), builder.in_user_namespace() && builder.host.privileged)
    {
        let mut operations = Vec::new();
        let (flags, parameters) = (strings(&flags)?, strings(&parameters)?);
        Operation::DieWithRuntime(DieWithRuntime { enabled: true }).encode(&mut operations);
        Operation::SendFileSystem(SendFileSystem { kind: &kind_text, flags, parameters })
            .encode(&mut operations);
        let namespace = namespace.clone();
        let made = Descriptor::FileSystem { kind: kind_text.clone(), namespace, operations };
        otherwise = Some(Tree::Descriptor(builder.descriptor(made)));
    }
    // A substitute that remained a peer of the host's mount would propagate the container's mounts to the
    // host.
    let private = otherwise.is_some() && options.propagation.is_empty();
    builder.push(operation::Mount {
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

    #[test]
    fn labels_are_bare_for_fsconfig() {
        assert_eq!(unquoted(("context", "\"u:r:t:s0:c1,c2\"")), ("context", "u:r:t:s0:c1,c2"));
        assert_eq!(unquoted(("rootcontext", "u:r:t:s0")), ("rootcontext", "u:r:t:s0"));
        assert_eq!(unquoted(("size", "\"1\"")), ("size", "\"1\""));
    }
}
