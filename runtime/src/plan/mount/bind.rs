//! Bind mounts, and their propagation from the host's mounts.

use std::ffi::CStr;

use pillbox_init::plan::operation::{
    BindMount, MakeDirectory, MakeSymlink, MountOverlay, SetMountAttributes,
};
use pillbox_init::plan::{TargetRule, Tree};
use rustix::fs::Mode;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::option::Options;
use crate::error::{Error, Result, Warning, WarningKind};
use crate::oci::spec::Mount;
use crate::plan::{Builder, Descriptor, HostTree, Layer, Need, c_string};
use crate::validate::{RootfsPropagation, ValidSpec};

/// The path in the container of a source at or below its root file system. Init opens such a source inside
/// the container, so that it includes what earlier mounts of the list have put there, as with runtimes that
/// look the source up after those mounts. If the host's own root is the container's, nothing below it counts
/// as the container's.
pub(super) fn inside_root<'s>(rootfs: &str, source: &'s str) -> Option<&'s str> {
    let rest = source.strip_prefix(rootfs).filter(|_| !matches!(rootfs, "" | "/"))?;
    // It may lead outside again.
    if rest.split('/').any(|name| name == "..") {
        return None;
    }
    match rest {
        "" => Some("/"),
        rest => rest.starts_with('/').then_some(rest),
    }
}

/// Returns the index of the bound descriptor, if the runtime opens one.
///
/// `inside` is the path of the source in the container: see [`inside_root`].
#[allow(clippy::too_many_arguments)]
pub(super) fn compile_bind(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    field: &str,
    mount: &Mount<'_>,
    target: &CStr,
    rule: TargetRule,
    options: &Options<'_>,
    inside: Option<&str>,
) -> Result<Option<u32>> {
    for data in &options.data {
        // The kernel ignores the data of a bind mount, but callers pass it.
        let text = format_args!("{field}.options: {data:?} means nothing for a bind mount");
        builder.warnings.push(Warning::new(WarningKind::Ignored, text));
    }
    let source = mount.source.as_deref().unwrap_or_default();
    if source.is_empty() {
        return Err(Error::formatted(format_args!("{field}.source: a bind mount needs one")));
    }
    let source = c_string(field, inside.unwrap_or(source))?;
    let mut tree = match inside {
        Some(_) => Tree::Inside { path: &source, recursive: options.recursive, nofollow: false },
        None => builder.tree(HostTree {
            path: &source,
            field: &format!("{field}.source"),
            recursive: options.recursive,
            need: if target == c"/proc" { Need::Procfs } else { Need::Any },
        }),
    };
    let mut opened = None;
    match &mut tree {
        Tree::Path { nofollow, .. } | Tree::Inside { nofollow, .. } => *nofollow = options.source_nofollow,
        Tree::Descriptor(index) => {
            opened = Some(*index);
            if let Some(Descriptor::Tree { nofollow, .. }) = builder.descriptors.last_mut() {
                *nofollow = options.source_nofollow;
            }
            builder.clone_in_turn(*index);
        }
    }
    let (first, recursive, second) = compile_propagation(spec, options);
    builder.push(BindMount {
        tree,
        target,
        rule,
        set: options.set,
        clear: options.clear,
        drop: options.drop(),
        recursive_set: options.recursive_set,
        recursive_clear: options.recursive_clear,
        propagation: first,
        recursive_propagation: recursive,
    });
    if let Some(propagation) = second {
        builder.push(SetMountAttributes {
            target,
            set: MountAttrFlags::empty(),
            propagation,
            recursive: options.recursive_propagation,
        });
    }
    Ok(opened)
}

/// The propagation that a bind mount gets before it is attached, whether the mounts below get it too, and the
/// one that it gets afterwards.
fn compile_propagation(
    spec: &ValidSpec<'_>,
    options: &Options<'_>,
) -> (MountPropagationFlags, bool, Option<MountPropagationFlags>) {
    type Propagation = MountPropagationFlags;
    let asked = options.propagation;
    let recursive = options.recursive_propagation;
    // A peer of the host's mount would propagate the container's mounts to the host: only a configuration
    // with a shared root gets one.
    match spec.rootfs_propagation {
        RootfsPropagation::Shared => (asked, recursive, None),
        RootfsPropagation::Slave if asked.is_empty() => (Propagation::DOWNSTREAM, true, None),
        _ if asked.is_empty() => (Propagation::PRIVATE, true, None),
        // rprivate: no mount of the host ever propagates into the container, so that there is nothing to be a
        // slave of.
        RootfsPropagation::Private if spec.rootfs_propagation_recursive => {
            (Propagation::PRIVATE, true, Some(asked))
        }
        _ if (recursive || !options.recursive) && asked != Propagation::SHARED => (asked, recursive, None),
        // A propagation for the top mount alone would leave the mounts below as peers of the host's.
        _ => (Propagation::DOWNSTREAM, true, Some(asked)),
    }
}

/// Adds one part of the host's file system to a throwaway container.
pub fn compile_layer(builder: &mut Builder<'_>, layer: &Layer) -> Result<()> {
    match layer {
        Layer::Overlay(path) => {
            let lower = c_string("try", path)?;
            let user_xattr = builder.in_user_namespace();
            builder.push(MountOverlay { lower: &lower, user_xattr });
        }
        Layer::ReadOnly(path) => {
            let path = c_string("try", path)?;
            // By path, as overlays name theirs: there may be more such layers than descriptors.
            let tree = Tree::Path { path: &path, recursive: true, nofollow: false };
            let none = MountAttrFlags::empty();
            builder.push(BindMount {
                tree,
                target: &path,
                rule: TargetRule::Ordinary,
                set: none,
                clear: none,
                drop: none,
                recursive_set: MountAttrFlags::MOUNT_ATTR_RDONLY,
                recursive_clear: none,
                propagation: MountPropagationFlags::PRIVATE,
                recursive_propagation: true,
            });
        }
        Layer::Folder(path, mode) => {
            let path = c_string("try", path)?;
            builder.push(MakeDirectory { path: &path, mode: Mode::from_raw_mode(*mode) });
        }
        Layer::Link(path, target) => {
            let (path, target) = (c_string("try", path)?, c_string("try", target)?);
            builder.push(MakeSymlink { path: &path, target: &target, replace: false });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::option::tests::options;
    use super::*;

    #[test]
    fn a_source_below_the_root_file_system_is_the_containers() {
        for (rootfs, source, inside) in [
            ("/b/rootfs", "/b/rootfs/new", Some("/new")),
            ("/b/rootfs", "/b/rootfs", Some("/")),
            ("/b/rootfs", "/b/rootfs2/new", None),
            ("/b/rootfs", "/b", None),
            ("/b/rootfs", "/b/rootfs/../data", None),
            ("/b/rootfs", "/b/rootfs/a/..b", Some("/a/..b")),
            ("/", "/new", None),
            ("", "/new", None),
        ] {
            assert_eq!(inside_root(rootfs, source), inside, "{rootfs} {source}");
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
                // A mount that is no peer any more cannot become a peer of the same mount again.
                assert!(
                    recursive && !first.is_empty() && first != MountPropagationFlags::SHARED,
                    "{root:?} {word}"
                );
            }
        }
    }
}
