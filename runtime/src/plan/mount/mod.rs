//! `mounts[]`: one operation for each mount.

mod bind;
mod new;
mod option;
mod remount;
mod target;

use std::ffi::CString;

use pillbox_init::plan::operation::{CopySymlink, EnterRootCover};
use rustix::mount::MountAttrFlags;

use self::bind::{compile_bind, inside_root};
use self::new::{compile_new, label_for};
use self::option::parse_options;
use self::remount::compile_remount;
use self::target::{covered_later, target_rule};
use super::namespace::Namespaces;
use super::{Builder, Descriptor, Intent, c_string, mount_idmap};
use crate::error::Result;
use crate::oci::spec::Mount;
use crate::validate::{NamespaceKind, ValidSpec};

pub use self::bind::compile_layer;
pub use self::new::{PARAMETER_MAX, is_bind, needs_host_paths};
pub use self::option::knows_option;
pub use self::target::normalize;

/// Appends an operation for each mount. Returns the targets that become read-only only at the end, because
/// something still has to be made below them.
pub fn compile(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    namespaces: &Namespaces,
    intent: &Intent,
) -> Result<Vec<CString>> {
    let mut read_only_later = Vec::new();
    let mut label = spec.mount_label.as_deref().filter(|label| !label.is_empty());
    if builder.host.selinux_missing
        && let Some(label) = label.take()
    {
        let consequence = "SELinux: the files of the container's mounts have no label";
        super::attribute::without_module(builder, "linux.mountLabel", label, consequence);
    }
    let label = label.map(|label| format!("context=\"{label}\""));
    let destinations: Vec<_> = spec.mounts.iter().map(|mount| normalize(&mount.destination)).collect();
    let covered_later = covered_later(&destinations);
    for (index, (mount, destination)) in spec.mounts.iter().zip(&destinations).enumerate() {
        let field = format!("mounts[{index}]");
        let mut options = parse_options(&field, mount)?;
        let target = c_string(&field, destination)?;
        if options.remount {
            compile_remount(builder, &field, mount, &target, &options)?;
            continue;
        }
        let rule = target_rule(&field, destination, mount, &options)?;
        let idmap =
            mount_idmap::compile(builder, spec, namespaces, &field, mount, options.idmap, options.bind)?;
        let link =
            intent.source_links.iter().find(|(of, _)| *of == index && options.copy_symlink && options.bind);
        if let Some((_, link)) = link {
            let link = c_string(&field, link)?;
            builder.push(CopySymlink { path: &target, target: &link });
            continue;
        }
        if !options.bind
            && options.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
            && (destination == "/dev" || covered_later[index])
        {
            options.set.remove(MountAttrFlags::MOUNT_ATTR_RDONLY);
            read_only_later.push(target.clone());
        }
        if options.bind {
            let source = mount.source.as_deref().unwrap_or_default();
            // Only the runtime can map owners, so a tree that is to be mapped cannot be opened inside.
            let inside = if idmap.is_none() { inside_root(&intent.rootfs, source) } else { None };
            let opened = compile_bind(builder, spec, &field, mount, &target, rule, &options, inside)?;
            if let Some(Descriptor::Tree { idmap: of_source, .. }) =
                opened.and_then(|index| builder.descriptors.get_mut(index as usize))
            {
                *of_source = idmap;
            }
        } else {
            let own_view = namespaces.makes(NamespaceKind::Cgroup) || namespaces.joins(NamespaceKind::Cgroup);
            let cgroup = if own_view { &intent.cgroup } else { &intent.cgroup_mount }.as_deref();
            let of_cgroup = matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
            // A new mount from the host's cgroup namespace would clear the options of the host's mount
            // (nsdelegate).
            if let (true, false, false, Some(path)) =
                (of_cgroup, own_view, builder.in_user_namespace(), cgroup)
            {
                let mount = Mount { source: Some(path.into()), ..mount.clone() };
                compile_bind(builder, spec, &field, &mount, &target, rule, &options, None)?;
                continue;
            }
            if let (Some(label), false) =
                (&label, options.data.iter().any(|data| data.starts_with("context=")))
            {
                options.data.extend(label_for(mount, label));
            }
            builder.makes_mount();
            compile_new(builder, &field, mount, &target, rule, &options, namespaces, cgroup)?;
        }
        if destination == "/" {
            builder.push(EnterRootCover);
        }
    }
    builder.ask_for_trees();
    Ok(read_only_later)
}
