//! Names for the kernel's numbers and for the fields of operations.

use std::ffi::CStr;

use pillbox_init::plan::Tree;
use pillbox_init::wire::{Capabilities, Strings, Value};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::oci::{capability, rlimit};
use crate::plan::{Descriptor, Plan};
use crate::root::RootSource;

pub(super) fn name_of(number: u32, known: &[(&str, u32)]) -> String {
    known
        .iter()
        .find(|(_, known)| *known == number)
        .map_or_else(|| number.to_string(), |(name, _)| (*name).to_string())
}

pub(super) fn word(value: Value<'_>) -> String {
    if let Value::Word(word) = value { word.to_string() } else { String::new() }
}

pub(super) fn text(text: &CStr) -> String {
    one_line(&text.to_string_lossy())
}

/// A text in which nothing can end the line or control a terminal.
pub fn one_line(text: &str) -> String {
    let escape = |character: char| {
        let escaped = if character.is_control() { Some(character.escape_default()) } else { None };
        let plain = if escaped.is_some() { None } else { Some(character) };
        escaped.into_iter().flatten().chain(plain)
    };
    text.chars().flat_map(escape).collect()
}

/// The path of a name in a folder.
pub(super) fn below(folder: &CStr, name: &CStr) -> String {
    format!("{}/{}", text(folder).trim_end_matches('/'), text(name))
}

pub(super) fn quoted(text: &CStr) -> String {
    format!("{:?}", text.to_string_lossy())
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_string() } else { items.join(" ") }
}

pub(super) fn in_parentheses(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" ({})", options.join(", ")) }
}

pub(super) fn pairs(parameters: Strings<'_>) -> Vec<String> {
    let all: Vec<_> = parameters.iter().map(text).collect();
    all.chunks(2).map(|pair| pair.join("=")).collect()
}

pub(super) fn limit(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_string() } else { value.to_string() }
}

pub(super) fn rlimit_name(resource: u32) -> String {
    rlimit::name(resource).map_or_else(|| resource.to_string(), str::to_string)
}

pub(super) fn capability_names(set: Capabilities) -> String {
    let names: Vec<_> = capability::names(set.0).collect();
    if names.is_empty() { "none".to_string() } else { names.join(" ") }
}

pub(super) fn tree_name(tree: Tree<'_>, plan: &Plan) -> String {
    let Some((path, recursive)) = tree_path(tree, plan) else {
        return match tree_root(tree, plan) {
            Some(source) => source.name().to_string(),
            None => "a descriptor".to_string(),
        };
    };
    let below = if recursive { " with submounts" } else { "" };
    let mapped = if tree_idmap(tree, plan) { ", id-mapped," } else { "" };
    let inside = if matches!(tree, Tree::Inside { .. }) { "the container's " } else { "" };
    format!("{inside}{}{below}{mapped}", text(path))
}

/// The path of a tree, and whether the mounts below it are included.
pub(super) fn tree_path<'t>(tree: Tree<'t>, plan: &'t Plan) -> Option<(&'t CStr, bool)> {
    match tree {
        Tree::Path { path, recursive, nofollow: _ } | Tree::Inside { path, recursive, nofollow: _ } => {
            Some((path, recursive))
        }
        Tree::Descriptor(index) => match plan.descriptors.get(index as usize) {
            Some(Descriptor::Tree { path, recursive, .. }) => Some((path, *recursive)),
            _ => None,
        },
    }
}

/// The source of a container's root that no path leads to.
pub(super) fn tree_root<'p>(tree: Tree<'_>, plan: &'p Plan) -> Option<&'p RootSource> {
    let Tree::Descriptor(index) = tree else { return None };
    match plan.descriptors.get(index as usize) {
        Some(Descriptor::Root { source, .. }) => Some(source),
        _ => None,
    }
}

pub(super) fn tree_idmap(tree: Tree<'_>, plan: &Plan) -> bool {
    let Tree::Descriptor(index) = tree else { return false };
    matches!(plan.descriptors.get(index as usize), Some(Descriptor::Tree { idmap: Some(_), .. }))
}

pub(super) fn attribute_names(attributes: MountAttrFlags) -> Vec<String> {
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

pub(super) fn some_propagation(propagation: MountPropagationFlags) -> Option<String> {
    (!propagation.is_empty()).then(|| propagation_names(propagation))
}

pub(super) fn propagation_names(propagation: MountPropagationFlags) -> String {
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

pub(super) fn namespace_names(flags: u32) -> String {
    use crate::validate::NamespaceKind as Kind;
    let all =
        [Kind::Mount, Kind::Network, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Cgroup, Kind::User, Kind::Time];
    let names: Vec<_> =
        all.iter().filter(|kind| flags & kind.clone_flag() != 0).map(|kind| kind.name()).collect();
    names.join(" ")
}

pub(super) fn seccomp_flags(flags: u32) -> Vec<String> {
    const NAMES: [(u32, &str); 5] =
        [(1, "tsync"), (2, "log"), (4, "spec allow"), (8, "new listener"), (32, "wait killable")];
    NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_string()).collect()
}
