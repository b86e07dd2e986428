//! What the caller wants of a container beyond its config.json.

use super::MadeMount;
use crate::root::RootSource;

/// What the caller wants of the container beyond its config.json.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// A link to it, if the path leads elsewhere because something else has been mounted there since it was
    /// opened.
    pub root_source: Option<String>,
    /// Where the root comes from, if from neither of these.
    pub root: RootSource,
    /// The working folder of hooks that run on the host; empty for the runtime's own.
    pub hooks_begin_in: String,
    /// The path of the container's cgroup, to be bound where the kernel refuses a cgroup mount.
    pub cgroup: Option<String>,
    /// The mount point of the whole hierarchy, which a container without a cgroup namespace sees.
    pub cgroup_mount: Option<String>,
    /// Whether init waits for `start`; `run` does not.
    pub wait_for_start: bool,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u32,
    /// For mounts with `copy-symlink` whose source is a symbolic link: the mount's index, and the link's
    /// text.
    pub source_links: Vec<(usize, String)>,
    /// Whether the container that is entered is only a chroot, so that its root is not that of its mount
    /// namespace.
    pub chrooted: bool,
    /// `--no-pivot`: chroot instead of pivot_root.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// Whether init stays the first process, with the program as its child.
    pub stand_before: bool,
    /// The parts of the host's file system that the container sees instead of a root file system of its own.
    /// Changes go to memory and are lost.
    pub scratch_over: Vec<Layer>,
    /// More variables for the environment (`LISTEN_FDS`).
    pub environment: Vec<String>,
    /// What the runtime makes for the container in its state folder.
    pub made: Vec<MadeMount>,
    /// Whether the caller configures the container's network namespace, through a socket of init's.
    pub wants_network: bool,
}

/// A part of the host's file system that a throwaway container sees at the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// A folder through an overlay, without the mounts below it.
    Overlay(String),
    /// A folder with the mounts below it, or a file: as it is, but read-only.
    ReadOnly(String),
    /// A new, empty folder: its path and its mode.
    Folder(String, u32),
    /// A new symbolic link: its path and its text.
    Link(String, String),
}
