//! The container's own socket for sd_notify(3); the runtime makes it while init runs.

use pillbox_init::plan::TargetRule;
use pillbox_init::plan::operation::BindMount;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::{Builder, HostTree, Need, c_string};
use crate::error::Result;

/// The environment variable, which errors name as well.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Binds the folder with the socket.
pub fn compile(builder: &mut Builder<'_>, folder: &str, target: &str) -> Result<()> {
    let (folder, target) = (c_string(VARIABLE, folder)?, c_string(VARIABLE, target)?);
    let none = MountAttrFlags::empty();
    // Optional, because it is opened only once the container has a state folder.
    let tree =
        builder.tree(HostTree { path: &folder, field: VARIABLE, recursive: false, need: Need::Optional });
    builder.push(BindMount {
        tree,
        target: &target,
        rule: TargetRule::Ordinary,
        // A socket takes messages on a read-only mount as well.
        set: MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        clear: none,
        drop: none,
        recursive_set: none,
        recursive_clear: none,
        propagation: MountPropagationFlags::PRIVATE,
        recursive_propagation: false,
    });
    Ok(())
}
