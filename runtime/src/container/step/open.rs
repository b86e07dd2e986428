//! The descriptors that init gets: mount trees and namespaces of the host.

use super::{Line, Making, Prepared, Step};
use crate::error::{Kind, Result};
use crate::oci::spec::IdMapping;
use crate::plan::{Descriptor, MountIdmap, MountOwners, Need};
use crate::spawn::{self, device_node};

/// Opens everything that the plan names and that exists already. A missing source is noticed here, before
/// anything has been made.
pub struct Open;

impl Step for Open {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let network = making.network.take();
        making.opened =
            spawn::open(making.plan(), network).map_err(|error| error.context(&making.bundle.config_name))?;
        super::network::check_joined(making.prepared, &making.opened)?;
        making.opened.stdio = making.options.streams.open()?;
        making.opened.patience = making.patience;
        Ok(())
    }

    fn kind(&self) -> Kind {
        Kind::Invalid
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        for (kind, path) in &prepared.plan.namespaces.joined {
            lines.push(("OpenNamespace", format!("{} {path}", kind.name())));
        }
        prepared.plan.descriptors.iter().for_each(|descriptor| describe(descriptor, lines));
        Ok(())
    }
}

fn describe(descriptor: &Descriptor, lines: &mut Vec<Line>) {
    if let Descriptor::FileSystem { kind, namespace: (owner, path), .. } = descriptor {
        let line = format!("{} in {} {path}, if init may not", kind.to_string_lossy(), owner.name());
        lines.push(("MakeFileSystem", line));
    }
    if let Descriptor::Tree { path, recursive, field, late, need, idmap, .. } = descriptor {
        let mut line = path.to_string_lossy().into_owned();
        for (words, is_so) in [
            (" with submounts", *recursive),
            (", which must be a procfs", *need == Need::Procfs),
            (", if it is there", *need == Need::Optional),
            (", or a node made for it", matches!(need, Need::Device(_))),
            (", cloned when init has come that far", late.is_some()),
        ] {
            line += if is_so { words } else { "" };
        }
        lines.push(("OpenTree", format!("{line} ({field})")));
        lines.extend(idmap.iter().map(|idmap| ("MapOwners", map_line(idmap))));
    }
}

/// The maps of an id-mapped mount.
fn map_line(idmap: &MountIdmap) -> String {
    let MountIdmap { owners, recursive } = idmap;
    let below = if *recursive { ", also on what is mounted below" } else { "" };
    match owners {
        MountOwners::Namespace(path) => format!("through the user namespace {path}{below}"),
        MountOwners::Maps { uid, gid } => {
            let map = |name: &str, map: &[IdMapping]| {
                let lines =
                    map.iter().map(|m| format!(" {} is {}, {} ids", m.container_id, m.host_id, m.size));
                format!("{name}{}", lines.collect::<Vec<_>>().join(","))
            };
            format!("{}; {}{below}", map("uid", uid), map("gid", gid))
        }
    }
}

/// Opens what exists only now: the new cgroup, and nodes in the state folder for devices that are missing on
/// the host.
pub struct OpenMade;

impl Step for OpenMade {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Making { prepared, replanned, opened, nodes, directory, .. } = making;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        let folder = directory.as_ref().ok_or_else(|| super::too_early("state folder"))?.folder();
        *nodes = opened.open_made(plan, folder)?;
        Ok(())
    }
}

/// Removes the names of the nodes: init has attached them by now.
pub struct ForgetMade;

impl Step for ForgetMade {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        if making.nodes > 0 {
            device_node::forget(making.directory()?.folder());
        }
        Ok(())
    }
}
