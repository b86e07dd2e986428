//! /dev: the nodes that every container has, those that its configuration asks for, and the links.

use pillbox_init::plan::operation::{BindMount, MakeNode, MakeSymlink};
use pillbox_init::plan::{NodeKind, TargetRule, Tree};
use rustix::fs::{FileType, Mode};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::{Gid, Uid};

use super::mount::{is_bind, normalize};
use super::{Builder, Descriptor, DeviceNode, HostTree, Need, c_string};
use crate::error::{Result, Warning, WarningKind};
use crate::validate::{DeviceKind, ValidDevice, ValidSpec};

/// Linux default devices of the runtime specification: character devices, mode 0666.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The default links and their targets.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

pub fn compile(builder: &mut Builder<'_>, spec: &ValidSpec<'_>) -> Result<()> {
    // A /dev that is bound is already filled, and may be the host's: nothing is made there, as with runc and
    // crun.
    let bound = spec.mounts.iter().any(|mount| is_bind(mount) && normalize(&mount.destination) == "/dev");
    if !bound {
        for (path, major, minor) in DEFAULT_DEVICES {
            if spec.devices.iter().any(|device| &*device.path == path) {
                continue;
            }
            let kind = DeviceKind::Character;
            let (uid, gid) = (Uid::ROOT, Gid::ROOT);
            let device = ValidDevice { path: path.into(), kind, major, minor, mode: 0o666, uid, gid };
            make(builder, spec, &device, TargetRule::NoSymlinks)?;
        }
    }
    for (index, device) in spec.devices.iter().enumerate() {
        if bound && normalize(&device.path).starts_with("/dev/") {
            builder.warnings.push(Warning::new(WarningKind::Ignored, format_args!(
                "linux.devices[{index}]: {}: not made, because mounts has a bind mount on /dev: what lies there counts",
                &*device.path
            )));
            continue;
        }
        make(builder, spec, device, TargetRule::Ordinary)?;
    }
    if !bound {
        for (path, target) in LINKS {
            let (path, target) = (c_string("/dev", path)?, c_string("/dev", target)?);
            builder.push(MakeSymlink { path: &path, target: &target, replace: false });
        }
        builder.push(MakeSymlink { path: c"/dev/ptmx", target: c"pts/ptmx", replace: true });
    }
    Ok(())
}

/// mknod(2) of devices works only in the initial user namespace: elsewhere the host's node is bound, or one
/// that the runtime makes.
fn make(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    device: &ValidDevice<'_>,
    rule: TargetRule,
) -> Result<()> {
    let ValidDevice { path, kind, major, minor, mode, uid, gid } = device;
    let path = c_string("linux.devices", path)?;
    if builder.in_user_namespace() && *kind != DeviceKind::Fifo {
        let tree =
            builder.tree(HostTree { path: &path, field: "linux.devices", recursive: false, need: Need::Any });
        let made = spec.host_uid(*uid).zip(spec.host_gid(*gid));
        if let (Some((uid, gid)), Some(Descriptor::Tree { need, .. })) =
            (made, builder.descriptors.last_mut())
            && matches!(tree, Tree::Descriptor(_))
        {
            let block = *kind == DeviceKind::Block;
            let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
            *need = Need::Device(DeviceNode { kind, major: *major, minor: *minor, mode: *mode, uid, gid });
        }
        let none = MountAttrFlags::empty();
        builder.push(BindMount {
            tree,
            target: &path,
            rule,
            set: MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
            // The runtime makes nodes in /run, which may be mounted nodev.
            clear: MountAttrFlags::MOUNT_ATTR_NODEV,
            drop: none,
            recursive_set: none,
            recursive_clear: none,
            propagation: MountPropagationFlags::PRIVATE,
            recursive_propagation: false,
        });
        return Ok(());
    }
    builder.push(MakeNode {
        path: &path,
        kind: match kind {
            DeviceKind::Character => NodeKind::Character,
            DeviceKind::Block => NodeKind::Block,
            DeviceKind::Fifo => NodeKind::Fifo,
        },
        major: *major,
        minor: *minor,
        mode: Mode::from_raw_mode(*mode & 0o7777),
        uid: *uid,
        gid: *gid,
    });
    Ok(())
}
