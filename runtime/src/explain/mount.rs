//! The details of operations that mount.

use std::ffi::CStr;
use std::fmt::Write as _;

use pillbox_init::plan::TargetRule;
use pillbox_init::plan::operation::{
    AttachRoot, BindMount, Mount, MountOverlay, MountWithData, Remount, SetMountAttributes,
};

use super::name::{
    attribute_names, in_parentheses, pairs, propagation_names, some_propagation, text, tree_name,
};
use crate::plan::Plan;

pub(super) fn attach_root(step: &AttachRoot<'_>, plan: &Plan) -> String {
    let AttachRoot { tree, at, propagation } = *step;
    let place = if plan.from_seed { " of the seed" } else { "" };
    format!("{} at {}{place} (r{})", tree_name(tree, plan), text(at), propagation_names(propagation))
}

pub(super) fn overlay(step: &MountOverlay<'_>) -> String {
    let MountOverlay { lower, user_xattr } = *step;
    let option = if user_xattr { " (userxattr)" } else { "" };
    format!("over {}, changes in memory{option}, else read-only", text(lower))
}

pub(super) fn mount(step: &Mount<'_>, plan: &Plan) -> String {
    let Mount {
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
    } = *step;
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

pub(super) fn mount_with_data(step: &MountWithData<'_>) -> String {
    let MountWithData { kind, source, target, data, attributes, propagation } = *step;
    let mut options = attribute_names(attributes);
    options.push(text(data));
    options.extend(some_propagation(propagation));
    new_mount(kind, source, target, &options)
}

/// The kind of file system, and its source if that says more.
fn new_mount(kind: &CStr, source: &CStr, target: &CStr, options: &[String]) -> String {
    let source =
        if source == kind || source.is_empty() { String::new() } else { format!(" {}", text(source)) };
    format!("{}{source} on {}{}", text(kind), text(target), in_parentheses(options))
}

pub(super) fn bind(step: &BindMount<'_>, plan: &Plan) -> String {
    let BindMount {
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
    } = *step;
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

fn rule_words(rule: TargetRule) -> &'static str {
    match rule {
        TargetRule::Ordinary => "",
        TargetRule::NoSymlinks => ", through no symbolic link",
        TargetRule::InsideProc => ", a file of procfs",
        TargetRule::NoFollow => ", even on a symbolic link",
        TargetRule::Procfs => ", through no symbolic link, and only a procfs",
    }
}

pub(super) fn set_attributes(step: &SetMountAttributes<'_>) -> String {
    let SetMountAttributes { target, set, propagation, recursive } = *step;
    let mut options = attribute_names(set);
    options.extend(some_propagation(propagation));
    let below = if recursive { " recursively" } else { "" };
    format!("{}{}{below}", text(target), in_parentheses(&options))
}

pub(super) fn remount(step: &Remount<'_>) -> String {
    let Remount { target, set, clear: _, reconfigure, flags, parameters, propagation } = *step;
    let mut options = attribute_names(set);
    if reconfigure {
        options.extend(flags.iter().map(text).filter(|flag| flag != "ro"));
        options.extend(pairs(parameters));
    }
    options.extend(some_propagation(propagation));
    let what = if reconfigure { "the file system at " } else { "" };
    format!("{what}{}{}", text(target), in_parentheses(&options))
}
