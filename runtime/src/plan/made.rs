//! What the runtime makes for a container in its state folder, and binds into it: the socket for
//! sd_notify(3), and the files by which it finds names.

use pillbox_init::plan::TargetRule;
use pillbox_init::plan::operation::BindMount;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::{Builder, HostTree, Need, c_string};
use crate::error::Result;

/// The environment variable of the socket, which errors name as well.
pub const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// A folder or a file in the state folder, and where the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeMount {
    /// Its path on the host.
    pub source: String,
    /// Its path inside.
    pub target: String,
    /// What asks for it, for errors.
    pub field: &'static str,
    /// Whether it may be written to. A socket takes messages on a read-only mount as well.
    pub writable: bool,
}

/// Binds it.
pub fn compile(builder: &mut Builder<'_>, mount: &MadeMount) -> Result<()> {
    let MadeMount { source, target, field, writable } = mount;
    let (source, target) = (c_string(field, source)?, c_string(field, target)?);
    let none = MountAttrFlags::empty();
    // Optional, because it is opened only once the container has a state folder.
    let tree = builder.tree(HostTree { path: &source, field, recursive: false, need: Need::Optional });
    let set = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    builder.push(BindMount {
        tree,
        target: &target,
        rule: TargetRule::Ordinary,
        set: if *writable { set } else { set | MountAttrFlags::MOUNT_ATTR_RDONLY },
        clear: none,
        drop: none,
        recursive_set: none,
        recursive_clear: none,
        propagation: MountPropagationFlags::PRIVATE,
        recursive_propagation: false,
    });
    Ok(())
}
