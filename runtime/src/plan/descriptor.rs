//! What the runtime opens for init, which knows it by an index.

use std::ffi::CString;

use rustix::fs::FileType;
use rustix::process::{Gid, Uid};

use crate::oci::spec::IdMapping;
use crate::root::RootSource;
use crate::validate::NamespaceKind;

/// What the runtime opens for init, which knows it by an index.
#[derive(Debug, Clone, PartialEq)]
pub enum Descriptor {
    /// A detached copy of the mounts at a path.
    Tree {
        /// The path.
        path: CString,
        /// Whether the mounts below it are included.
        recursive: bool,
        /// The field that asks for it, for errors.
        field: String,
        /// If it is only looked up before the clone and cloned when init asks for trees: in which of these
        /// rounds.
        late: Option<u32>,
        /// What it must be.
        need: Need,
        /// Whether a symbolic link at the end of the path is itself the source.
        nofollow: bool,
        /// How the owners on it are mapped.
        idmap: Option<MountIdmap>,
    },
    /// A container's root that no path leads to.
    Root {
        /// Where it comes from.
        source: RootSource,
        /// If the root has to be made with rights in init's namespaces, not with the runtime's: how.
        inside: Option<RootInside>,
    },
    /// The listening socket that `start` connects to.
    Listener,
    /// A descriptor that the caller passes when the plan is run.
    Given,
    /// A new file system for a joined namespace, for a container whose user namespace has no rights over that
    /// namespace.
    FileSystem {
        /// Its type.
        kind: CString,
        /// The namespace, and its path.
        namespace: (NamespaceKind, String),
        /// Encoded operations of the process that makes it there and sends it.
        operations: Vec<u8>,
    },
    /// A namespace that only init can join, and its path.
    Namespace(NamespaceKind, String),
}

/// What a mount tree of the host must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// It must exist.
    Any,
    /// It becomes the container's root.
    Root,
    /// It must be a procfs: nothing else may be mounted on /proc.
    Procfs,
    /// It may be missing.
    Optional,
    /// It must be this device; if the host has another one there or none, a node is made for the container.
    Device(DeviceNode),
}

/// A root that is made in init's user and mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootInside {
    /// In which of its rounds of asking for trees init asks for it.
    pub turn: u32,
    /// The user and group that make it, by their ids inside.
    pub ids: (Uid, Gid),
}

/// A device node for a container that may not make it itself; its ids are those of the host.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // mknod(2)'s words
pub struct DeviceNode {
    pub kind: FileType,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: Uid,
    pub gid: Gid,
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
    /// A user namespace is made with these maps; ids on disk are those inside it.
    Maps {
        /// uid_map, line by line.
        uid: Vec<IdMapping>,
        /// gid_map, line by line.
        gid: Vec<IdMapping>,
    },
    /// The user namespace at a path.
    Namespace(String),
}
