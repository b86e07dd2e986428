//! What the runtime opens before the clone, and init knows by its index.

use std::ffi::CString;

use rustix::fs::FileType;

use crate::oci::spec::IdMapping;
use crate::root::RootSource;
use crate::validate::NamespaceKind;

/// What the runtime opens before the clone, and init knows by its index.
#[derive(Debug, Clone, PartialEq)]
pub enum Descriptor {
    /// A detached copy of the mounts at a path.
    Tree {
        /// The path.
        path: CString,
        /// Whether the mounts below come along.
        recursive: bool,
        /// For errors: which field asks for it.
        field: String,
        /// Whether it is only looked up before the clone, and cloned when init asks: the how many-eth time.
        late: Option<u32>,
        /// Whether it must be a procfs: nothing else may lie over /proc.
        procfs: bool,
        /// Whether a missing one is no error.
        optional: bool,
        /// Whether a symbolic link at the end of the path is meant itself.
        nofollow: bool,
        /// Whose maps the owners on it go through.
        idmap: Option<MountIdmap>,
        /// The device that must be there; where the host has another or none, a node is made for the container.
        node: Option<DeviceNode>,
    },
    /// The container's root, which no path leads to.
    Root {
        /// Where it comes from.
        source: RootSource,
        /// Where not the runtime's rights will do, but those in the namespaces that init is in.
        inside: Option<RootInside>,
    },
    /// The listening socket that `start` connects to.
    Listener,
    /// One that whoever runs the plan hands over.
    Given,
    /// A new file system of a namespace that is joined, for a container whose user namespace has no rights over that.
    FileSystem {
        /// Its type.
        kind: CString,
        /// The namespace, by its path.
        namespace: (NamespaceKind, String),
        /// Encoded operations of a process that makes it there, and sends it.
        operations: Vec<u8>,
    },
    /// A namespace that only init can join, by its path.
    Namespace(NamespaceKind, String),
}

/// A root that is made in init's user and mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootInside {
    /// In which of its requests for trees init asks for it.
    pub turn: u32,
    /// The user who makes it, by ids inside.
    pub ids: (u32, u32),
}

/// A device node for a container that may not make it itself; ids are the host's.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // mknod(2)'s words
pub struct DeviceNode {
    pub kind: FileType,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// How the owners on a mount are mapped: mount_setattr(2), MOUNT_ATTR_IDMAP.
#[derive(Debug, Clone, PartialEq)]
pub struct MountIdmap {
    /// The maps.
    pub owners: MountOwners,
    /// Whether the mounts below are mapped as well.
    pub recursive: bool,
}

/// Where a mount's maps come from.
#[derive(Debug, Clone, PartialEq)]
pub enum MountOwners {
    /// A user namespace is made for them: ids on disk are those inside.
    Maps {
        /// uid_map, line by line.
        uid: Vec<IdMapping>,
        /// gid_map, line by line.
        gid: Vec<IdMapping>,
    },
    /// The user namespace at a path.
    Namespace(String),
}
